"""Stores, opened from a URL."""

from __future__ import annotations

from .base import Store, StoreError
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = ["Store", "StoreError", "for_url"]


def for_url(url: str, max_size: int) -> Store:
    """The store of `url`, not opened yet. `Settings` has checked the URL. `max_size` in bytes."""
    return MemoryStore(url, max_size) if url.startswith("memory:") else SqliteStore(url, max_size)
