"""The default store: one SQLite file in the user's cache directory.

Look-ups read on the event loop: with WAL a reader never waits for a writer, and a read of some kB from the page cache
takes less than handing it to a thread. Writes go through a bounded queue to a thread with a connection of its own.
Several proxies may share the file.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..entry import Entry
from . import sqlite_file
from .base import Store, StoreError

logger = logging.getLogger("ai-cache")

_INSERT = """
    INSERT INTO entry (key, created, used, expires, size, protocol, model, url, namespace, issued, answer, request)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_QUEUE = 1000
_BATCH = 500
_QUEUE_BYTES = 256 << 20
_TOUCH_AFTER = 60.0
"""Seconds: an entry's last use is written down at most this often."""
_KEEP_EXPIRED = 86400.0
"""Seconds an expired entry is kept before it goes ahead of all others."""


@dataclass(slots=True)
class _Write:
    """One thing for the writer to do: a statement with its parameters; for a put also what is to be seen meanwhile."""

    sql: str
    parameters: tuple[Any, ...]
    key: str = ""
    packed: bytes | None = None
    issued: str = ""

    @property
    def size(self) -> int:
        return sum(len(value) for value in self.parameters if isinstance(value, bytes))


class SqliteStore(Store):
    """`max_size` in bytes, as stored."""

    def __init__(self, url: str, max_size: int, writable: bool = True) -> None:
        self.url = url
        self._writable = writable
        self.path = Path(url.removeprefix("sqlite:///")).expanduser()
        self._max_size = max_size
        self._reader: sqlite3.Connection | None = None
        self._pending: dict[str, _Write] = {}
        self._pending_bytes = 0
        self._pending_lock = threading.Lock()
        self._generation = 0
        self._damaged: sqlite3.Error | None = None
        self._closing = threading.Event()
        self._touched: dict[str, float] = {}
        self._queue: queue.Queue[_Write | None] = queue.Queue(_QUEUE)
        self._writer: threading.Thread | None = None
        self._complained = False

    async def open(self) -> None:
        try:
            if not self._writable:
                self._reader = sqlite_file.open_as_it_is(self.path)
                return
            self._reader = sqlite_file.open_or_set_aside(self.path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open {self.path}: {error}") from error
        self._writer = threading.Thread(target=self._write_all, name="ai-cache store", daemon=True)
        self._writer.start()

    # Reading

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        if (damage := self._damaged) is not None:
            self._damaged = None
            self._recover(damage)  # the writer met it
        waiting = self._pending.get(key)
        if waiting is not None:
            return waiting.packed
        if self._reader is None:
            raise StoreError(f"{self.path} is not open")
        try:
            row = self._reader.execute("SELECT answer, used FROM entry WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._recover(error)
            raise StoreError(f"cannot read {self.path}: {error}") from error
        if row is None:
            return None
        answer, used = row
        self._touch(key, used)
        return bytes(answer)

    async def count(self) -> int:
        if self._reader is None:
            return 0
        with suppress(sqlite3.Error):
            (count,) = self._reader.execute("SELECT entries FROM total").fetchone()
            return int(count)
        return 0

    def _touch(self, key: str, used: float) -> None:
        now = time.time()
        if now - max(used, self._touched.get(key, 0)) > _TOUCH_AFTER:
            if len(self._touched) > 10_000:
                self._touched.clear()
            self._touched[key] = now
            self._hand_over(_Write("UPDATE entry SET used = ? WHERE key = ?", (now, key)))

    # Writing

    def put(self, entry: Entry) -> bool:
        answer, request = entry.pack_answer(), entry.pack_request()
        expires = entry.expires if entry.ttl else None
        row = (
            entry.key,
            entry.created,
            time.time(),
            expires,
            len(answer) + len(request),
            entry.protocol,
            entry.model,
            entry.url,
            entry.namespace,
            entry.issued or None,
            answer,
            request,
        )
        if len(answer) + len(request) > self._max_size:
            self.dropped += 1
            self.remove(entry.key)
            return False
        return self._hand_over(_Write(_INSERT, row, entry.key, answer, entry.issued))

    def remove(self, key: str, namespace: str = "") -> None:
        self._hand_over(_Write("DELETE FROM entry WHERE key = ?", (key,), key))

    def remove_issuer(self, issued: str) -> None:
        keys = [key for key, write in self._pending.copy().items() if write.issued == issued]
        if self._reader is not None:
            with suppress(sqlite3.Error, ValueError):
                keys += [row[0] for row in self._reader.execute("SELECT key FROM entry WHERE issued = ?", (issued,))]
        for key in keys:
            self.remove(key)

    def _hand_over(self, write: _Write) -> bool:
        if self._writer is None:
            self.dropped += 1
            return False
        with self._pending_lock:
            if self._pending_bytes + write.size > _QUEUE_BYTES:
                self.dropped += 1
                return False
            try:
                self._queue.put_nowait(write)
            except queue.Full:
                self.dropped += 1
                return False
            self._pending_bytes += write.size
            if write.key:
                self._pending[write.key] = write
        return True

    def _written(self, batch: list[_Write]) -> None:
        with self._pending_lock:
            for write in batch:
                self._pending_bytes -= write.size
                if self._pending.get(write.key) is write:
                    del self._pending[write.key]

    def _write_all(self) -> None:
        """The writer thread: everything that waits goes into one transaction."""
        connection: sqlite3.Connection | None = None
        generation = 0
        while batch := self._next_batch():
            if connection is not None and generation != self._generation:
                connection.close()  # the file was set aside
                connection = None
            try:
                generation = self._generation
                connection = connection or sqlite_file.use_wal(sqlite_file.connect(self.path))
                self._commit(connection, batch)
                self._complained = False
            except (sqlite3.Error, ValueError, OverflowError) as error:
                self._give_up(batch, error)
                if connection is not None:
                    connection.close()
                connection = None
            self._written(batch)
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _next_batch(self) -> list[_Write]:
        """What waits, at least one write; nothing once the store is closing and all is written."""
        while True:
            batch: list[_Write | None] = []
            with suppress(queue.Empty):
                batch = [self._queue.get(timeout=0.1 if self._closing.is_set() else None)]
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            if writes := [write for write in batch if write is not None]:
                return writes
            if self._closing.is_set():
                return []

    def _commit(self, connection: sqlite3.Connection, batch: list[_Write]) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                if write.packed is not None:
                    connection.execute("DELETE FROM entry WHERE key = ?", (write.key,))
                connection.execute(write.sql, write.parameters)
            self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Long expired entries first, then the least recently used, down to nine tenths of the budget."""
        size = connection.execute("SELECT size FROM total").fetchone()[0]
        if size <= self._max_size:
            return
        connection.execute("DELETE FROM entry WHERE expires < ?", (time.time() - _KEEP_EXPIRED,))
        surplus = connection.execute("SELECT size FROM total").fetchone()[0] - self._max_size * 9 // 10
        doomed: list[tuple[int]] = []
        newest = connection.execute("SELECT id FROM entry ORDER BY used DESC, id DESC LIMIT 1").fetchone()
        for number, size in connection.execute("SELECT id, size FROM entry ORDER BY used, id"):
            if surplus <= 0 or (number,) == newest:
                break
            doomed.append((number,))
            surplus -= size
        connection.executemany("DELETE FROM entry WHERE id = ?", doomed)

    def _give_up(self, batch: list[_Write], error: Exception) -> None:
        self.dropped += len(batch)
        if isinstance(error, sqlite3.Error) and sqlite_file.is_damage(error):
            self._damaged = error
        if not self._complained:
            self._complained = True
            logger.warning("ai-cache: cannot write to %s (%s); answers are not kept for now", self.path, error)

    async def close(self, deadline: float = 5.0) -> None:
        if self._writer is not None:
            self._closing.set()
            with suppress(queue.Full):
                self._queue.put_nowait(None)  # wakes a writer that waits; a full queue needs no waking
            await asyncio.to_thread(self._writer.join, deadline)
            if self._writer.is_alive():
                logger.warning("ai-cache: %d writes did not reach %s in time", self._queue.qsize(), self.path)
            self._writer = None
        if self._damaged is not None:
            self._recover(self._damaged)  # the next run starts afresh
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _recover(self, error: sqlite3.Error) -> None:
        """A file that turns out damaged while it is in use is set aside, and a new one begun."""
        if not (self._writable and sqlite_file.is_damage(error)):
            return
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        sqlite_file.set_aside(self.path, f"it is damaged ({error})")
        self._generation += 1
        with suppress(OSError, sqlite3.Error):
            self._reader = sqlite_file.open_or_set_aside(self.path)
