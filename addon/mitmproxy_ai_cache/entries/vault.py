"""Encryption at rest: AES-256-GCM (NIST SP 800-38D) around packed entries.

    sealed: b"AIE1" | 12 bytes nonce | ciphertext and tag

The entry's key and what is sealed (answer or request) are authenticated with it, so that one value cannot be put in the
place of another.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .entry import BrokenEntry

VARIABLE = "AI_CACHE_ENCRYPTION_KEY"
"""The environment variable the key comes from: on a command line everybody on the machine could read it."""

_MAGIC = b"AIE1"
_NONCE = 12
_SIZE = 32


class LockedEntry(BrokenEntry):
    """Encrypted with another key, or not encrypted although there is a key, or the other way round."""


class Vault:
    """Seals and opens with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def parse(cls, text: str) -> Vault:
        """A key as 64 hex digits or in base64. Raises `ValueError` that says what to write, without the key."""
        for decode in (bytes.fromhex, _base64):
            try:
                key = decode(text.strip())
            except (ValueError, binascii.Error):
                continue
            if len(key) == _SIZE:
                return cls(key)
        raise ValueError("this is no key; write 32 random bytes as 64 hex digits, made by openssl rand -hex 32")

    def seal(self, packed: bytes, key: str, part: str) -> bytes:
        """`part` is `answer` or `request`."""
        nonce = os.urandom(_NONCE)
        return _MAGIC + nonce + self._cipher.encrypt(nonce, packed, f"{part}:{key}".encode())

    def open(self, sealed: bytes, key: str, part: str) -> bytes:
        """Raises `LockedEntry`."""
        if not is_sealed(sealed):
            raise LockedEntry(f"it is not encrypted, and {VARIABLE} is set")
        nonce, data = sealed[4 : 4 + _NONCE], sealed[4 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, data, f"{part}:{key}".encode())
        except (InvalidTag, ValueError):
            raise LockedEntry(f"it was encrypted with another {VARIABLE}, or changed since") from None


def is_sealed(packed: bytes) -> bool:
    return packed[:4] == _MAGIC


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
