"""Stores, opened from a URL."""

from __future__ import annotations

from ..entries.vault import Vault
from .base import Store, StoreError
from .memory import MemoryStore
from .redis.url import SCHEMES
from .sqlite.store import SqliteStore

__all__ = ["CASSETTES", "REDIS", "Store", "StoreError", "for_url"]

REDIS = tuple(f"{scheme}://" for scheme in SCHEMES)
"""Beginnings of the URL of a shared store."""


CASSETTES = "cassettes:"
"""Beginning of the URL of a directory with recordings; `store_of.py` opens it."""


def for_url(url: str, max_size: int, writable: bool = True, near_size: int = 0, vault: Vault | None = None) -> Store:
    """The store of `url`, not opened yet. `Settings` has checked the URL. `max_size` in bytes.

    One that is not writable is left exactly as it is: a recording in git, a file on a read-only mount. `near_size` in
    bytes is what of a shared store is kept in this process for a moment. `vault` encrypts what is stored.
    """
    store = _store(url, max_size, writable, near_size)
    store.vault = vault
    return store


def _store(url: str, max_size: int, writable: bool, near_size: int) -> Store:
    if url.startswith(REDIS):
        from .redis.store import RedisStore  # only who uses it loads its client

        return RedisStore(url, near_size, writable)
    return MemoryStore(url, max_size) if url.startswith("memory:") else SqliteStore(url, max_size, writable)
