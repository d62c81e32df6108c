"""A store that is gone when the proxy stops. Least recently used entries go first."""

from __future__ import annotations

from collections import OrderedDict

from ..entry import Entry
from .base import Store


class MemoryStore(Store):
    """`max_size` in bytes of packed answers."""

    def __init__(self, url: str, max_size: int) -> None:
        self.url = url
        self._max_size = max_size
        self._size = 0
        self._entries: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    async def open(self) -> None:
        pass

    async def read(self, key: str) -> bytes | None:
        kept = self._entries.get(key)
        if kept is None:
            return None
        self._entries.move_to_end(key)
        return kept[0]

    def put(self, entry: Entry) -> bool:
        self.remove(entry.key)
        packed = entry.pack_answer()
        if len(packed) > self._max_size:
            self.dropped += 1
            return False
        self._entries[entry.key] = (packed, entry.issued)
        self._size += len(packed)
        while self._size > self._max_size and self._entries:
            self.remove(next(iter(self._entries)))
        return True

    def remove(self, key: str) -> None:
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._size -= len(kept[0])

    def remove_issuer(self, issued: str) -> None:
        for key in [key for key, kept in self._entries.items() if issued and kept[1] == issued]:
            self.remove(key)

    async def count(self) -> int:
        return len(self._entries)

    async def close(self, deadline: float = 5.0) -> None:
        pass
