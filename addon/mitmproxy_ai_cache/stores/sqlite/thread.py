"""The thread of a SQLite store: whatever may wait for the disk or for a lock of another process happens here.

It opens the file, again where the file was deleted, replaced or damaged, writes what waits, and signs what was written
when nothing does. The connection for look-ups is used on the event loop; `reader_lock` is held there for one statement,
here only to take it away.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...entries.entry import KEEP_EXPIRED
from ..base import StoreError
from . import file
from .health import Health
from .search import Signer

logger = logging.getLogger("ai-cache")

_QUEUE = 1000
_BATCH = 500
_QUEUE_BYTES = 256 << 20
_EVICTED_AT_ONCE = 500
"""Entries one transaction removes at most for the budget. It takes some 50 ms where there are a million; other
processes wait for its end."""
_PAUSE = 0.02
"""Seconds between two transactions: what comes meanwhile is written in one. Each costs some 0.2 ms, in which this
thread takes turns with the one that answers. Look-ups see what waits."""
_REMOVE_EXPIRED = "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE expires < ? ORDER BY expires LIMIT ?)"
_OLDEST = """
    SELECT entry.id, size + ifnull(length(signature), 0) FROM entry LEFT JOIN search ON search.id = entry.id
    ORDER BY used, entry.id LIMIT ?
"""
_SIGN_FROM = 1.0
"""Seconds after the start from which entries are signed: a command that is done sooner has something else to do."""
_SIGN_AFTER = 1.0
"""Seconds without a look-up after which entries are signed: when one stream has ended, the next often begins."""
_SIGN_LOOK = 0.1
"""Seconds between two looks whether it is quiet."""
_SIGN_ALL_THE_SAME = 1.0
"""Seconds after which some are signed where there is always a look-up: a fiftieth of the time."""
_SIGN_LATER = 30.0
"""Seconds till it is tried again where it could not be; a tenth of one where the file was locked."""

_TROUBLE = (sqlite3.Error, OSError, StoreError, ValueError, OverflowError)


@dataclass(slots=True, eq=False)
class Write:
    """One thing to write: a statement with its parameters, and what look-ups see of it meanwhile."""

    sql: str
    parameters: tuple[Any, ...]
    key: str = ""
    packed: bytes | None = None
    """The packed answer of a put; None removes."""
    issued: str = ""
    namespace: str = ""
    purges: bool = False
    """Whether it removes all of `namespace`."""
    failed: str = ""
    """Why it was given up."""

    @property
    def size(self) -> int:
        return sum(len(value) for value in self.parameters if isinstance(value, bytes))


class StoreThread:
    """`max_size` in bytes, as stored. `lost` is told how many writes were given up. Where it `signs`, entries are."""

    def __init__(
        self,
        path: Path,
        max_size: int,
        writable: bool,
        failures: Counter[str],
        lost: Callable[[int], None],
        signs: Callable[[], bool] = lambda: True,
    ) -> None:
        self.path = path
        self.reader: sqlite3.Connection | None = None
        self.reader_lock = threading.Lock()
        self.opened: Future[None] = Future()
        self.pending: dict[str, Write] = {}
        self.purging: list[str] = []
        self.handed = self.settled = 0
        self._max_size = max_size
        self._writable = writable
        self._lost = lost
        self._health = Health(failures, f"{path} keeps answers again" if writable else f"{path} can be read again")
        self._connection: sqlite3.Connection | None = None
        self._files: file.Files | None = None
        self._damage: Exception | None = None
        self._over_budget = False
        self._pending_bytes = 0
        self._pending_lock = threading.Lock()
        self._queue: queue.Queue[Write | None] = queue.Queue(_QUEUE)
        self._nudged = threading.Event()
        self._closing = threading.Event()
        self._signs = signs
        self.looked_up = 0.0
        """When it was last read from, in monotonic time."""
        self._searches = 0
        self._signer = Signer(lambda: bool(self._searches or self._in_demand))
        self._sign_at: float | None = None
        """When the next entries are signed; None where all are."""
        self._signed_at = 0.0
        self._thread = threading.Thread(target=self._work, name="ai-cache store", daemon=True)

    # For the event loop

    @property
    def well(self) -> bool:
        return self._health.well

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """See to the file where `path` does not lead to it any more. Waits for nobody."""
        if self.reader is None or file.files_at(self.path) != self._files:
            self._nudge()

    @contextmanager
    def searched(self) -> Iterator[None]:
        """Nothing is signed meanwhile: both take all the time they get."""
        self._searches += 1
        try:
            yield
        finally:
            self._searches -= 1

    def damaged(self, error: Exception) -> None:
        """A look-up met damage. Called under `reader_lock`: the connection that met it is still in use."""
        self._damage = error
        self._nudge()

    def _nudge(self) -> None:
        if not self._nudged.is_set():
            self._nudged.set()
            with suppress(queue.Full):
                self._queue.put_nowait(None)  # a full queue keeps the thread awake anyway

    def hand_over(self, write: Write) -> bool:
        """Whether `write` will be tried. Look-ups of this process see it from now on."""
        if not self._writable or self._closing.is_set():
            self._lost(1)
            return False
        with self._pending_lock:
            try:
                if self._pending_bytes + write.size > _QUEUE_BYTES:
                    raise queue.Full
                self._queue.put_nowait(write)
            except queue.Full:
                self._lost(1)
                what = f"answers come faster than {self.path} takes them; some are not kept"
                self._health.failed("queue-full", what)
                return False
            self.handed += 1
            self._pending_bytes += write.size
            if write.purges:
                self.purging.append(write.namespace)
                for key in [key for key, other in self.pending.items() if other.namespace == write.namespace]:
                    self.pending[key] = write
            elif write.key:
                self.pending[write.key] = write
        return True

    def close(self, deadline: float) -> None:
        """Write what waits, for at most `deadline` seconds. Blocks."""
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes it; a full queue needs no waking
        self._thread.join(deadline)
        if self._thread.is_alive() and self.settled < self.handed:
            logger.warning("ai-cache: %d writes did not reach %s in time", self.handed - self.settled, self.path)

    # The thread

    def _work(self) -> None:
        try:
            self._see_to_file()
            self._sign_at = time.monotonic() + _SIGN_FROM
            self.opened.set_result(None)
        except _TROUBLE as error:
            self._failed_to(error, [], said=True)
            text = str(error) if isinstance(error, StoreError) else f"cannot open {self.path}: {error}"
            self.opened.set_exception(StoreError(text))
        while (batch := self._next_batch()) is not None:
            if batch or self._over_budget or self._nudged.is_set():
                self._try(batch)
            self._settle(batch)
            if batch:
                self._closing.wait(_PAUSE)
                self._sign_at = self._sign_at or time.monotonic()
            else:
                self._sign()
        if self._damage is not None:
            with suppress(*_TROUBLE):
                self._see_to_file()  # the next run starts afresh
        self._let_go()

    def _next_batch(self) -> list[Write] | None:
        """What waits, maybe nothing but a nudge; None once the store is closing and all is written."""
        batch: list[Write | None] = []
        with suppress(queue.Empty):
            batch = [self._queue.get(timeout=self._patience())]
            while len(batch) < _BATCH:
                batch.append(self._queue.get_nowait())
        writes = [write for write in batch if write is not None]
        return None if self._closing.is_set() and not writes else writes

    @property
    def _in_demand(self) -> bool:
        return self._closing.is_set() or not self._queue.empty()

    def _patience(self) -> float | None:
        """Seconds to wait for a write; None for ever."""
        if self._over_budget:
            return 0.0
        if self._closing.is_set():
            return 0.1
        return None if self._sign_at is None else max(0.0005, self._sign_at - time.monotonic())

    def _try(self, batch: list[Write]) -> None:
        """Write `batch` in one transaction: again while the file is locked, once more on a fresh one after damage."""
        afresh = False
        while True:
            self._nudged.clear()
            try:
                self._see_to_file()
                if batch or self._over_budget:
                    self._commit(batch)
                self._health.succeeded()
                return
            except _TROUBLE as error:
                kind = self._failed_to(error, batch)
                again = kind == "locked" or (kind == "damaged" and not afresh)
                afresh = afresh or kind == "damaged"
                if not (batch and again) or self._closing.wait(0.1):
                    self._lost(len(batch))
                    for write in batch:
                        write.failed = str(error)
                    return

    def _failed_to(self, error: Exception, batch: list[Write], said: bool = False) -> str:
        self._over_budget = False  # the next write sees to it again
        kind = file.kind_of(error)
        if kind == "damaged" and self._files is not None:
            self._damage = error
            said = True  # when it is set aside
        if isinstance(error, StoreError):
            what = f"{error}; calls go on as misses"
        elif batch and self._files is not None:
            what = f"cannot write to {self.path} ({error}); answers are not kept for now"
        else:
            what = f"cannot open {self.path} ({error}); calls go on as misses"
        self._health.failed(kind, what, said)
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        return kind

    def _settle(self, batch: list[Write]) -> None:
        with self._pending_lock:
            for write in batch:
                self._pending_bytes -= write.size
                if self.pending.get(write.key) is write:
                    del self.pending[write.key]
                if write.purges:
                    self.purging.remove(write.namespace)
                    for key in [key for key, other in self.pending.items() if other is write]:
                        del self.pending[key]
            self.settled += len(batch)

    # The file

    def _see_to_file(self) -> None:
        """Have connections to the file that `path` leads to. Raises what `_TROUBLE` lists."""
        files = file.files_at(self.path)
        if self._damage is None and self.reader is not None and files == self._files:
            if self._connection is None and self._writable:
                self._connection = file.use_wal(file.connect(self.path))
            return
        was, self._files = self._files, None
        damage = self._let_go()
        if damage is not None and self._writable:
            file.set_aside(self.path, f"it is damaged ({damage})", was)
        elif was is not None:
            file.part_from(self.path, was)
        reader = self._open()
        self._files = file.files_at(self.path)
        with self.reader_lock:
            self.reader = reader
        if was is not None and damage is None:
            became = "deleted and is begun anew" if files is None else "replaced; the file there now is used"
            logger.warning("ai-cache: %s was %s", self.path, became)

    def _open(self) -> sqlite3.Connection:
        """The connection for look-ups; that for writes comes first, and makes the file."""
        if not self._writable:
            return file.open_as_it_is(self.path)
        self._connection = file.open_or_set_aside(self.path)
        return file.open_for_look_ups(self.path)

    def _let_go(self) -> Exception | None:
        """Close both connections. The damage that was met, by a look-up too."""
        with self.reader_lock:
            if self.reader is not None:
                self.reader.close()
                self.reader = None
            damage, self._damage = self._damage, None
        if self._connection is not None:
            with suppress(sqlite3.Error):
                # The last connection to close writes the WAL into the file: not into a damaged one.
                self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, damage is not None)
                self._connection.close()
            self._connection = None
        return damage

    # Writing

    def _commit(self, batch: list[Write]) -> None:
        connection = self._connection
        assert connection is not None
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                if write.packed is not None:
                    connection.execute("DELETE FROM entry WHERE key = ?", (write.key,))
                connection.execute(write.sql, write.parameters)
            self._over_budget = self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> bool:
        """What need not be kept any more goes first, then the least recently used, down to nine tenths of the budget
        or `_EVICTED_AT_ONCE` entries. Whether there is still too much."""
        if _size(connection) <= self._max_size:
            return False
        gone = connection.execute(_REMOVE_EXPIRED, (time.time() - KEEP_EXPIRED, _EVICTED_AT_ONCE)).rowcount
        surplus = _size(connection) - self._max_size * 9 // 10
        doomed: list[tuple[int]] = []
        newest = connection.execute("SELECT id FROM entry ORDER BY used DESC, id DESC LIMIT 1").fetchone()
        for number, size in connection.execute(_OLDEST, (_EVICTED_AT_ONCE - gone,)):
            if surplus <= 0 or (number,) == newest:
                break
            doomed.append((number,))
            surplus -= size
        connection.executemany("DELETE FROM entry WHERE id = ?", doomed)
        return bool(gone or doomed) and _size(connection) > self._max_size

    def _sign(self) -> None:
        """The next entries, where it is time. What goes wrong is nobody's loss, and tried again later."""
        now = time.monotonic()
        if self._sign_at is None or now < self._sign_at or self._over_budget or self._closing.is_set():
            return
        is_busy = now < self.looked_up + _SIGN_AFTER and now < self._signed_at + _SIGN_ALL_THE_SAME
        if self._searches or is_busy:
            self._sign_at = now + _SIGN_LOOK
            return
        self._sign_at, self._signed_at = None, now
        if self._connection is None or not self._signs():
            return  # till something is written
        try:
            pause = self._signer.step(self._connection)
            self._sign_at = None if pause is None else time.monotonic() + pause
        except _TROUBLE as error:
            self._sign_at = now + (0.1 if file.kind_of(error) == "locked" else _SIGN_LATER)
            if file.is_damage(error):
                self._failed_to(error, [])
                self._nudge()


def _size(connection: sqlite3.Connection) -> int:
    size: int = connection.execute("SELECT size FROM total").fetchone()[0]
    return size
