"""A store that is gone when the proxy stops. Least recently used entries go first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..entry import BrokenEntry, Entry
from .base import Store


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: bytes
    request: bytes
    issued: str
    namespace: str

    @property
    def size(self) -> int:
        return len(self.answer) + len(self.request)


class MemoryStore(Store):
    """`max_size` in bytes of packed answers and requests."""

    waits = False

    def __init__(self, url: str, max_size: int) -> None:
        self.url = url
        self._max_size = max_size
        self._size = 0
        self._entries: OrderedDict[str, _Kept] = OrderedDict()

    async def open(self) -> None:
        pass

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        kept = self._entries.get(key)
        if kept is None:
            return None
        self._entries.move_to_end(key)
        return kept.answer

    async def entries(self) -> AsyncIterator[Entry]:
        for key in list(self._entries):
            await asyncio.sleep(0)
            kept = self._entries.get(key)
            if kept is None:
                continue
            try:
                yield self._unpacked(key, kept.answer, kept.request)
            except BrokenEntry:
                self.failures["broken-entry"] += 1

    def put(self, entry: Entry) -> bool:
        self.remove(entry.key)
        kept = _Kept(*self._packed(entry), entry.issued, entry.namespace)
        if kept.size > self._max_size:
            self.dropped += 1
            self.failures["too-large"] += 1
            return False
        self._entries[entry.key] = kept
        self._size += kept.size
        while self._size > self._max_size and self._entries:
            self.remove(next(iter(self._entries)))
        return True

    def remove(self, key: str, namespace: str = "") -> None:
        kept = self._entries.pop(key, None)
        if kept is not None:
            self._size -= kept.size

    def remove_issuer(self, issued: str) -> None:
        for key in [key for key, kept in self._entries.items() if issued and kept.issued == issued]:
            self.remove(key)

    async def purge(self, namespace: str) -> None:
        for key in [key for key, kept in self._entries.items() if kept.namespace == namespace]:
            self.remove(key)

    async def count(self) -> int:
        return len(self._entries)

    async def flushed(self, deadline: float = 5.0) -> None:
        pass

    async def close(self, deadline: float = 5.0) -> None:
        pass
