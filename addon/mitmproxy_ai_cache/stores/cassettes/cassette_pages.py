"""Pages of a directory of cassettes. The index knows their order; what it does not know is read file by file."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from operator import itemgetter

from ...cassettes.index import Row
from ...entries.entry import Entry
from ...entries.selection import Selection
from .. import filtering
from ..filtering import EntryFilter, Search
from ..pages import Page, Rank, meant, place_of

Read = Callable[[str], Awaitable[Entry | None]]
"""The entry of a path with its request, or None where the file cannot be read."""


async def page(
    rows: Iterable[tuple[str, Row]], read: Read, selection: Selection, after: str, limit: int, deadline: float
) -> Page:
    """`rows` are the paths that answer. Raises `NoSuchPage`."""
    until = time.monotonic() + deadline
    selection = meant(selection)
    known = EntryFilter(replace(selection, model=None, host=None, run=None, contains=None), None)
    search = Search(EntryFilter(selection, None), limit)
    ranked = sorted(((_rank(row), path) for path, row in rows), key=itemgetter(0))
    for place in range(bisect_right(ranked, place_of(after), key=itemgetter(0)) if after else 0, len(ranked)):
        (rank, path), last = ranked[place], place + 1 == len(ranked)
        search.searched += 1
        if known.takes_row(filtering.Row(rank[1], -rank[0], "", "", rank[2])):
            entry = await read(path)
            if entry is None:
                search.unreadable += 1
            else:
                search.take(entry)
        if last or search.is_full or time.monotonic() >= until:
            return search.page(f"{-rank[0]!r} {rank[1]} {rank[2]}", last)
    return search.page("", True)


def _rank(row: Row) -> Rank:
    return -row.created, row.key, row.namespace
