"""Writes on their way to a server: bounded, off the path of every answer, those about one key in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

Name = tuple[str, str]
"""Namespace and key."""

_QUEUE = 1000
_AT_ONCE = 16
_QUEUE_BYTES = 256 << 20


@dataclass(slots=True, eq=False)
class Write:
    """One thing to do. While it waits, look-ups of `name` see `packed`: the answer, or None for a removal."""

    send: Callable[[Write], Awaitable[None]]
    name: Name | None = None
    about: str = ""
    """The key whose writes it keeps its place among; empty: among all."""
    packed: bytes | None = None
    size: int = 0
    issued: str = ""
    cancelled: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class WriteQueue:
    """`perform` does a write and reports what goes wrong; it does not raise."""

    def __init__(self, perform: Callable[[Write], Awaitable[None]]) -> None:
        self._perform = perform
        self._pending: dict[Name, Write] = {}
        self._bytes = 0
        self._queue: asyncio.Queue[Write | None] = asyncio.Queue(_QUEUE)
        self._ends = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ai-cache redis writer")

    @property
    def running(self) -> bool:
        return self._task is not None

    def put(self, write: Write) -> bool:
        """False where it is full."""
        if self._bytes + write.size > _QUEUE_BYTES:
            return False
        try:
            self._queue.put_nowait(write)
        except asyncio.QueueFull:
            return False
        self._bytes += write.size
        if write.name is not None:
            self._pending[write.name] = write
        return True

    def __len__(self) -> int:
        return self._queue.qsize()

    def pending(self, name: Name) -> Write | None:
        return self._pending.get(name)

    def issuers(self, issued: str) -> list[Name]:
        return [name for name, write in self._pending.items() if write.issued == issued]

    def cancel(self, namespace: str) -> None:
        """What waits in `namespace` is not sent any more, and not seen."""
        for name, write in list(self._pending.items()):
            if name[0] == namespace:
                write.cancelled = True
                del self._pending[name]

    async def _run(self) -> None:
        write = await self._queue.get()
        while write is not None:
            together = {write.about: write}
            write = self._waiting()
            while write is not None and _may_join(write, together):
                together[write.about] = write
                write = self._waiting()
            await asyncio.gather(*map(self._do, together.values()))
            if write is None and not self._ends:
                write = await self._queue.get()

    def _waiting(self) -> Write | None:
        """The next one without waiting."""
        if self._ends or self._queue.empty():
            return None
        write = self._queue.get_nowait()
        self._ends = write is None
        return write

    async def _do(self, write: Write) -> None:
        try:
            if not write.cancelled:
                await self._perform(write)
        finally:
            self._bytes -= write.size
            if write.name is not None and self._pending.get(write.name) is write:
                del self._pending[write.name]
            write.done.set()

    async def flushed(self, deadline: float) -> None:
        """Wait for what is queued now, for at most `deadline` seconds."""
        if self._task is None:
            return
        last = Write(_nothing)
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._queue.put(last)
                await last.done.wait()

    async def close(self, deadline: float) -> int:
        """Do what waits, for at most `deadline` seconds; how many writes were left."""
        if self._task is None:
            return 0
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._queue.put(None)
                await asyncio.wait([self._task])
        left = 0 if self._task.done() else max(1, self._queue.qsize())
        self._task.cancel()
        self._task = None
        return left


def _may_join(write: Write, together: dict[str, Write]) -> bool:
    return bool(write.about) and write.about not in together and "" not in together and len(together) < _AT_ONCE


async def _nothing(write: Write) -> None:
    pass
