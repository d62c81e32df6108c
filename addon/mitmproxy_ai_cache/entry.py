"""What is stored, and its packed form: versioned, checked, one atomic value.

    answer:  b"AIC1" | blake2b-128 of all that follows | u32 size of head | head (JSON) | body
    request: b"AIQ1" | blake2b-128 of all that follows | body of the request

Bodies are zstd-compressed where that makes them smaller. Never pickle: the bytes may come from a shared server.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson
import zstandard

_ANSWER, _REQUEST = b"AIC1", b"AIQ1"
_COMPRESS_FROM = 1024
"""Bytes. Below it the gain is smaller than what it costs on a hit."""
_MAX_RATIO, _MAX_FREE = 1000, 64 << 20
"""Most decoded bytes per packed byte that are believed of a body beyond the first 64 MiB: a shared server may lie."""


class BrokenEntry(ValueError):
    """The bytes are no entry of a version we know, or were changed since they were written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, and what is needed to replay it, to judge its age and to find it again."""

    key: str
    """64 hex digits; `-n` for the n-th sample."""
    created: float
    """Unix time of the answer, in seconds."""
    ttl: float
    """Seconds it may answer; 0 for ever."""
    grace: float = field(default=0.0, kw_only=True)
    """Seconds it is kept beyond that, for when the provider fails."""
    status: int
    headers: tuple[tuple[str, str], ...]
    format: str
    """One of `framing.FORMATS`."""
    body: bytes
    request: bytes = b""
    """The body of the request, without its content coding."""
    request_headers: tuple[tuple[str, str], ...] = ()
    """Those fields of the request that its key depends on, and its content type; never a credential."""
    cacheable: bool = True
    """False for what only `record` keeps: errors, state, other methods."""
    protocol: str = ""
    model: str = ""
    method: str = "POST"
    url: str = ""
    stream: bool = False
    live: bool = False
    namespace: str = ""
    redacted: bool = False
    """A secret in request or answer was replaced by a placeholder: these are not the bytes that passed."""
    run: str = ""
    """The life of the proxy that kept it: 12 hex digits."""
    issued: str = ""
    """The id a later request may name."""
    input_tokens: int = 0
    output_tokens: int = 0
    """As the provider counted them."""
    first_byte: float = 0.0
    """Seconds from the request to the head of the answer, as the provider took them."""
    total: float = 0.0
    """Seconds from the request to the end of the answer."""

    @property
    def expires(self) -> float:
        """Unix time it goes stale, or infinity."""
        return self.created + self.ttl if self.ttl else float("inf")

    def pack_answer(self) -> bytes:
        head = {name: value for name, value in asdict(self).items() if name not in ("body", "request")}
        body, head["zstd"] = _compressed(self.body)
        packed_head = orjson.dumps(head)
        return _sealed(_ANSWER, struct.pack(">I", len(packed_head)) + packed_head + body)

    def pack_request(self) -> bytes:
        body, compressed = _compressed(self.request)
        return _sealed(_REQUEST, bytes([compressed]) + body)

    @classmethod
    def unpack(cls, answer: bytes, request: bytes | None = None) -> Entry:
        """The entry of `answer`; without `request` its request body is left empty. Raises `BrokenEntry`."""
        data = _opened(_ANSWER, answer)
        try:
            (size,) = struct.unpack_from(">I", data)
            head: dict[str, Any] = orjson.loads(data[4 : 4 + size])
            compressed = bool(head.pop("zstd"))
            for fields_of in ("headers", "request_headers"):
                head[fields_of] = tuple(_field(*pair) for pair in head.get(fields_of, ()))
            head["body"] = _decompressed(data[4 + size :], compressed)
            if request is not None:
                sent = _opened(_REQUEST, request)
                head["request"] = _decompressed(sent[1:], bool(sent[0]))
            known = {name: value for name, value in head.items() if name in _TYPES}
            for name, value in known.items():
                if type(value) not in _TYPES[name]:
                    raise BrokenEntry(f"{name} is no {_TYPES[name][0].__name__}")
            if not 100 <= known["status"] < 600:
                raise BrokenEntry("no status")
            return cls(**known)
        except (
            struct.error,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
            MemoryError,
            zstandard.ZstdError,
        ) as error:
            raise BrokenEntry(str(error)) from None


_TYPES: dict[str, tuple[type, ...]] = {
    each.name: {"str": (str,), "bytes": (bytes,), "bool": (bool,), "int": (int,), "float": (float, int)}.get(
        str(each.type), (tuple,)
    )
    for each in fields(Entry)
}
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_FIELD_VALUE = re.compile(r"[\0\r\n\u0100-\U0010ffff]")
_FRAMING = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})
"""Fields that would contradict the body as it is replayed."""
_DIGEST = 16


def _field(name: str, value: str) -> tuple[str, str]:
    """A header field that cannot end before its end (RFC 9110 section 5.5). Raises ValueError."""
    if not _FIELD_NAME.fullmatch(name) or name.lower() in _FRAMING or _NO_FIELD_VALUE.search(value):
        raise ValueError("no header field")
    return name, value


def _sealed(magic: bytes, data: bytes) -> bytes:
    return magic + hashlib.blake2b(data, digest_size=_DIGEST).digest() + data


def _opened(magic: bytes, packed: bytes) -> bytes:
    data = packed[4 + _DIGEST :]
    if packed[:4] != magic:
        raise BrokenEntry("not an entry of this version")
    if hashlib.blake2b(data, digest_size=_DIGEST).digest() != packed[4 : 4 + _DIGEST]:
        raise BrokenEntry("checksum")
    return data


def _compressed(data: bytes) -> tuple[bytes, bool]:
    if len(data) >= _COMPRESS_FROM:
        smaller = zstandard.ZstdCompressor().compress(data)
        if len(smaller) < len(data):
            return smaller, True
    return data, False


def _decompressed(data: bytes, compressed: bool) -> bytes:
    if not compressed:
        return data
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= _MAX_FREE + _MAX_RATIO * len(data):
        raise BrokenEntry("a body of no or of no likely size")
    return zstandard.ZstdDecompressor().decompress(data)
