"""Pages of a store, newest first: what `ai-cache ls` and the status page show of it."""

from __future__ import annotations

import heapq
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..entries.entry import Entry
from ..entries.selection import EVERYTHING, Selection

_PLACE = re.compile(r"(-?\d{1,20}(?:\.\d{1,30})?(?:e[+-]?\d{1,3})?) (\S+) (.*)", re.ASCII | re.DOTALL)
NO_PAGE = "there is no such page; begin at the first one"


class NoSuchPage(ValueError):
    """The place to go on from is none that this store gave. One line for a user."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the entries that a selection takes. Appending pages along `next` gives each of them once."""

    entries: list[Entry]
    """Whole, with their requests, newest first."""
    next: str = ""
    """Where to go on; empty at the end."""
    complete: bool = True
    """False where the time ended before as many were found as were asked for; `next` then goes on searching."""
    searched: int = 0
    """Entries that were looked at for this page."""
    unreadable: int = 0
    """Of these, as far as they had to be read: damaged, or encrypted with another key."""


def meant(selection: Selection) -> Selection:
    """Without any condition all are shown; only what removes asks for `all`."""
    return selection if selection.given else EVERYTHING


async def page_of(entries: AsyncIterator[Entry], selection: Selection, after: str, limit: int) -> Page:
    """A page of entries that come in no order: all are looked at. Raises `NoSuchPage`."""
    place = place_of(after) if after else None
    selection = meant(selection)
    found: dict[Rank, Entry] = {}  # an entry may come twice
    searched = 0
    async for entry in entries:
        searched += 1
        rank = rank_of(entry)
        if (place is None or rank > place) and selection.matches(entry):
            found[rank] = entry
            if len(found) > 2 * limit + 100:
                found = dict(heapq.nsmallest(limit + 1, found.items(), key=lambda pair: pair[0]))
    ranked = sorted(found.items(), key=lambda pair: pair[0])
    shown = [entry for _, entry in ranked[:limit]]
    return Page(shown, place_after(shown[-1]) if shown and len(ranked) > limit else "", True, searched)


Rank = tuple[float, str, str]
"""Sorts the newest first."""


def rank_of(entry: Entry) -> Rank:
    return -entry.created, entry.key, entry.namespace


def place_after(entry: Entry) -> str:
    return f"{float(entry.created)!r} {entry.key} {entry.namespace}"


def place_of(after: str) -> Rank:
    """The rank of the entry that `place_after` named. Raises `NoSuchPage`."""
    found = _PLACE.fullmatch(after)
    if found is None:
        raise NoSuchPage(NO_PAGE)
    return -float(found[1]), found[2], found[3]


def number_of(after: str) -> int:
    """Of a store whose places are numbers. Raises `NoSuchPage`."""
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise NoSuchPage(NO_PAGE)
    return int(after)
