"""Single flight: identical calls that are in flight at once make one call to the provider.

The first one leads. The others wait: those of a stream read the leader's stream as it grows, from its first byte; all
others get what the leader's answer became. A leader that fails hands over to the next in line. Who has already sent
something on is never given another answer: it sees what a broken stream looks like.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from ..entries.entry import Entry
from ..wire.bounded import BoundedMap
from ..wire.messages import Headers
from .capture import Capture

GIVE_UP_AFTER = 2
"""Answers in a row that could not be kept. Then nobody waits any longer: one after the other would take for ever."""

_REMEMBERED, _REMEMBERED_SIZE, _REMEMBERED_FOR = 16, 1 << 20, 5.0
"""How many answers of at most how many bytes are known for how many seconds after they landed."""

_READ = 65536
"""Bytes a follower is handed at a time."""


class Turn(Enum):
    """What becomes of a call that is identical to one in flight."""

    LEAD = auto()
    """It calls the provider, others wait for it."""
    FOLLOW = auto()
    """It reads the leader's stream."""
    ANSWERED = auto()
    """The leader's answer was kept and is its answer, too."""
    ALONE = auto()
    """It calls the provider, and nobody waits for it."""
    LEFT = auto()
    """Its client is gone."""


@dataclass(slots=True)
class Waiting:
    """A call that waits for its turn. `accepts` is its Accept-Encoding where it can follow a stream, else None."""

    turn: asyncio.Future[Turn]
    accepts: str | None
    follower: Follower | None = None
    """Set where it is its turn to follow."""

    def follow(self, stream: LiveStream) -> None:
        self.follower = stream.follow()
        self.turn.set_result(Turn.FOLLOW)


@dataclass(slots=True)
class Flight:
    """A call on its way to the provider. Leaders may follow one another; `entry` is what it came to."""

    key: str
    waiting: list[Waiting] = field(default_factory=list)
    stream: LiveStream | None = None
    entry: Entry | None = None
    failures: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """The present leader is no longer needed: it landed or failed."""
    followed: Callable[[], None] | None = None
    """Called once when another call begins to depend on the present leader."""

    @property
    def needed(self) -> bool:
        """Whether others depend on the present leader."""
        return not self.over.is_set() and bool(self.waiting or (self.stream is not None and self.stream.readers))


class Flights:
    """All calls in flight by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}
        self._landed: BoundedMap[str, tuple[float, Entry]] = BoundedMap(_REMEMBERED)

    def landed_just_now(self, key: str) -> Entry | None:
        """What the last flight of this key came to, for a moment: in a burst the store may be slower than that."""
        landed, entry = self._landed.get(key, (0.0, None))
        return entry if time.monotonic() - landed < _REMEMBERED_FOR else None

    def get(self, key: str) -> Flight | None:
        return self._by_key.get(key)

    def begin(self, key: str) -> Flight:
        """A flight with the caller as its leader. There must be none of that key."""
        flight = self._by_key[key] = Flight(key)
        return flight

    def join(self, flight: Flight, accepts: str | None) -> Waiting:
        """Wait in line; `turn` may be set at once."""
        waiting = Waiting(asyncio.get_running_loop().create_future(), accepts)
        if flight.followed is not None:
            tell, flight.followed = flight.followed, None
            tell()
        if flight.stream is not None and flight.stream.may_follow(accepts):
            waiting.follow(flight.stream)
        else:
            flight.waiting.append(waiting)
        return waiting

    @staticmethod
    def leave(flight: Flight, waiting: Waiting) -> None:
        """The client of a waiting call is gone."""
        if not waiting.turn.done():
            flight.waiting.remove(waiting)
            waiting.turn.set_result(Turn.LEFT)

    @staticmethod
    def streams(flight: Flight, stream: LiveStream) -> None:
        """The leader's stream begins: who can follows it, the others wait on."""
        flight.stream = stream
        staying = []
        for waiting in flight.waiting:
            if stream.may_follow(waiting.accepts):
                waiting.follow(stream)
            else:
                staying.append(waiting)
        flight.waiting = staying

    def landed(self, flight: Flight, entry: Entry) -> None:
        """The leader's answer was kept."""
        flight.entry = entry
        if len(entry.body) <= _REMEMBERED_SIZE:
            self._landed.put(flight.key, (time.monotonic(), entry))
        self._end(flight, Turn.ANSWERED, whole=True)

    def failed(self, flight: Flight, *, whole: bool, hopeless: bool, left: bool) -> None:
        """The leader's answer was not kept.

        `whole`: its stream came to a proper end; `hopeless`: another answer would not be kept either; `left`: only its
        client's leaving ended it, which says nothing of the provider.
        """
        flight.failures += not left
        if hopeless or flight.failures >= GIVE_UP_AFTER or not flight.waiting:
            self._end(flight, Turn.ALONE, whole=whole)
            return
        self._close_stream(flight, whole)
        flight.over.set()
        flight.over, flight.followed = asyncio.Event(), None
        flight.waiting.pop(0).turn.set_result(Turn.LEAD)

    def _end(self, flight: Flight, turn: Turn, whole: bool) -> None:
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]
        self._close_stream(flight, whole)
        flight.over.set()
        flight.followed = None  # it leads back to the flight, whose answer would wait for the garbage collector
        waiting, flight.waiting = flight.waiting, []
        for one in waiting:
            one.turn.set_result(turn)

    @staticmethod
    def _close_stream(flight: Flight, whole: bool) -> None:
        if flight.stream is not None:
            flight.stream.close(whole)
        flight.stream = None

    def __len__(self) -> int:
        return len(self._by_key)


class LiveStream(Capture):
    """The capture of a leader's stream, read by followers while it grows. `headers` are those of its answer."""

    __slots__ = ("closed", "headers", "landed", "readers", "to_land", "whole")

    def __init__(self, limit: int, headers: Headers) -> None:
        super().__init__(limit)
        self.headers = headers
        self.readers: set[Follower] = set()
        self.closed = False
        self.whole = False
        self.landed: Entry | None = None
        """What it came to, without its bodies."""
        self.to_land: list[Callable[[Entry], None]] = []
        """Told what it came to: followers are over before their leader is judged."""

    def may_follow(self, accepts: str | None) -> bool:
        """Whether a new follower can still have all of it, in a content coding it accepts."""
        coding = self.headers.get("content-encoding").strip().lower()
        return accepts is not None and not self.overflow and not self.closed and _accepted(coding, accepts)

    def __call__(self, chunk: bytes) -> bytes:
        if chunk and self.readers and self.size + len(chunk) > self._limit:
            # Beyond the limit nothing is held here any more: each follower keeps what it has not sent on yet.
            for reader in self.readers:
                reader.part_with(self.chunks, chunk, self._limit)
        super().__call__(chunk)
        for reader in self.readers:
            reader.wake()
        return chunk

    def close(self, whole: bool) -> None:
        """The leader's message ended. What it was is held until its last reader has left."""
        self.closed, self.whole = True, whole
        for reader in self.readers:
            reader.wake()
        self.let_go()

    def let_go(self) -> None:
        if self.closed and not self.readers:
            self.chunks.clear()

    def follow(self) -> Follower:
        follower = Follower(self)
        self.readers.add(follower)
        return follower


class Follower:
    """One reader of a `LiveStream`, at its own pace."""

    def __init__(self, stream: LiveStream) -> None:
        self.stream = stream
        self._position = 0
        self._own: deque[bytes] | None = None
        self._own_size = 0
        self._broken = False
        self._news = asyncio.Event()

    async def read(self) -> bytes:
        """What came since the last call, at most some 64 kB; `b""` at the proper end. Raises `BrokenStream`."""
        while True:
            if self._broken:
                raise BrokenStream
            if data := self._take():
                return data
            if self.stream.closed:
                if self.stream.whole:
                    return b""
                raise BrokenStream
            self._news.clear()
            await self._news.wait()

    def _take(self) -> bytes:
        taken: list[bytes] = []
        size = 0
        if self._own is not None:
            while self._own and size < _READ:
                taken.append(self._own.popleft())
                size += len(taken[-1])
            self._own_size -= size
        else:
            chunks = self.stream.chunks
            while self._position < len(chunks) and size < _READ:
                taken.append(chunks[self._position])
                size += len(taken[-1])
                self._position += 1
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def part_with(self, chunks: list[bytes], chunk: bytes, limit: int) -> None:
        """Keep the rest and `chunk` here; a follower that is more than `limit` bytes behind breaks off."""
        if self._own is None:
            self._own = deque(chunks[self._position :])
            self._own_size = sum(map(len, self._own))
        self._own.append(chunk)
        self._own_size += len(chunk)
        if self._own_size > 2 * limit:
            self._broken = True
            self._own.clear()

    def wake(self) -> None:
        self._news.set()

    def leave(self) -> None:
        self.stream.readers.discard(self)
        self.stream.let_go()


class BrokenStream(Exception):
    """The leader's stream broke off."""


def _accepted(coding: str, accepts: str) -> bool:
    """Whether an Accept-Encoding names this coding (RFC 9110 section 12.5.3). An empty one accepts only identity."""
    if coding in ("", "identity"):
        return True
    for item in accepts.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() in (coding, "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
