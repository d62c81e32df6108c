"""One request and what became of it, step by step: read, decided, identified, answered, forwarded, ended.

Each step is a value that is made once and never changed. A later step may replace the answer of an earlier one as a
whole: a miss becomes stale where the provider fails.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..entries.entry import Entry
from ..identity.identifier import Identified, Reading
from ..protocols.base import Call
from ..wire.messages import Request, Response
from .capture import Capture
from .flight import Flight, Follower, Waiting
from .policy import CacheControl, Decision
from .reasons import Status
from .scopes import Scope

_NO_CONTROL, _NO_DECISION = CacheControl(), Decision()


@dataclass(frozen=True, slots=True)
class Decided:
    """What may be done with a call: what its client asked for, and what the settings say."""

    control: CacheControl = _NO_CONTROL
    decision: Decision = _NO_DECISION


@dataclass(frozen=True, slots=True)
class Answered:
    """What the cache says to a call. Where it has no answer, `status` and `reason` say why."""

    status: Status = Status.NONE
    reason: str = ""
    entry: Entry | None = None
    """What answers it."""
    age: float = 0.0
    """Seconds since `entry` was made."""
    response: Response | None = None
    """What to answer with at once, without a provider."""
    follower: Follower | None = None
    """The leader's stream it is answered from."""
    stale: Entry | None = None
    """What answers where the provider fails."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The head of the provider's answer."""

    status: int
    first_byte: float
    """Seconds from the request to it."""
    capture: Capture | None = None
    """The tee, where the body may be kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last byte."""

    at: float
    """Monotonic time."""
    status: int = 0
    """What the client got, where no other step says so."""


_UNDECIDED, _UNANSWERED = Decided(), Answered()


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and what became of it so far."""

    sent: Request
    """As its client sent it, with its credentials."""
    scope: Scope | None = None
    """The test it belongs to."""
    started: float = field(default_factory=time.monotonic)
    reading: Reading | None = None
    decided: Decided = _UNDECIDED
    identified: Identified | None = None
    answered: Answered = _UNANSWERED
    forwarded: Forwarded | None = None
    ended: Ended | None = None

    store_seconds: float = 0.0
    """What the store took to look for it."""
    flight: Flight | None = None
    """The flight it leads."""
    waiting: tuple[Flight, Waiting] | None = None
    """The flight it waits for."""
    left: bool = False
    """Its client is gone."""

    @property
    def request(self) -> Request:
        """With placeholders for secrets where the mode hides them; the provider is sent what its client sent."""
        return self.reading.request if self.reading is not None else self.sent

    @property
    def call(self) -> Call | None:
        return self.reading.call if self.reading is not None else None

    @property
    def key(self) -> str:
        return self.identified.key if self.identified is not None else ""

    @property
    def namespace(self) -> str:
        return self.identified.namespace if self.identified is not None else ""

    @property
    def status(self) -> Status:
        return self.answered.status

    @property
    def reason(self) -> str:
        return self.answered.reason

    @property
    def entry(self) -> Entry | None:
        return self.answered.entry

    @property
    def response(self) -> Response | None:
        return self.answered.response

    @property
    def capture(self) -> Capture | None:
        return self.forwarded.capture if self.forwarded is not None else None

    @property
    def status_code(self) -> int:
        """The status that the client got; 0 where it got none yet."""
        if self.answered.response is not None:
            return self.answered.response.status
        if self.forwarded is not None:
            return self.forwarded.status
        return self.ended.status if self.ended is not None else 0

    @property
    def samples(self) -> bool:
        """Whether the provider would answer each time anew: anything but temperature 0."""
        return self.call is not None and self.call.body.object.get("temperature") != 0

    def seconds(self) -> float:
        return (self.ended.at if self.ended is not None else time.monotonic()) - self.started

    def take_number(self, number: int) -> None:
        """Ask for the n-th answer of this call."""
        if self.identified is not None:
            self.identified = self.identified.numbered(number)

    def end(self, status: int = 0) -> None:
        """The last byte is sent, now."""
        self.ended = Ended(time.monotonic(), status)
