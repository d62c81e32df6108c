"""The near cache: answers of a shared store kept for a few seconds in this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable

FRESH = 5.0
"""Seconds. What another process removes may be answered from here for that long."""


class NearCache:
    """Least recently used answers go first. `max_size` in bytes; 0 keeps nothing.

    What was kept in one generation of a namespace is not found in the next: it was purged.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[float, str, bytes]] = OrderedDict()

    def get(self, key: Hashable, generation: str = "") -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        since, kept_in, packed = found
        if time.monotonic() - since > FRESH or kept_in != generation:
            self.remove(key)
            return None
        self._kept.move_to_end(key)
        return packed

    def put(self, key: Hashable, packed: bytes, generation: str = "") -> None:
        self.remove(key)
        if len(packed) > self._max_size:
            return
        self._kept[key] = (time.monotonic(), generation, packed)
        self._size += len(packed)
        while self._size > self._max_size:
            self.remove(next(iter(self._kept)))

    def remove(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= len(found[2])

    def clear(self) -> None:
        self._kept.clear()
        self._size = 0
