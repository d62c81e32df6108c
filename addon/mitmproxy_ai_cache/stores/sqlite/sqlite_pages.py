"""Pages of a SQLite store: the last entry that was put comes first.

The search reads on a connection and a thread of its own, some milliseconds at a time, so that hits go on meanwhile.
Where a text or a run is looked for, most entries are not read, for `search` tells that it is not in them.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

from ...entries.entry import Entry
from ...entries.selection import Selection
from ...entries.signature import WantedText
from ...entries.vault import Vault
from ..base import StoreError, StoreUnavailable
from ..filtering import EntryFilter, Packed, Row, Search, Unpack, sayable
from ..pages import Page, meant, number_of, rank_of
from . import file
from .search import UNKNOWN_RUN, last_signed

_SLICE = 0.01
"""Seconds of search before others get their turn."""
_BEYOND = (1 << 63) - 1
"""A number that no entry has."""

_WINDOW = 20_000
"""Numbers that one statement spans: SQLite says nothing until it meets an entry that its conditions take."""

_ONLY_SIGNED = 1
"""Columns of what was excluded."""
_OFTEN = 200
"""Signatures between two looks at the clock."""

_ROW = "id, key, created, model, url, namespace"
_BY_KEY = f"SELECT {_ROW}, answer, request FROM entry WHERE key >= ? AND key < ? ORDER BY key"  # noqa: S608
_HAS_SIGNED = "SELECT count(*) FROM sqlite_master WHERE name = 'search'"
_PACKED = "SELECT answer, request FROM entry WHERE id = ?"
_ENDS = "SELECT (SELECT min(id) FROM entry), (SELECT max(id) FROM entry), entries FROM total"
"""Each on its own: two in one query are looked for in the whole table."""
_PLAIN_GLOB = re.compile(r"[^\[\x80-\U0010ffff]*")
"""One that means the same to SQLite, or more."""


class SqliteBrowser:
    """`unpack` gives the entry of a key, a packed answer and a packed request."""

    def __init__(self, path: Path, writable: bool, unpack: Unpack) -> None:
        self._path = path
        self._writable = writable
        self._unpack = unpack
        self._worker: ThreadPoolExecutor | None = None

    async def page(
        self, selection: Selection, vault: Vault | None, after: str, limit: int, deadline: float, gone: Collection[str]
    ) -> Page:
        """`gone` are namespaces that are not looked at. Raises `StoreError`, `NoSuchPage`."""
        search = Search(EntryFilter(meant(selection), vault), limit)
        signed = None if vault is not None else _Signed.of(selection)  # what is encrypted is never signed
        scan = _Scan(selection, search, number_of(after) if after else _BEYOND, gone, self._unpack, signed)
        until = time.monotonic() + deadline
        async with self._connected(scan):
            await self._in_thread(scan.go_on)
            while not (scan.ended or search.is_full or time.monotonic() >= until):
                await self._in_thread(scan.go_on)
        return search.page(str(scan.place), scan.ended)

    async def find(self, prefix: str, limit: int, gone: Collection[str]) -> list[Entry]:
        """Raises `StoreError`."""
        selection = Selection(key=prefix)
        search = Search(EntryFilter(selection, None), limit)
        scan = _Scan(selection, search, _BEYOND, gone, self._unpack)
        async with self._connected(scan):
            await self._in_thread(scan.by_key, sayable(prefix))
        return sorted(search.found, key=rank_of)

    @asynccontextmanager
    async def _connected(self, scan: _Scan) -> AsyncIterator[None]:
        try:
            await self._in_thread(scan.begin, self._connect)
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error
        finally:
            if self._worker is not None:
                self._worker.submit(scan.close)  # behind a slice that may still be at work

    def close(self) -> None:
        if self._worker is not None:
            self._worker.shutdown(wait=False)
            self._worker = None

    async def _in_thread[*Ts](self, work: Callable[[*Ts], None], *arguments: *Ts) -> None:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="ai-cache browse")
        await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def _connect(self) -> sqlite3.Connection:
        """A connection that makes no file. Raises `StoreError`, `sqlite3.Error`."""
        if not self._writable:
            return file.open_as_it_is(self._path)
        if not self._path.exists():
            raise StoreUnavailable(f"{self._path} is not there")
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, timeout=0.5, isolation_level=None, check_same_thread=False, uri=True)
        # The last connection to close writes the WAL into the file, which is for others to do.
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        return connection


Rows = Generator[tuple[Any, ...], None, None]


class _Scan:
    """A search through the file, from the highest number to the lowest. Its methods are for the thread."""

    def __init__(
        self,
        selection: Selection,
        search: Search,
        place: int,
        gone: Collection[str],
        unpack: Unpack,
        signed: _Signed | None = None,
    ) -> None:
        self.search = search
        self.place = place
        """Entries with lower numbers are still to be searched."""
        self.ended = False
        self._sql, self._one, self._parameters = _statements(selection)
        self._signed = signed
        self._last_signed = 0
        self._gone = gone
        self._unpack = unpack
        self._lowest = 0
        self._density = 1.0
        """Entries per number."""
        self._connection: sqlite3.Connection | None = None

    def begin(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connection = connect()
        ((lowest, highest, entries),) = self._rows(_ENDS)
        if lowest is None:
            self.ended = True
            return
        self._lowest = lowest
        self._density = entries / (highest - lowest + 1)
        self.place = min(self.place, highest + 1)
        if self._signed is not None and next(self._rows(_HAS_SIGNED))[0]:
            self._last_signed = last_signed(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def go_on(self) -> None:
        """Search for about `_SLICE`."""
        until = time.monotonic() + _SLICE
        began = self.place
        while not (self.ended or self.search.is_full):
            self._window(until)
            if time.monotonic() >= until:
                break
        self.search.searched += round((began - self.place) * self._density)

    def _window(self, until: float) -> None:
        low = max(self._lowest, self.place - _WINDOW)
        if self.place <= self._last_signed + 1:
            rows = self._maybe(low)
        else:
            low = max(low, self._last_signed + 1)
            rows = self._rows(self._sql, self.place, low, *self._parameters)
        with closing(rows):
            for found in rows:
                self.place = found[0]
                if len(found) > _ONLY_SIGNED:
                    self._look_at(found)
                if self.search.is_full or time.monotonic() >= until:
                    break
            else:
                self.place = low
        self.ended = self.place <= self._lowest

    def _maybe(self, low: int) -> Rows:
        """Entries that `search` does not exclude, and now and then the number of one that it does."""
        assert self._signed is not None
        may_be_in = self._signed.may_be_in
        with closing(self._rows(self._signed.sql, self.place, low, *self._signed.parameters)) as rows:
            for count, (number, signature) in enumerate(rows):
                if may_be_in(signature):
                    yield from self._rows(self._one, number, *self._parameters)
                if not count % _OFTEN:
                    yield (number,)

    def by_key(self, prefix: str) -> None:
        for found in self._rows(_BY_KEY, prefix, prefix + "\U0010ffff"):
            self._look_at(found)
            if self.search.is_full:
                break

    def _look_at(self, found: tuple[Any, ...]) -> None:
        row = Row(*found[1:6])
        if row.namespace not in self._gone:
            self.search.look_at(row, partial(self._packed, found), self._unpack)

    def _packed(self, found: tuple[Any, ...]) -> Packed | None:
        answer, request = found[6:] or next(self._rows(_PACKED, found[0]), (None, None))
        return None if answer is None else (answer, request)

    def _rows(self, sql: str, *parameters: object) -> Rows:
        """Read as they are asked for. Nothing of the file is held afterwards."""
        assert self._connection is not None
        with closing(self._connection.execute(sql, parameters)) as rows:
            yield from rows


class _Signed:
    """What the table `search` is asked for a selection."""

    def __init__(self, run: str | None, text: WantedText | None, conditions: dict[str, object]) -> None:
        self.may_be_in: Callable[[bytes], bool] = text.may_be_in if text is not None else lambda signature: True
        where = list(conditions) if run is None else ["run IN (?, ?)", *conditions]
        joined = " CROSS JOIN entry ON entry.id = search.id" if conditions else ""  # in this order
        read = f"SELECT search.id, signature FROM search{joined} WHERE"  # noqa: S608
        self.sql = " AND ".join([f"{read} search.id < ?", "search.id >= ?", *where]) + " ORDER BY search.id DESC"
        self.parameters = (*(() if run is None else (sayable(run), UNKNOWN_RUN)), *conditions.values())

    @classmethod
    def of(cls, selection: Selection) -> _Signed | None:
        """None where it can exclude nothing."""
        text = None if selection.contains is None else WantedText(selection.contains)
        text = text if text is not None and text.excludes else None
        if text is None and selection.run is None:
            return None
        return cls(selection.run, text, _conditions(selection))


def _statements(selection: Selection) -> tuple[str, str, tuple[object, ...]]:
    """Two that read no more than what `selection` takes as far as SQLite can tell, and the parameters behind their
    numbers: what lies below one number and not below another, newest first, and what has a number. Bodies are in it
    where they are needed of each row."""
    conditions = _conditions(selection)
    told = selection.host is None and (selection.model is None or _glob(selection.model) is not None)
    bodies = ", answer, request" if told else ""
    read = f"SELECT {_ROW}{bodies} FROM entry WHERE"  # noqa: S608
    several = " AND ".join([f"{read} id < ?", "id >= ?", *conditions]) + " ORDER BY id DESC"
    return several, " AND ".join([f"{read} id = ?", *conditions]), tuple(conditions.values())


def _conditions(selection: Selection) -> dict[str, object]:
    """What can be said to SQLite, with what stands for the question mark."""
    host = _glob(selection.host and selection.host.lower())
    conditions = {
        "namespace = ?": selection.namespace,
        "created < ?": selection.before,
        "created >= ?": selection.after,
        "instr(key, ?) = 1": selection.key,
        "model GLOB ?": _glob(selection.model),
        "lower(url) GLOB ?": None if host is None else f"*{host}*",
    }
    given = {sql: sayable(value) if isinstance(value, str) else value for sql, value in conditions.items()}
    return {sql: value for sql, value in given.items() if value is not None}


def _glob(pattern: str | None) -> str | None:
    """What SQLite takes for `pattern`, or None where it means something else by it."""
    return pattern if pattern is not None and _PLAIN_GLOB.fullmatch(pattern) else None
