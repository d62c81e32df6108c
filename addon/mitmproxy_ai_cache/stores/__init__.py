"""Stores, opened from a URL."""

from __future__ import annotations

from .base import Store, StoreError
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["Store", "StoreError", "for_url"]


def for_url(url: str, max_size: int, writable: bool = True) -> Store:
    """The store of `url`, not opened yet. `Settings` has checked the URL. `max_size` in bytes.

    One that is not writable is left exactly as it is: a recording in git, a file on a read-only mount.
    """
    return MemoryStore(url, max_size) if url.startswith("memory:") else SqliteStore(url, max_size, writable)
