"""A store that is gone when the proxy stops. Entries go first that expired long ago, then the least recently used."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..entries.entry import BrokenEntry, Entry
from ..entries.selection import Selection
from ..wire.bounded import BoundedMap
from .base import Store
from .filtering import EntryFilter, Packed, Row, Search
from .pages import Page, meant, number_of

_SLICE = 0.001
"""Seconds of search before others get their turn."""


@dataclass(slots=True)
class _Kept:
    row: Row
    answer: bytes
    request: bytes
    issued: str
    number: int
    """Counts puts."""
    until: float
    """Unix time until which it is kept; infinity for ever."""

    @property
    def size(self) -> int:
        return len(self.answer) + len(self.request)

    def packed(self) -> Packed:
        return self.answer, self.request


class MemoryStore(Store):
    """`max_size` in bytes of packed answers and requests."""

    waits = False

    def __init__(self, url: str, max_size: int) -> None:
        self.url = url
        self._max_size = max_size
        self._entries: BoundedMap[str, _Kept] = BoundedMap(
            max_size=max_size, size_of=lambda kept: kept.size, dropped=self._dropped
        )
        self._numbers: dict[int, str] = {}
        """Keys in the order they were put."""
        self._puts = 0
        self._ends: list[tuple[float, int]] = []
        """A heap: until when an entry is kept, and its number. Numbers of entries that are gone are left in it."""

    async def open(self) -> None:
        pass

    @property
    def size(self) -> int:
        return self._entries.size

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        kept = self._entries.get(key)
        if kept is None:
            return None
        self._entries.touch(key)
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

    async def browse(self, selection: Selection, after: str = "", limit: int = 50, deadline: float = 0.8) -> Page:
        """The entry that was put last comes first."""
        search = Search(EntryFilter(meant(selection), self.vault), limit)
        until = time.monotonic() + deadline
        turn = time.monotonic() + _SLICE
        numbers = list(self._numbers)
        left = bisect_left(numbers, number_of(after)) if after else len(numbers)
        while left and not search.is_full:
            left -= 1
            search.searched += 1
            kept = self._entries.get(self._numbers.get(numbers[left], ""))
            if kept is not None:
                search.look_at(kept.row, kept.packed, self._unpacked)
            if (now := time.monotonic()) >= until:
                break
            if now >= turn:
                await asyncio.sleep(0)
                turn = time.monotonic() + _SLICE
        return search.page(str(numbers[left]) if left < len(numbers) else after, ended=not left)

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        self.remove(entry.key)
        row = Row(entry.key, entry.created, entry.model, entry.url, entry.namespace)
        self._puts += 1
        kept = _Kept(row, *(packed or self.pack(entry)), entry.issued, self._puts, entry.kept_until())
        if kept.size > self._max_size:
            self.dropped += 1
            self.failures["too-large"] += 1
            return False
        self._make_room(kept.size)
        self._entries.put(entry.key, kept)
        self._numbers[kept.number] = entry.key
        self._ends_at(kept)
        return True

    def _keep_until(self, entry: Entry, until: float) -> None:
        kept = self._entries.get(entry.key)
        if kept is not None and kept.row.created == entry.created and kept.until < until:
            kept.until = until
            self._ends_at(kept)

    def _ends_at(self, kept: _Kept) -> None:
        if kept.until == math.inf:
            return
        heapq.heappush(self._ends, (kept.until, kept.number))
        if len(self._ends) > 2 * len(self._entries) + 100:
            self._ends = [(each.until, each.number) for _, each in self._entries.items() if each.until != math.inf]
            heapq.heapify(self._ends)

    def _make_room(self, size: int) -> None:
        """By what need not be kept any more, as far as there is such; else the least recently used goes."""
        now = time.time()
        while self._entries.size + size > self._max_size and self._ends and self._ends[0][0] < now:
            until, number = heapq.heappop(self._ends)
            kept = self._entries.get(self._numbers.get(number, ""))
            if kept is not None and kept.until <= until:
                self.remove(kept.row.key)

    def _dropped(self, key: str, kept: _Kept) -> None:
        del self._numbers[kept.number]

    def remove(self, key: str, namespace: str = "") -> None:
        kept = self._entries.pop(key)
        if kept is not None:
            del self._numbers[kept.number]

    def remove_issuer(self, issued: str) -> None:
        for key in [key for key, kept in self._entries.items() if issued and kept.issued == issued]:
            self.remove(key)

    async def purge(self, namespace: str) -> None:
        for key in [key for key, kept in self._entries.items() if kept.row.namespace == namespace]:
            self.remove(key)

    async def count(self) -> int:
        return len(self._entries)

    async def flushed(self, deadline: float = 5.0) -> None:
        pass

    async def close(self, deadline: float = 5.0) -> None:
        pass
