"""Pages of a shared store. A server keeps its keys in no order, so all of them are listed, name and head of each, and
pages are read from that list once it is whole.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from redis.exceptions import NoPermissionError

from ..entry import BrokenEntry, peek_head
from ..selection import Selection
from ..vault import Vault
from .browsing import NO_PAGE, NoSuchPage, Page, meant, number_of
from .redis_client import Client
from .sieve import Packed, Row, Search, Sieve, Unpack

_HEAD = 2048
"""Bytes of a value that are read for the head in it; where it is longer, all of them."""
_AT_ONCE, _BODIES = 100, 16
"""Values that are fetched together: heads, and whole ones."""
_MOST = 200_000
"""Entries of a list, a quarter of a kilobyte each. Of a larger store the newest are shown."""
_LISTS, _KEPT = 3, 300.0
"""Lists that are kept for their next pages, and for how many seconds after the last one."""
_STALE = 3.0
"""A list is good for another first page for so many times what it took to make it."""

Listed = tuple[float, str, str, str, str]
"""Minus the time it was created, name, model, URL, namespace: so the newest is the smallest."""

Names = Callable[[], AsyncIterator[str]]
Parts = Callable[[bytes], Packed]
"""The packed answer and request of a value."""
IsLive = Callable[[str, str], Awaitable[bool]]
"""Whether look-ups find what has this name, in this namespace."""


class _List:
    """What was there at one time. In order once `whole` is done."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(4)
        self.began = self.used = time.monotonic()
        self.good_until = 0.0
        self.listed: list[Listed] = []
        self.unreadable = 0
        self.same: dict[str, str] = {}
        """One copy of each model, URL and namespace."""
        self.whole: asyncio.Task[None] | None = None

    def add(self, name: str, row: Row) -> None:
        model, url, namespace = (self.same.setdefault(text, text) for text in (row.model, row.url, row.namespace))
        self.listed.append((-row.created, name, model, url, namespace))

    def put_in_order(self) -> None:
        self.listed = sorted(set(self.listed))[:_MOST]  # a server may name a key twice


class RedisBrowser:
    """What it is given may raise any error of the client."""

    def __init__(self, client: Client, names: Names, parts: Parts, is_live: IsLive, unpack: Unpack) -> None:
        self._names = names
        self._client = client
        self._may_read_parts = True
        self._parts = parts
        self._is_live = is_live
        self._unpack = unpack
        self._lists: dict[str, _List] = {}

    async def page(self, selection: Selection, vault: Vault | None, after: str, limit: int, deadline: float) -> Page:
        """Where the list is not whole in time the page is empty, and its `next` goes on. Raises `NoSuchPage`."""
        until = time.monotonic() + deadline
        kept = self._lists.get(after.partition(".")[0]) if after else self._first(vault)
        if kept is None or kept.whole is None:
            raise NoSuchPage(NO_PAGE)
        place = number_of(after.partition(".")[2]) if after else 0
        kept.used = time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(kept.whole), max(deadline, 0.001))
        if not kept.whole.done():
            return Page([], f"{kept.token}.0", False)
        kept.whole.result()
        search = Search(Sieve(meant(selection), vault), limit)
        began, place = place, await self._search(kept.listed, place, search, until)
        search.searched += place - began
        ended = place >= len(kept.listed)
        search.unreadable += kept.unreadable * ended
        return search.page(f"{kept.token}.{place}", ended)

    def _first(self, vault: Vault | None) -> _List:
        """A new list, or one that is being made or was a moment ago."""
        now = time.monotonic()
        for old in list(self._lists.values()):
            if old.whole is not None and not old.whole.done():
                return old
            if now < old.good_until:
                return old
            if now - old.used > _KEPT:
                del self._lists[old.token]
        while len(self._lists) >= _LISTS:
            del self._lists[next(iter(self._lists))]
        new = _List()
        new.whole = asyncio.create_task(self._make(new, vault), name="ai-cache list")
        new.whole.add_done_callback(lambda task: task.cancelled() or task.exception())  # who waits for it says it
        self._lists[new.token] = new
        return new

    def close(self) -> None:
        for kept in self._lists.values():
            if kept.whole is not None:
                kept.whole.cancel()
        self._lists.clear()

    async def _make(self, new: _List, vault: Vault | None) -> None:
        names: list[str] = []
        async for name in self._names():
            names.append(name)
            if len(names) == _AT_ONCE:
                await self._take_in(new, names, vault)
                names = []
                if len(new.listed) > 2 * _MOST:
                    new.put_in_order()
        await self._take_in(new, names, vault)
        new.put_in_order()
        now = time.monotonic()
        new.good_until = now + _STALE * (now - new.began)

    async def _take_in(self, new: _List, names: list[str], vault: Vault | None) -> None:
        for name, value in zip(names, await self._values(names, 0 if vault else _HEAD), strict=True):
            if value is None:
                continue
            try:
                row = await self._row(name, value, vault)
            except BrokenEntry:
                new.unreadable += 1
                continue
            if row is not None and await self._is_live(name, row.namespace):
                new.add(name, row)

    async def _row(self, name: str, value: bytes, vault: Vault | None) -> Row | None:
        try:
            return self._read(name, value, vault)
        except BrokenEntry:
            if len(value) != _HEAD:
                raise
        (whole,) = await self._values([name], 0)
        return None if whole is None else self._read(name, whole, vault)

    def _read(self, name: str, value: bytes, vault: Vault | None) -> Row:
        answer, _ = self._parts(value)
        if vault is not None:
            answer = vault.open(answer, _key_of(name), "answer")
        head = peek_head(answer)
        row = Row(_key_of(name), *(head.get(each) for each in Row._fields[1:]))  # type: ignore[arg-type]
        if not isinstance(row.created, float | int) or not all(isinstance(text, str) for text in row[2:]):
            raise BrokenEntry("no head of an entry")
        return row

    async def _search(self, listed: list[Listed], place: int, search: Search, until: float) -> int:
        """From `place` on; where it ended."""
        while place < len(listed) and not search.is_full:
            chunk: list[tuple[int, Row]] = []
            for at in range(place, min(place + 10 * _BODIES, len(listed))):
                created, name, model, url, namespace = listed[at]
                row = Row(_key_of(name), -created, model, url, namespace)
                place = at + 1
                if search.sieve.takes_row(row):
                    chunk.append((at, row))
                if len(chunk) == _BODIES:
                    break
            for (at, row), value in zip(chunk, await self._whole(listed, chunk), strict=True):
                if search.is_full:
                    return at
                if value is not None and await self._is_live(listed[at][1], row.namespace):
                    packed = self._parts(value)
                    search.look_at(row, partial(_same, packed), self._unpack)
            if time.monotonic() >= until:
                break
            await asyncio.sleep(0)
        return place

    async def _whole(self, listed: list[Listed], chunk: list[tuple[int, Row]]) -> list[bytes | None]:
        return await self._values([listed[at][1] for at, _ in chunk], 0) if chunk else []

    async def _values(self, names: Sequence[str], size: int) -> list[bytes | None]:
        """The first `size` bytes of what has these names, or all of them for 0; None where there is nothing."""
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.getrange(name, 0, size - 1) if size and self._may_read_parts else pipe.get(name)
            values = await pipe.execute(raise_on_error=False) if names else []
        for value in values:
            if isinstance(value, NoPermissionError) and size and self._may_read_parts:
                self._may_read_parts = False
                return await self._values(names, 0)
            if isinstance(value, Exception) and not str(value).startswith("WRONGTYPE"):
                raise value
        return [b"" if isinstance(value, Exception) else value or None for value in values]


def _same(packed: Packed) -> Packed:
    return packed


def _key_of(name: str) -> str:
    return name.rpartition(":")[2]
