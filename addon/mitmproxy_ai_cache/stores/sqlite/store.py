"""The default store: one SQLite file in the user's cache directory.

Look-ups read on the event loop: with WAL a reader never waits for a writer, and a read of some kB from the page cache
takes less than handing it to a thread. Whatever may wait is left to a thread, `thread`. Several proxies may
share the file; it may be deleted or replaced under them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...entries.entry import KEEP_EXPIRED, BrokenEntry, Entry
from ...entries.selection import Selection
from ..base import Store, StoreError, StoreUnavailable
from ..filtering import Packed
from ..pages import Page
from . import file
from .health import Health
from .sqlite_pages import SqliteBrowser
from .thread import StoreThread, Write

_INSERT = """
    INSERT INTO entry (key, created, used, expires, size, protocol, model, url, namespace, issued, answer, request)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_TOUCH_AFTER = 600.0
"""Seconds: an entry's last use is written down at most this often. It costs a tenth of a hit."""
_LOOK_EVERY = 1.0
"""Seconds between two looks whether the path still leads to the open file."""
_CHUNK = 500
"""Entries whose numbers are read at once when all are walked."""
_SETTLE = 0.2
"""Seconds that a page waits for what is being written."""


class SqliteStore(Store):
    """`max_size` in bytes, as stored. Kinds of failure: those of `file.kind_of`, `queue-full`, `too-large`,
    `broken-entry`. Keys are apart by namespace as it is, so it counts for `purge` alone."""

    waits = False

    def __init__(self, url: str, max_size: int, writable: bool = True) -> None:
        self.url = url
        self.path = Path(os.path.expanduser(url.removeprefix("sqlite:///")))
        self._max_size = max_size
        self._writable = writable
        self._thread = StoreThread(self.path, max_size, writable, self.failures, self._lost, lambda: self.vault is None)
        self._browser = SqliteBrowser(self.path, writable, self._unpacked)
        self._reading = Health(self.failures, f"{self.path} can be read again")
        self._look_again = 0.0
        self._touched: dict[str, float] = {}
        self._dropping = threading.Lock()

    async def open(self) -> None:
        """Also where this raises, the store works as soon as the file does."""
        self._thread.start()
        await asyncio.wrap_future(self._thread.opened)
        self._look_again = time.monotonic() + _LOOK_EVERY

    @property
    def works(self) -> bool:
        return self._thread.well and self._reading.well

    @property
    def size(self) -> int | None:
        with suppress(StoreUnavailable):
            return int(self._rows("SELECT size FROM total")[0][0])
        return None

    @property
    def queued(self) -> int:
        return max(0, self._thread.handed - self._thread.settled)

    # Reading

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        waiting = self._thread.pending.get(key)
        if waiting is not None:
            return waiting.packed
        rows = self._rows("SELECT answer, used, namespace FROM entry WHERE key = ?", key)
        if not rows or rows[0][2] in self._thread.purging:
            return None
        answer, used, _ = rows[0]
        self._touch(key, used)
        return answer if isinstance(answer, bytes) else b""  # damaged: no entry either

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows, read without waiting for anybody. Raises `StoreUnavailable`, which is said once."""
        self._thread.looked_up = now = time.monotonic()
        if now >= self._look_again:
            self._look_again = now + _LOOK_EVERY
            self._thread.look()
        with self._thread.reader_lock:
            reader = self._thread.reader
            if reader is None:
                raise StoreUnavailable(f"{self.path} is not open")
            try:
                rows = reader.execute(sql, parameters).fetchall()
            except (sqlite3.Error, ValueError) as error:
                if file.is_damage(error):
                    self._thread.damaged(error)
                said = self._writable and file.is_damage(error)  # when the file is set aside
                what = f"cannot read {self.path} ({error}); calls go on as misses"
                self._reading.failed(file.kind_of(error), what, said)
                raise StoreUnavailable(f"cannot read {self.path}: {error}") from error
        self._reading.succeeded()
        return rows

    async def entries(self) -> AsyncIterator[Entry]:
        """All entries, those that were put first come first."""
        await self.flushed()
        last, newest = 0, self._rows("SELECT max(id) FROM entry")[0][0]  # what comes meanwhile is not walked
        sql = "SELECT id FROM entry WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
        while chunk := self._rows(sql, last, newest, _CHUNK):
            for (last,) in chunk:
                await asyncio.sleep(0)
                entry = self._whole(last)
                if entry is not None:
                    yield entry

    def _whole(self, number: int) -> Entry | None:
        """The entry of a row with its request; None where it is gone or broken."""
        with suppress(StoreUnavailable):
            for key, answer, request, namespace in self._rows(
                "SELECT key, answer, request, namespace FROM entry WHERE id = ?", number
            ):
                if namespace in self._thread.purging:
                    return None
                try:
                    return self._unpacked(key, answer, request)
                except (BrokenEntry, TypeError):
                    self.failures["broken-entry"] += 1
        return None

    async def browse(self, selection: Selection, after: str = "", limit: int = 50, deadline: float = 0.8) -> Page:
        """The entry that was put last comes first."""
        await self.flushed(_SETTLE)
        with self._thread.searched():
            return await self._browser.page(selection, self.vault, after, limit, deadline, set(self._thread.purging))

    async def find(self, prefix: str, limit: int = 20) -> list[Entry]:
        await self.flushed(_SETTLE)
        return await self._browser.find(prefix, limit, set(self._thread.purging))

    async def count(self) -> int:
        with suppress(StoreUnavailable):
            return int(self._rows("SELECT entries FROM total")[0][0])
        return 0

    def _touch(self, key: str, used: Any) -> None:
        now = time.time()
        before = used if isinstance(used, float) else 0.0
        if self._writable and now - max(before, self._touched.get(key, 0)) > _TOUCH_AFTER:
            if len(self._touched) > 10_000:
                self._touched.clear()
            self._touched[key] = now
            self._thread.hand_over(Write("UPDATE entry SET used = ? WHERE key = ?", (now, key)))

    # Writing

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        try:
            answer, request = packed or self.pack(entry)
        except (TypeError, ValueError):  # text that is no text: a lone surrogate
            self.failures["broken-entry"] += 1
            self._lost(1)
            return False
        size = len(answer) + len(request)
        if size > self._max_size:
            self.failures["too-large"] += 1
            self._lost(1)
            self.remove(entry.key)
            return False
        expires = entry.kept_until() - KEEP_EXPIRED if entry.ttl else None
        issued = entry.issued or None
        row = (entry.key, entry.created, time.time(), expires, size, entry.protocol, entry.model, entry.url)
        return self._thread.hand_over(
            Write(
                _INSERT,
                (*row, entry.namespace, issued, answer, request),
                entry.key,
                answer,
                entry.issued,
                entry.namespace,
            )
        )

    def _keep_until(self, entry: Entry, until: float) -> None:
        if self._writable:
            sql = "UPDATE entry SET expires = ? WHERE key = ? AND created = ?"  # not one that replaced it meanwhile
            self._thread.hand_over(Write(sql, (until - KEEP_EXPIRED, entry.key, entry.created)))

    def remove(self, key: str, namespace: str = "") -> None:
        self._thread.hand_over(Write("DELETE FROM entry WHERE key = ?", (key,), key))

    def remove_issuer(self, issued: str) -> None:
        keys = [key for key, write in self._thread.pending.copy().items() if write.issued == issued]
        with suppress(StoreUnavailable):
            keys += [row[0] for row in self._rows("SELECT key FROM entry WHERE issued = ?", issued)]
        for key in keys:
            self.remove(key)

    async def purge(self, namespace: str) -> None:
        write = Write("DELETE FROM entry WHERE namespace = ?", (namespace,), namespace=namespace, purges=True)
        if not self._thread.hand_over(write):
            raise StoreError(f"{self.path} takes no writes now; namespace {namespace!r} is still there")
        await self.flushed()
        if write.failed:
            raise StoreError(f"cannot write to {self.path} ({write.failed}); namespace {namespace!r} is still there")

    def _lost(self, number: int) -> None:
        with self._dropping:
            self.dropped += number

    async def flushed(self, deadline: float = 5.0) -> None:
        handed = self._thread.handed
        until = time.monotonic() + deadline
        while self._thread.settled < handed and time.monotonic() < until:  # noqa: ASYNC110 a thread counts them
            await asyncio.sleep(0.005)

    async def close(self, deadline: float = 5.0) -> None:
        self._browser.close()
        await asyncio.to_thread(self._thread.close, deadline)
