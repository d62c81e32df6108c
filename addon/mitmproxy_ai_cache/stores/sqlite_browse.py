"""Pages of a SQLite store: the last entry that was put comes first.

The search reads on a connection and a thread of its own, some milliseconds at a time, so that hits go on meanwhile.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

from ..entry import Entry
from ..selection import Selection
from ..vault import Vault
from . import sqlite_file
from .base import StoreError, StoreUnavailable
from .browsing import Page, meant, number_of, rank_of
from .sieve import Packed, Row, Search, Sieve, Unpack, sayable

_SLICE = 0.01
"""Seconds of search before others get their turn."""
_BEYOND = (1 << 63) - 1
"""A number that no entry has."""

_WINDOW = 20_000
"""Numbers that one statement spans: SQLite says nothing until it meets an entry that its conditions take."""

_ROW = "id, key, created, model, url, namespace"
_BY_KEY = f"SELECT {_ROW}, answer, request FROM entry WHERE key >= ? AND key < ? ORDER BY key"  # noqa: S608
_PACKED = "SELECT answer, request FROM entry WHERE id = ?"
_ENDS = "SELECT min(id), max(id), (SELECT entries FROM total) FROM entry"
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
        search = Search(Sieve(meant(selection), vault), limit)
        scan = _Scan(selection, search, number_of(after) if after else _BEYOND, gone, self._unpack)
        until = time.monotonic() + deadline
        async with self._connected(scan):
            await self._in_thread(scan.go_on)
            while not (scan.ended or search.is_full or time.monotonic() >= until):
                await self._in_thread(scan.go_on)
        return search.page(str(scan.place), scan.ended)

    async def find(self, prefix: str, limit: int, gone: Collection[str]) -> list[Entry]:
        """Raises `StoreError`."""
        selection = Selection(key=prefix)
        search = Search(Sieve(selection, None), limit)
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
            return sqlite_file.open_as_it_is(self._path)
        if not self._path.exists():
            raise StoreUnavailable(f"{self._path} is not there")
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, timeout=0.5, isolation_level=None, check_same_thread=False, uri=True)
        # The last connection to close writes the WAL into the file, which is for others to do.
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        return connection


class _Scan:
    """A search through the file, from the highest number to the lowest. Its methods are for the thread."""

    def __init__(self, selection: Selection, search: Search, place: int, gone: Collection[str], unpack: Unpack) -> None:
        self.search = search
        self.place = place
        """Entries with lower numbers are still to be searched."""
        self.ended = False
        self._sql, self._parameters = _statement(selection)
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
        for found in self._rows(self._sql, self.place, low, *self._parameters):
            self.place = found[0]
            self._look_at(found)
            if self.search.is_full or time.monotonic() >= until:
                break
        else:
            self.place = low
        self.ended = self.place <= self._lowest

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

    def _rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Read as they are asked for. Nothing of the file is held afterwards."""
        assert self._connection is not None
        with closing(self._connection.execute(sql, parameters)) as rows:
            yield from rows


def _statement(selection: Selection) -> tuple[str, tuple[object, ...]]:
    """Reads what lies below one number and not below another, newest first, and no more of it than `selection` takes
    as far as SQLite can tell. Bodies are in it where they are needed of each row."""
    model, host = _glob(selection.model), _glob(selection.host and selection.host.lower())
    conditions = {
        "namespace = ?": selection.namespace,
        "created < ?": selection.before,
        "created >= ?": selection.after,
        "instr(key, ?) = 1": selection.key,
        "model GLOB ?": model,
        "lower(url) GLOB ?": None if host is None else f"*{host}*",
    }
    given = {sql: sayable(value) if isinstance(value, str) else value for sql, value in conditions.items()}
    given = {sql: value for sql, value in given.items() if value is not None}
    told = (model is None) == (selection.model is None) and selection.host is None
    bodies = ", answer, request" if told else ""
    where = " AND ".join(["id < ?", "id >= ?", *given])
    return f"SELECT {_ROW}{bodies} FROM entry WHERE {where} ORDER BY id DESC", tuple(given.values())  # noqa: S608


def _glob(pattern: str | None) -> str | None:
    """What SQLite takes for `pattern`, or None where it means something else by it."""
    return pattern if pattern is not None and _PLAIN_GLOB.fullmatch(pattern) else None
