"""The near cache: answers of a shared store kept for a few seconds in this process."""

from __future__ import annotations

import time
from collections.abc import Hashable

from ...wire.bounded import BoundedMap

FRESH = 5.0
"""Seconds. What another process removes may be answered from here for that long."""


class NearCache:
    """Least recently used answers go first. `max_size` in bytes; 0 keeps nothing.

    What was kept in one generation of a namespace is not found in the next: it was purged.
    """

    def __init__(self, max_size: int) -> None:
        self._kept: BoundedMap[Hashable, tuple[float, str, bytes]] = BoundedMap(
            max_size=max_size, size_of=lambda found: len(found[2])
        )
        """When an answer was put, its generation, and the packed answer."""

    def get(self, key: Hashable, generation: str = "") -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        since, kept_in, packed = found
        if time.monotonic() - since > FRESH or kept_in != generation:
            self._kept.pop(key)
            return None
        self._kept.touch(key)
        return packed

    def put(self, key: Hashable, packed: bytes, generation: str = "") -> None:
        self._kept.put(key, (time.monotonic(), generation, packed))

    def remove(self, key: Hashable) -> None:
        self._kept.pop(key)

    def clear(self) -> None:
        self._kept.clear()
