"""Worker processes for what would hold the event loop: started when first needed, ended with the proxy.

A worker that dies or is stopped fails the job it had; the next job starts another. A proxy that is killed closes the
worker's input, and the worker ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from . import timed
from .frames import Head, packed, unpacked

logger = logging.getLogger("ai-cache")

LIMIT = 120.0
"""Seconds that a job may take in all. Ten times what 10 MB of the worst text takes: a worker that hangs is stopped."""

_START = "import sys; sys.path[:] = sys.argv[1:]; from mitmproxy_ai_cache.calls.workers.worker import main; main()"
_PIECE = 1 << 20


def can_work() -> bool:
    """Whether there is a Python to start workers with. A mitmproxy that is one binary has none."""
    return hasattr(signal, "setitimer") and hasattr(select, "poll") and not getattr(sys, "frozen", False)


class Failed(Exception):
    """A job was not done. `reason` is a word for headers and logs."""

    def __init__(self, reason: str, message: str = "", mark: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.mark = mark
        """The pattern that took too long, as `timed` marks it."""


TOO_SLOW, DIED = "pattern-too-slow", "worker-failed"


class Worker:
    """One process. Used by one thread at a time."""

    def __init__(self) -> None:
        # Its standard error is a file without a name: a mark there says which pattern is under way.
        self._marks = tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, *_paths()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._marks,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._ends = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def do(self, head: Head, blobs: Sequence[bytes]) -> tuple[Head, list[bytes]]:
        """Raises `Failed`; the worker is dead then, unless the job merely raised."""
        self._ends = time.monotonic() + LIMIT
        try:
            for piece in packed(head, blobs):
                self._write(memoryview(piece))
            answer, out = unpacked(self._read)
        except (OSError, EOFError, ValueError):
            raise self._why_dead() from None
        if error := answer.get("error"):
            raise Failed("internal-error", str(error))
        return answer, out

    def _write(self, view: memoryview) -> None:
        while view:
            self._wait(self._in, select.POLLOUT)
            with suppress(BlockingIOError):
                view = view[os.write(self._in, view) :]

    def _read(self, size: int) -> bytes:
        found = bytearray(size)
        view, at = memoryview(found), 0
        while at < size:
            self._wait(self._out, select.POLLIN)
            with suppress(BlockingIOError):
                count = os.readv(self._out, [view[at : at + _PIECE]])
                if not count:
                    raise EOFError
                at += count
        return bytes(found)

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = self._ends - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise EOFError

    def _why_dead(self) -> Failed:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if time.monotonic() >= self._ends else 5)
        late = self._process.poll() is None
        code = self._process.returncode
        mark = os.pread(self._marks.fileno(), timed.MARK, 0).decode("ascii", "replace").strip()
        self.end(at_once=True)
        if code == -signal.SIGALRM:
            return Failed(TOO_SLOW, mark=mark)
        return Failed(DIED, f"a worker took more than {LIMIT:.0f} s" if late else f"a worker ended with status {code}")

    def end(self, at_once: bool = False) -> None:
        """Close its input, which ends it; kill it where it does not end."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(0 if at_once else 0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._marks.close()


def _paths() -> list[str]:
    """Where this process finds its modules, the package first: a worker runs the same code."""
    here = str(Path(__file__).resolve().parents[3])
    return [here, *(path for path in sys.path if path)]


class Pool:
    """Up to `size` workers, the one used last first, each job in a thread that waits for its worker."""

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._others: list[Pool] = []

    def another(self) -> Pool:
        """A pool of one, which ends with this one."""
        self._others.append(Pool(1))
        return self._others[-1]

    @property
    def pids(self) -> list[int]:
        with self._lock:
            return [worker.pid for worker in (*self._idle, *self._busy)]

    async def do(self, head: Head, blobs: Sequence[bytes]) -> tuple[Head, list[bytes]]:
        """The answer of a worker. Raises `Failed`."""
        if self._closed:
            raise Failed(DIED, "the proxy ends")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size, "ai-cache worker")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._do, head, blobs)

    def do_here(self, head: Head, blobs: Sequence[bytes]) -> tuple[Head, list[bytes]]:
        """The same for a thread, which waits. Raises `Failed`."""
        return self._do(head, blobs)

    def _do(self, head: Head, blobs: Sequence[bytes]) -> tuple[Head, list[bytes]]:
        worker = self._take()
        try:
            return worker.do(head, blobs)
        finally:
            self._give_back(worker)

    def _take(self) -> Worker:
        with self._lock:
            if self._closed:
                raise Failed(DIED, "the proxy ends")
            while self._idle:
                worker = self._idle.pop()
                if worker.lives:
                    break
                worker.end(at_once=True)
            else:
                try:
                    worker = Worker()
                except OSError as error:
                    raise Failed(DIED, f"no worker can be started: {error}") from None
            self._busy.add(worker)
            return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.lives and not self._closed:
                self._idle.append(worker)
                return
        worker.end(at_once=True)

    async def close(self) -> None:
        for other in self._others:
            await other.close()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for worker in self._busy:  # its thread sees the end of its output
                with suppress(OSError):
                    os.kill(worker.pid, signal.SIGKILL)
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in idle))
        if self._threads is not None:
            self._threads.shutdown(wait=False)
