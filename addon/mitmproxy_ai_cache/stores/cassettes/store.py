"""`cassettes:DIR`: recordings as files in git, one an exchange, made to be reviewed in a pull request.

Look-ups read on the event loop what is small; everything that changes files or tables happens in one thread, in order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ...cassettes.file import BrokenCassette, NotWritable
from ...cassettes.leaks import Compose, HoldsSecret, unwritten
from ...entries.entry import Entry
from ...entries.selection import Selection
from ...redact import Pattern
from ...wire.bounded import BoundedMap
from ..base import Store, StoreError
from ..capabilities import Settled, StoredFile
from ..filtering import Packed
from ..pages import Page
from . import cassette_pages
from .cassette_index import CassetteIndex

logger = logging.getLogger("ai-cache")

_IN_THREAD_FROM = 256 * 1024
"""Bytes. Reading a longer file takes milliseconds and leaves the event loop."""
_NEAR = 64 << 20
"""Bytes of answers that are kept in memory."""
_WAITING = 256 << 20
"""Bytes of answers that may wait to be written."""
_LOOK_AGAIN = 1.0
"""Seconds. A miss looks for new files at most so often."""


class CassetteStore(Store):
    """`key_of` gives the base key of a recorded request; `rules` changes whenever its keys may.

    One that is not writable changes nothing below `directory`. `patterns` find what else is secret.
    """

    packs = False
    checks_recordings = True

    def __init__(
        self,
        url: str,
        directory: Path,
        key_of: Callable[[Entry], str],
        rules: str,
        writable: bool = True,
        patterns: tuple[Pattern, ...] = (),
    ) -> None:
        self.url = url
        self._directory = directory
        self._writable = writable
        self._index = CassetteIndex(directory, key_of, rules, writable)
        self._worker: ThreadPoolExecutor | None = None
        self._pending: dict[str, Entry] = {}
        self._pending_bytes = 0
        self._near: BoundedMap[str, tuple[tuple[int, int], Entry]] = BoundedMap(
            max_size=_NEAR, size_of=lambda found: len(found[1].body)
        )
        """What was read last, by path, with what the file was like then."""
        self._looked = 0.0
        self._unsettled = False
        self._complained = False
        self._patterns = patterns
        self.as_files = self

    def compose_with(self, compose: Compose) -> None:
        """`compose` is asked in the thread of the store."""
        self._index.compose = compose

    async def open(self) -> None:
        try:
            if self._writable:
                self._directory.mkdir(parents=True, exist_ok=True)
            elif not self._directory.is_dir():
                raise StoreError(f"there is no directory {self._directory}; record first with ai_cache_mode=record")
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="ai-cache cassettes")
            await self._in_thread(self._index.load)
        except OSError as error:
            raise StoreError(f"cannot read {self._directory}: {error.strerror or error}") from error
        self._looked = time.monotonic()

    # Reading

    async def get(self, key: str, namespace: str = "") -> Entry | None:
        """The entry of `key`, without its request."""
        if waiting := self._pending.get(key):
            return waiting
        for attempt in range(3):
            paths = self._index.paths.get(key)
            if not paths and (attempt or not await self._look_again()):
                return None
            paths = paths or self._index.paths.get(key, ())
            for path in paths[:1]:
                if (entry := await self._entry(path)) is not None:
                    if path not in self._index.used:
                        self._submit(self._index.use, path)
                    return entry
        return None

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        entry = await self.get(key, namespace)
        return entry.pack_answer() if entry else None

    async def _entry(self, path: str) -> Entry | None:
        """What the file says now. None, and the tables are mended, where it has changed or cannot be read."""
        try:
            stat = self._index.directory.stat(path)
            near = self._near.get(path)
            if near is not None and near[0] == stat:
                self._near.touch(path)
                return near[1]
            read = partial(self._index.entry, path, request=False)
            entry = read() if stat[0] < _IN_THREAD_FROM else await asyncio.to_thread(read)
        except BrokenCassette as error:
            self.failures["broken-entry"] += 1
            await self._in_thread(self._index.broken, path, error)
            return None
        except OSError:
            entry = None
        if entry is None:
            await self._in_thread(self._index.reread, path)
            return None
        self._near.put(path, (stat, entry))
        return entry

    async def _look_again(self) -> bool:
        """Whether there was time to look for new files; another process may have recorded what is missed."""
        if time.monotonic() - self._looked < _LOOK_AGAIN:
            return False
        self._looked = time.monotonic()
        try:
            await self._in_thread(self._index.rescan)
        except OSError as error:
            raise StoreError(f"cannot read {self._directory}: {error.strerror or error}") from error
        return True

    async def count(self) -> int:
        return len(self._index.paths)

    async def entries(self) -> AsyncIterator[Entry]:
        await self.flushed()
        for path in list(self._index.rows):
            if (entry := await self._whole(path)) is not None:
                yield entry

    async def browse(self, selection: Selection, after: str = "", limit: int = 50, deadline: float = 0.8) -> Page:
        await self.flushed(deadline)
        first = [paths[0] for paths in self._index.paths.copy().values() if paths]
        rows = [(path, row) for path in first if (row := self._index.rows.get(path)) is not None]
        return await cassette_pages.page(rows, self._whole, selection, after, limit, deadline)

    async def _whole(self, path: str) -> Entry | None:
        with suppress(OSError, BrokenCassette):
            return await asyncio.to_thread(self._index.entry, path, request=True)
        return None

    # What the run used

    @property
    def used(self) -> frozenset[str]:
        """The files this run was answered from or wrote, as they are named now."""
        return frozenset(self._index.used)

    def unused(self) -> list[str]:
        """The files this run did not ask for."""
        return sorted(self._index.rows.copy().keys() - self._index.used)

    def files(self) -> list[StoredFile]:
        """All files, in order."""
        return [
            StoredFile(path, row.key, row.namespace, row.created, path in self._index.used)
            for path, row in sorted(self._index.rows.copy().items())
        ]

    @property
    def problems(self) -> dict[str, str]:
        """Why files are left out, by path."""
        return dict(self._index.problems)

    # Writing

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        return self.put_recording(entry)

    def put_recording(self, entry: Entry, credentials: tuple[Pattern, ...] = ()) -> bool:
        size = len(entry.body) + len(entry.request)
        if not self._writable or self._worker is None or self._pending_bytes + size > _WAITING:
            self.dropped += 1
            self.failures["queue-full"] += 1
            return False
        self._pending[entry.key] = entry
        self._pending_bytes += size
        self._unsettled = True
        self._submit(self._write, entry, size, credentials)
        return True

    def _write(self, entry: Entry, size: int, credentials: tuple[Pattern, ...]) -> None:
        try:
            self._index.put(entry, (*self._patterns, *credentials))
            self._complained = False
        except HoldsSecret as error:
            self.dropped += 1
            self.failures["secret"] += 1
            self.unwritten.append(unwritten(entry, error))
            logger.warning("ai-cache: not recorded: %s", self.unwritten[-1])
        except NotWritable as error:
            self.dropped += 1
            self.failures["too-large"] += 1
            logger.warning("ai-cache: an answer is not recorded: %s", error)
        except OSError as error:
            self.dropped += 1
            self.failures["disk"] += 1
            if not self._complained:
                self._complained = True
                logger.warning("ai-cache: cannot write to %s (%s); answers are not kept", self._directory, error)
        finally:
            self._pending_bytes -= size
            if self._pending.get(entry.key) is entry:
                del self._pending[entry.key]

    def remove(self, key: str, namespace: str = "") -> None:
        if self._writable:
            self._pending.pop(key, None)
            self._submit(self._remove_paths, self._index.paths.pop(key, ()), key)

    def remove_issuer(self, issued: str) -> None:
        rows = self._index.rows.copy()
        waiting = [entry.key for entry in self._pending.copy().values() if entry.issued == issued]
        for key in {*waiting, *(row.key for row in rows.values() if row.issued == issued)} if issued else ():
            self.remove(key)

    async def purge(self, namespace: str) -> None:
        keys = [entry.key for entry in self._pending.copy().values() if entry.namespace == namespace]
        for key in {*keys, *(row.key for row in self._index.rows.copy().values() if row.namespace == namespace)}:
            self.remove(key)
        await self.flushed()

    async def delete(self, paths: Iterable[str]) -> None:
        """Remove these files, and the parts that only they named: for `prune`."""
        if self._writable:
            await self._in_thread(self._remove_paths, tuple(paths), "")
            await self._in_thread(self._index.clear_parts)

    def _remove_paths(self, paths: tuple[str, ...], key: str) -> None:
        try:
            self._index.remove({*paths, *self._index.paths.get(key, ())})
        except OSError as error:
            self.failures["disk"] += 1
            logger.warning("ai-cache: cannot remove from %s (%s)", self._directory, error)

    async def settle(self, namespace: str | None = None, drop: bool = False) -> Settled:
        if not self._writable or self._worker is None:
            return Settled()
        try:
            settled: Settled = await self._in_thread(self._index.settle, namespace, drop)
        except OSError as error:
            self.failures["disk"] += 1
            logger.warning("ai-cache: the recordings in %s keep their new names (%s)", self._directory, error)
            return Settled()
        self._unsettled = self._unsettled and namespace is not None
        return settled

    async def flushed(self, deadline: float = 5.0) -> None:
        if self._worker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._in_thread(int), deadline)

    async def close(self, deadline: float = 5.0) -> None:
        if self._worker is None:
            return
        if self._writable:
            await self.flushed(deadline)
            if self._unsettled:
                await self.settle()
            await self._in_thread(self._index.directory.end_notes)
            await self._in_thread(self._index.write_index)
        worker, self._worker = self._worker, None
        worker.shutdown(wait=False)

    # The thread

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any] | None:
        return self._worker.submit(work, *arguments) if self._worker is not None else None

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self._worker is None:
            raise StoreError(f"{self._directory} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
