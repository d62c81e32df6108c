"""Pages of a shared store: along the sorted sets that keep its order (walk.py), then what is in none of them.

A server keeps its keys in no order, so for the rest all are looked at: those that are in no set are listed, name and
head of each, and pages are read from that list once it is whole. Where the store is writable they are in the sets from
then on. So a store that lost its sets, or had none yet, or whose user may not read them, is shown all the same: its
first page takes as long as reading all heads. An entry that is in no set comes behind all that are.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import groupby

from redis.exceptions import ResponseError

from ...entries.entry import BrokenEntry
from ...entries.selection import Selection
from ...entries.vault import Vault
from ..filtering import EntryFilter, Row, Search, Unpack
from ..pages import NO_PAGE, NoSuchPage, Page, meant, number_of
from .names import generation_of, key_of, parts
from .namespaces import Namespaces
from .recent import Member, Recent
from .values import RedisValues
from .walk import Place, RedisWalk, is_place, place_in

_NAMES, _AT_ONCE, _BODIES = 1000, 100, 16
"""Names that are looked up in the sets together; values that are fetched together: heads, and whole ones."""
_MOST = 200_000
"""Entries of a list, a quarter of a kilobyte each. Of a larger store the newest are shown."""
_LISTS, _KEPT = 3, 300.0
"""Lists that are kept for their next pages, and for how many seconds after the last one."""
_REFUSED = 60.0
"""Seconds until a server that refused to read its sorted sets is asked again."""
_STALE = 3.0
"""A list is good for another first page for so many times what it took to make it."""

Listed = tuple[float, str, str, str, str]
"""Minus the time it was created, name, model, URL, namespace: so the newest is the smallest."""

Names = Callable[[], AsyncIterator[str]]
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
        self.noted = False
        """Whether some of it is in the sets now."""
        self.same: dict[str, str] = {}
        """One copy of each model, URL and namespace."""
        self.whole: asyncio.Task[None] | None = None

    def add(self, name: str, row: Row) -> None:
        model, url, namespace = (self.same.setdefault(text, text) for text in (row.model, row.url, row.namespace))
        self.listed.append((-row.created, name, model, url, namespace))

    def put_in_order(self) -> None:
        self.listed = sorted(set(self.listed))[:_MOST]  # a server may name a key twice


class RedisBrowser:
    """Of a server with these `names`. What it is given may raise any error of the client."""

    def __init__(
        self,
        recent: Recent,
        values: RedisValues,
        namespaces: Namespaces,
        names: Names,
        is_live: IsLive,
        unpack: Unpack,
        writable: bool,
    ) -> None:
        self._recent = recent
        self._values = values
        self._namespaces = namespaces
        self._names = names
        self._is_live = is_live
        self._unpack = unpack
        self._writes = writable
        self._refused_until = 0.0
        self._lists: dict[str, _List] = {}

    async def page(self, selection: Selection, vault: Vault | None, after: str, limit: int, deadline: float) -> Page:
        """Where the time ends the page may be empty, and its `next` goes on. Raises `NoSuchPage`."""
        until = time.monotonic() + deadline
        search = Search(EntryFilter(meant(selection), vault), limit)
        if is_place(after):
            place = await self._walk(search, selection, vault, place_in(after), until)
            if place is not None:
                return search.page(str(place), False)
            after = ""
        return await self._rest(search, vault, after, until)

    def close(self) -> None:
        self._namespaces.close()
        for kept in self._lists.values():
            if kept.whole is not None:
                kept.whole.cancel()
        self._lists.clear()

    # What is in the sets

    async def _walk(
        self, search: Search, selection: Selection, vault: Vault | None, place: Place, until: float
    ) -> Place | None:
        """From `place` on; where it ended, None where there is no more."""
        if self._is_refused:
            return None
        walk = RedisWalk(self._recent, self._values, search, selection, vault)
        try:
            await walk.begin(await self._namespaces.generations(selection.namespace, until - time.monotonic()), place)
        except TimeoutError:
            return place
        except ResponseError:  # no right to, or no server that knows how
            self._refused_until = time.monotonic() + _REFUSED
            return None
        while not (walk.is_over or search.is_full):
            place = await walk.step(place, self._unpack)
            if time.monotonic() >= until:
                break
            await asyncio.sleep(0)
        if self._writes:
            with suppress(ResponseError):
                for generation, members in walk.gone.items():
                    await self._recent.drop(generation, members)
        return None if walk.is_over and not search.is_full else place

    @property
    def _is_refused(self) -> bool:
        return time.monotonic() < self._refused_until

    # What is in none

    async def _rest(self, search: Search, vault: Vault | None, after: str, until: float) -> Page:
        kept = self._lists.get(after.partition(".")[0]) if after else self._first(vault)
        if kept is None or kept.whole is None:
            raise NoSuchPage(NO_PAGE)
        place = number_of(after.partition(".")[2]) if after else 0
        kept.used = time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(kept.whole), max(until - time.monotonic(), 0.001))
        if not kept.whole.done():
            return search.page(f"{kept.token}.0", False)
        kept.whole.result()
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

    async def _make(self, new: _List, vault: Vault | None) -> None:
        live = set((await self._namespaces.generations(None, _KEPT)).values())
        names: list[str] = []
        async for name in self._names():
            if generation_of(name) in live:
                names.append(name)
            if len(names) == _NAMES:
                await self._take_in(new, names, vault)
                names = []
                if len(new.listed) > 2 * _MOST:
                    new.put_in_order()
        await self._take_in(new, names, vault)
        new.put_in_order()
        now = time.monotonic()
        new.good_until = 0.0 if new.noted else now + _STALE * (now - new.began)

    async def _take_in(self, new: _List, names: list[str], vault: Vault | None) -> None:
        left = await self._not_noted(names)
        for at in range(0, len(left), _AT_ONCE):
            some = left[at : at + _AT_ONCE]
            found: list[tuple[str, Member]] = []
            for name, row in zip(some, await self._values.rows(some, vault), strict=True):
                if isinstance(row, BrokenEntry):
                    new.unreadable += 1
                elif row is not None and await self._is_live(name, row.namespace):
                    new.add(name, row)
                    found.append((generation_of(name), (row.created, key_of(name))))
            if self._writes and not self._is_refused and found:
                new.noted |= await self._recent.note(found)

    async def _not_noted(self, names: list[str]) -> list[str]:
        """Those that are in no set."""
        if self._is_refused:
            return names
        left: list[str] = []
        for generation, group in groupby(sorted(names), generation_of):
            some = list(group)
            noted = await self._recent.are_noted(generation, [key_of(name) for name in some])
            left += [name for name, is_noted in zip(some, noted, strict=True) if not is_noted]
        return left

    async def _search(self, listed: list[Listed], place: int, search: Search, until: float) -> int:
        """From `place` on; where it ended."""
        while place < len(listed) and not search.is_full:
            chunk: list[tuple[int, Row]] = []
            for at in range(place, min(place + 10 * _BODIES, len(listed))):
                created, name, model, url, namespace = listed[at]
                row = Row(key_of(name), -created, model, url, namespace)
                place = at + 1
                if search.filter.takes_row(row):
                    chunk.append((at, row))
                if len(chunk) == _BODIES:
                    break
            for (at, row), value in zip(chunk, await self._whole(listed, chunk), strict=True):
                if search.is_full:
                    return at
                if value is not None and await self._is_live(listed[at][1], row.namespace):
                    search.look_at(row, partial(parts, value), self._unpack)
            if time.monotonic() >= until:
                break
            await asyncio.sleep(0)
        return place

    async def _whole(self, listed: list[Listed], chunk: list[tuple[int, Row]]) -> list[bytes | None]:
        return await self._values.whole([listed[at][1] for at, _ in chunk])
