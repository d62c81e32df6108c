"""A selection over packed entries: what is cheap to know is asked first, and most entries are never unpacked."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import translate
from re import Pattern, compile
from typing import NamedTuple

import orjson

from ..entries.entry import BrokenEntry, Entry, peek_answer, peek_request
from ..entries.selection import Selection, host_in, in_url, search_text
from ..entries.vault import VARIABLE, LockedEntry, Vault, is_sealed
from .pages import Page

_PAGE = 64 << 20
"""Bytes of bodies after which a page ends early."""

Packed = tuple[bytes, bytes]
"""Answer and request."""
Unpack = Callable[[str, bytes, bytes], Entry]
"""Gives the entry of a key, a packed answer and a packed request. Raises `BrokenEntry`."""


class Row(NamedTuple):
    """What is known of an entry before its bodies are read."""

    key: str
    created: float
    model: str
    url: str
    namespace: str


class EntryFilter:
    """Used by one thread at a time. What passes it is unpacked, and asked by the selection itself."""

    def __init__(self, selection: Selection, vault: Vault | None) -> None:
        self._selection = selection
        self._vault = vault
        self._model = _glob(selection.model)
        self._host = _glob(selection.host and selection.host.lower())
        self._contains = None if selection.contains is None else search_text(selection.contains)
        self._run = None if selection.run is None else b'"run":' + orjson.dumps(sayable(selection.run))
        self.takes = selection.matches
        self._asks_bytes = not (selection.run is None and selection.contains is None)

    def takes_row(self, row: Row) -> bool:
        asked = self._selection
        return (
            (asked.namespace is None or row.namespace == asked.namespace)
            and (asked.before is None or row.created < asked.before)
            and (asked.after is None or row.created >= asked.after)
            and (asked.key is None or row.key.startswith(asked.key))
            and (self._model is None or self._model.match(row.model) is not None)
            and (self._host is None or self._host.match(host_in(row.url)) is not None)
        )

    def takes_bytes(self, row: Row, answer: bytes, request: bytes) -> bool:
        """Raises `BrokenEntry`, `LockedEntry`."""
        if not self._asks_bytes:
            return True
        if self._vault is not None:
            answer = self._vault.open(answer, row.key, "answer")
        elif is_sealed(answer):
            raise LockedEntry(f"it is encrypted; set {VARIABLE}")
        if self._run is not None and self._run not in answer:
            return False
        if self._contains is None or in_url(row.url, self._contains.text):
            return True
        if self._vault is not None:
            request = self._vault.open(request, row.key, "request")
        return self._contains.is_in(peek_request(request)) or self._contains.is_in(peek_answer(answer))


class Search:
    """What one page has found so far, in the order of what it looks at."""

    def __init__(self, filter: EntryFilter, limit: int) -> None:
        self.found: list[Entry] = []
        self.searched = self.unreadable = 0
        self.filter = filter
        self._limit = max(limit, 1)
        self._size = 0

    @property
    def is_full(self) -> bool:
        return len(self.found) >= self._limit or self._size >= _PAGE

    @property
    def missing(self) -> int:
        """Entries until it is full."""
        return max(self._limit - len(self.found), 0)

    def look_at(self, row: Row, packed: Callable[[], Packed | None], unpack: Unpack) -> None:
        """`packed` reads answer and request, where they are needed; None where they are gone meanwhile."""
        try:
            if not self.filter.takes_row(row) or (bodies := packed()) is None:
                return
            if self.filter.takes_bytes(row, *bodies):
                self.take(unpack(row.key, *bodies))
        except (BrokenEntry, TypeError):
            self.unreadable += 1

    def take(self, entry: Entry) -> None:
        if self.filter.takes(entry):
            self.found.append(entry)
            self._size += len(entry.body) + len(entry.request)

    def page(self, place: str, ended: bool) -> Page:
        """`place` is where to go on, where this is not the end."""
        return Page(self.found, "" if ended else place, ended or self.is_full, self.searched, self.unreadable)


def _glob(pattern: str | None) -> Pattern[str] | None:
    return None if pattern is None else compile(translate(pattern))


def sayable(text: str) -> str:
    """Bytes of a command line that are no UTF-8 are in no entry either."""
    return text.encode("utf-8", "replace").decode()
