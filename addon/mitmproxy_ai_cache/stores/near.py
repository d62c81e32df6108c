"""The near cache: answers of a shared store kept for a few seconds in this process."""

from __future__ import annotations

import time
from collections import OrderedDict

FRESH = 5.0
"""Seconds. What another process removes may be answered from here for that long."""


class NearCache:
    """Least recently used answers go first. `max_size` in bytes; 0 keeps nothing."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if time.monotonic() - found[0] > FRESH:
            self.remove(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: str, packed: bytes) -> None:
        self.remove(key)
        if len(packed) > self._max_size:
            return
        self._kept[key] = (time.monotonic(), packed)
        self._size += len(packed)
        while self._size > self._max_size:
            self.remove(next(iter(self._kept)))

    def remove(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= len(found[1])
