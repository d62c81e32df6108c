"""One request and what became of it: the value that is handed along the way of a call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..entries.entry import Entry
from ..protocols.base import Call
from ..redact import Pattern
from ..wire.messages import Request, Response
from .capture import Capture
from .flight import Flight, Follower, Waiting
from .policy import CacheControl, Decision
from .scopes import Scope

_UNDECIDED, _NO_CONTROL = Decision(), CacheControl()


@dataclass(slots=True)
class Exchange:
    """One request and what became of it."""

    request: Request
    call: Call | None = None
    status: str = ""
    """HIT, STALE, MISS, BYPASS, REFRESH; empty where the request is none of our business."""
    reason: str = ""
    key: str = ""
    decision: Decision = _UNDECIDED
    control: CacheControl = _NO_CONTROL
    response: Response | None = None
    """What to answer with at once, without a provider."""
    entry: Entry | None = None
    age: float = 0.0
    started: float = field(default_factory=time.monotonic)
    first_byte: float = 0.0
    ended: float = 0.0
    store_seconds: float = 0.0
    """What the store took to look for it."""
    status_code: int = 0
    capture: Capture | None = None
    flight: Flight | None = None
    """The flight it leads."""
    waiting: tuple[Flight, Waiting] | None = None
    """The flight it waits for."""
    follower: Follower | None = None
    """The leader's stream it is answered from."""
    left: bool = False
    """Its client is gone."""
    redacted: bool = False
    """`request` holds placeholders for secrets; the provider is sent what its client sent."""
    scope: Scope | None = None
    """The test it belongs to."""
    credentials: tuple[Pattern, ...] = ()
    """Find what `request` was sent with, where its answer repeats that."""
    stale: Entry | None = None
    """What answers where the provider fails."""

    @property
    def samples(self) -> bool:
        """Whether the provider would answer each time anew: anything but temperature 0."""
        return self.call is not None and self.call.body.object.get("temperature") != 0

    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started
