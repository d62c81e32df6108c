"""The last calls, and how many there were over time. A hit costs one tuple and two counters here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..calls.exchange import Exchange
from ..calls.reasons import Status
from ..configuration.settings import Settings
from ..identity.isolation import Isolation
from ..identity.key import counting_headers, public_query
from ..protocols.providers import credential_headers
from ..wire.bounded import BoundedMap
from ..wire.messages import Headers, Request

SHOWN = 200
"""Calls that are remembered."""

STEP = 10
"""Seconds of one count."""
_STEPS = 361
"""An hour, and the step that is under way."""

_LARGEST = 1 << 20
"""Bytes of a request that is kept for explaining its miss."""
_ALL = 32 << 20
"""Bytes of all of them."""

_LONGEST = 120
"""Characters of a name that a client chose."""


class Seen(NamedTuple):
    """A call that is over."""

    number: int
    at: float
    """Unix time of its end."""
    status: Status
    """`HIT`, `STALE`, `MISS`, `BYPASS`, `REFRESH`, or empty where something that is no AI call was refused."""
    reason: str
    note: str
    """`stored`, why it was not, or `refused`."""
    protocol: str
    model: str
    host: str
    stream: bool
    code: int
    seconds: float
    tokens: int
    """In and out, where the answer is kept."""
    key: str


@dataclass(frozen=True, slots=True)
class MissedRequest:
    """The request of a call that missed, without credentials, as its explanation needs it."""

    request: Request
    namespace: str


class Count:
    """The calls of one step."""

    __slots__ = ("hits", "misses", "others", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        """Unix time divided by `STEP`."""
        self.hits = self.misses = self.others = 0


class Recent:
    """What happened lately. `keep` gives what of a call that missed may be remembered; it is not asked about hits."""

    def __init__(self) -> None:
        self.calls: deque[Seen] = deque(maxlen=SHOWN)
        """The newest is the last."""
        self.count = 0
        """All calls there were; the number of the newest."""
        self.keep: Callable[[Exchange], MissedRequest | None] = lambda exchange: None
        self.began = time.time()
        self._counts: deque[Count] = deque(maxlen=_STEPS)
        self._missed: BoundedMap[int, MissedRequest] = BoundedMap(
            SHOWN, _ALL, lambda asked: len(asked.request.body or b"")
        )

    def add(self, exchange: Exchange, note: str = "", tokens: int = 0) -> None:
        """A call is over."""
        self.count = number = self.count + 1
        call, entry, status, now = exchange.call, exchange.entry, exchange.status, time.time()
        self.calls.append(
            Seen(
                number,
                now,
                status,
                exchange.reason,
                note,
                call.protocol.name if call is not None else "",
                _shortened(call.model) if call is not None else "",
                _shortened(exchange.request.host),
                call is not None and call.stream,
                exchange.status_code,
                exchange.seconds(),
                tokens,
                exchange.key,
            )
        )
        step = int(now) // STEP
        counts = self._counts
        if not counts or counts[-1].start != step:
            counts.append(Count(step))
        if status.from_store:
            counts[-1].hits += 1
            return
        if status.asked_provider:
            counts[-1].misses += 1
        else:
            counts[-1].others += 1
        if entry is None and call is not None and (asked := self.keep(exchange)) is not None:
            self._missed.put(number, asked)

    def call(self, number: int) -> Seen | None:
        return next((seen for seen in self.calls if seen.number == number), None)

    def missed_request(self, number: int) -> MissedRequest | None:
        """The request of a call that missed, while it is remembered."""
        return self._missed.get(number)

    def over_time(self, now: float, steps: int, width: int) -> list[Count]:
        """`steps` counts that end now, the oldest first, each of `width` times `STEP` seconds."""
        last = int(now) // (STEP * width)
        found = [Count(last - steps + 1 + place) for place in range(steps)]
        for count in self._counts:
            place = count.start // width - found[0].start
            if 0 <= place < steps:
                found[place].hits += count.hits
                found[place].misses += count.misses
                found[place].others += count.others
        return found


def _size(missed: MissedRequest) -> int:
    return len(missed.request.body or b"")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"


def missed_request_of(exchange: Exchange, settings: Settings, isolation: Isolation) -> MissedRequest | None:
    """What of a request its explanation needs: no field that does not count, no credential. None where it is large, or
    where entries are kept apart."""
    call, request = exchange.call, exchange.request
    if call is None or len(call.body.raw) > _LARGEST or isolation.kind != "none":
        return None
    fields = [
        (name, value)
        for name, value in counting_headers(call, request, settings.key_rules.headers)
        if name not in credential_headers() and name not in ("host", "content-type")
    ]
    fields += [(name, request.headers.get(name)) for name in ("host", "content-type") if name in request.headers]
    slim = Request(
        request.method,
        request.scheme,
        request.host,
        request.port,
        request.path,
        public_query(request.query),
        Headers(fields),
        call.body.raw,
        authority=request.authority,
    )
    return MissedRequest(slim, exchange.namespace)
