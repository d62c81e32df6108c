"""What a SQLite store finds out about its entries after they were written, so that a search need not read them all.

The table `search` has a row for each entry up to some number, and none for those above it, which are read as they
are searched. Entries are signed in the order of their numbers, a few at a time, and nobody waits for it. Nothing is
signed where entries are encrypted: a signature tells of the text.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from ...entries.entry import BrokenEntry, peek_answer, peek_head, peek_request
from ...entries.signature import UNKNOWN, signature
from ...entries.vault import is_sealed
from .file import BUSY

UNKNOWN_RUN = "?"
"""Of what cannot be read."""

_STEP = 0.02
"""Seconds after which what was signed is written."""
_BREATH = 0.0004
"""Seconds of work between two pauses, in which the event loop gets its turn: Python lets threads work for 5 ms
otherwise, and a call would wait so long."""
_PAUSE = 0.0001
_BETWEEN, _AFTER_OTHERS = 0.0005, 0.5
"""Seconds between two steps: where all went well, and where another process did the same at the same time."""
_LAST = "SELECT max(id) FROM search"
_NEXT = "SELECT id, key, created, url, answer, request FROM entry WHERE id > ? ORDER BY id"
_SIGN = "INSERT INTO search (id, run, signature) SELECT id, ?, ? FROM entry WHERE id = ? AND key = ? AND created = ?"

_BROKEN = (BrokenEntry, TypeError, ValueError, LookupError, AttributeError)


def last_signed(connection: sqlite3.Connection) -> int:
    """The number of the last entry that is; 0 where none is. Raises `sqlite3.Error`."""
    number: int | None = connection.execute(_LAST).fetchone()[0]
    return number or 0


class Signer:
    """`stops` says that somebody waits for the end of a step."""

    def __init__(self, stops: Callable[[], bool]) -> None:
        self._stops = stops
        self._pause_at = 0.0

    def step(self, connection: sqlite3.Connection) -> float | None:
        """Sign some entries. Seconds till the next step; None where all are signed. Raises `sqlite3.Error`."""
        last = last_signed(connection)
        until = time.monotonic() + _STEP
        self._pause_at = 0.0
        signed: list[tuple[Any, ...]] = []
        ended = False
        with closing(connection.execute(_NEXT, (last,))) as unsigned:
            while not (ended or self._stops() or time.monotonic() >= until):
                row = unsigned.fetchone()
                if row is None:
                    ended = True
                else:
                    number, key, created, *content = row
                    signed.append((*self._sign(*content), number, key, created))
        if self._write(connection, signed, last) < len(signed):
            return _AFTER_OTHERS
        return None if ended else _BETWEEN

    def _sign(self, url: Any, answer: Any, request: Any) -> tuple[str, bytes]:
        """Run and signature."""
        try:
            if is_sealed(answer):
                return UNKNOWN_RUN, UNKNOWN
            bodies = (peek_request(request), peek_answer(answer))
            run = peek_head(answer).get("run", "")
            return run if isinstance(run, str) else UNKNOWN_RUN, signature(url, bodies, self._breathe)
        except _BROKEN:
            return UNKNOWN_RUN, UNKNOWN

    def _breathe(self) -> None:
        if time.monotonic() >= self._pause_at:
            if self._pause_at:
                time.sleep(_PAUSE)
            self._pause_at = time.monotonic() + _BREATH

    def _write(self, connection: sqlite3.Connection, signed: list[tuple[Any, ...]], last: int) -> int:
        """How many were written. Without waiting for anybody, and nothing where another process has signed meanwhile.

        A number may be that of another entry by now, where the last ones were removed: what follows is not written
        either, for none may be left out.
        """
        written = 0
        if not signed:
            return written
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                if last_signed(connection) == last:
                    for row in signed:
                        if connection.execute(_SIGN, row).rowcount != 1:
                            break
                        written += 1
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY * 1000:.0f}")
        return written
