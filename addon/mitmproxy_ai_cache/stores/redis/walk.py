"""Pages of a shared store along its sorted sets (recent.py): those of all namespaces, merged, newest first."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ...entries.entry import BrokenEntry
from ...entries.selection import Selection
from ...entries.vault import Vault
from ..filtering import Row, Search, Unpack
from ..pages import place_of
from .names import entry_name, parts
from .recent import LAST_KEY, Member, Recent
from .values import RedisValues, Value, row_of

_AHEAD, _MORE = 200, 500
"""Members that are read ahead: of all namespaces together at first, then of each that has no more."""
_LEAST, _MOST, _BYTES = 16, 200, 1 << 20
"""Values that are fetched together, and bytes that they should have."""
_SMALL = 4096
"""Bytes of a value, on average, up to which all of it is read at once, and not its head first."""

_BEGIN = "recent"


@dataclass(frozen=True, slots=True)
class Place:
    """Behind what was looked at. Of what was created at the same time the namespace that sorts first comes first."""

    member: Member
    namespace: str

    def __str__(self) -> str:
        created, key = self.member
        return _BEGIN if self == NEWEST else f"{_BEGIN} {created!r} {key} {self.namespace}"

    def of(self, namespace: str) -> Member:
        """In the set of `namespace`."""
        if namespace == self.namespace:
            return self.member
        return self.member[0], "" if namespace < self.namespace else LAST_KEY


NEWEST = Place((float("inf"), LAST_KEY), "")


def is_place(after: str) -> bool:
    """Of a walk, and not of what comes behind it."""
    return not after or after.partition(" ")[0] == _BEGIN


def place_in(after: str) -> Place:
    """Raises `NoSuchPage`."""
    if after in ("", _BEGIN):
        return NEWEST
    rank, key, namespace = place_of(after.removeprefix(_BEGIN + " "))
    return Place((-rank, key), namespace)


@dataclass(slots=True)
class _Source:
    """The set of one namespace."""

    namespace: str
    generation: str
    place: Member
    """The last member that was read."""
    ahead: deque[Member] = field(default_factory=deque)

    @property
    def rank(self) -> tuple[float, str]:
        """Of its next member; that of the newest is the smallest."""
        return -self.ahead[0][0], self.namespace


_Found = tuple[_Source, Member]
_Seen = tuple[Row | BrokenEntry | None, Value]


class RedisWalk:
    """The walk of one page. Raises what redis-py raises."""

    def __init__(
        self, recent: Recent, values: RedisValues, search: Search, selection: Selection, vault: Vault | None
    ) -> None:
        self._recent = recent
        self._values = values
        self._search = search
        self._asked = selection
        self._vault = vault
        self._heap: list[tuple[tuple[float, str], _Source]] = []
        self._asks_heads = not (selection.model is None and selection.host is None)
        self._asks_bytes = not (selection.run is None and selection.contains is None)
        self._heads_first = False
        self._at_once = _LEAST
        self.gone: dict[str, list[Member]] = {}
        """Members without an entry, by generation."""

    async def begin(self, generations: Mapping[str, str], place: Place) -> None:
        """In the generations of these namespaces, behind `place`."""
        upper = [] if self._asked.before is None else [(self._asked.before, "")]
        sources = [_Source(space, token, min([place.of(space), *upper])) for space, token in generations.items()]
        await self._read_ahead(sources, max(1, _AHEAD // max(1, len(sources))))

    @property
    def is_over(self) -> bool:
        return not self._heap

    async def step(self, place: Place, unpack: Unpack) -> Place:
        """Look at some that come next; behind which place that was."""
        found = await self._next()
        wanted = [each for each in found if each[1][1].startswith(self._asked.key or "")]
        seen = dict(zip(map(_name, wanted), await self._seen(list(map(_name, wanted))), strict=True))
        for each in found:
            source, member = each
            if self._search.is_full:
                break
            self._search.searched += 1
            place = Place(member, source.namespace)
            if (name := _name(each)) in seen:
                self._look_at(each, *seen[name], unpack)
        return place

    def _look_at(self, found: _Found, row: Row | BrokenEntry | None, value: Value, unpack: Unpack) -> None:
        source, member = found
        if row is None:
            self.gone.setdefault(source.generation, []).append(member)
        elif isinstance(row, BrokenEntry):
            self._search.unreadable += 1
        elif value is not None and row.namespace == source.namespace:
            self._search.look_at(row, partial(parts, value), unpack)

    async def _seen(self, names: list[str]) -> list[_Seen]:
        """The row of each, and the value where it may be wanted."""
        if not self._heads_first:
            values = await self._values.whole(names)
            self._learn(values)
            return [(row_of(name, value, self._vault), value) for name, value in zip(names, values, strict=True)]
        rows = await self._values.rows(names, self._vault)
        wanted = [
            n for n, row in zip(names, rows, strict=True) if isinstance(row, Row) and self._search.filter.takes_row(row)
        ]
        found: dict[str, Value] = {}
        for at in range(0, len(wanted), _LEAST):
            some = wanted[at : at + _LEAST]
            found.update(zip(some, await self._values.whole(some), strict=True))
        return [(row, found.get(name)) for name, row in zip(names, rows, strict=True)]

    def _learn(self, values: list[Value]) -> None:
        """How large they are here, and so how many are best read together, and how."""
        sizes = [len(value) for value in values if value]
        if sum(sizes) > _BYTES:
            self._at_once = max(_LEAST, self._at_once // 2)
        elif sum(sizes) < _BYTES / 2:
            self._at_once = min(_MOST, self._at_once * 2)
        if self._asks_heads and not self._vault and sizes and sum(sizes) > _SMALL * len(sizes):
            self._heads_first, self._at_once = True, _MOST

    async def _next(self) -> list[_Found]:
        """Members of all namespaces in their order."""
        most = self._at_once
        if not (self._asks_heads or self._asks_bytes):
            most = _MORE if self._asked.key else min(most, self._search.missing)
        found: list[_Found] = []
        while self._heap and len(found) < most:
            _, source = heapq.heappop(self._heap)
            found.append((source, source.ahead.popleft()))
            if source.ahead:
                heapq.heappush(self._heap, (source.rank, source))
            else:
                await self._read_ahead([source], _MORE)
        return found

    async def _read_ahead(self, sources: list[_Source], most: int) -> None:
        places = [(source.generation, source.place) for source in sources]
        for source, members in zip(sources, await self._recent.newest(places, self._asked.after, most), strict=True):
            if members:
                source.ahead.extend(members)
                source.place = members[-1]
                heapq.heappush(self._heap, (source.rank, source))


def _name(found: _Found) -> str:
    return entry_name(found[0].generation, found[1][1])
