"""What a step of a look-up comes to."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...entries.entry import Entry
from ..flight import Follower
from ..reasons import Status


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: an entry, or the stream of an identical call in flight."""

    status: Status
    reason: str = ""
    entry: Entry | None = None
    age: float = 0.0
    """Seconds since `entry` was made."""
    follower: Follower | None = None

    @classmethod
    def stored(cls, entry: Entry, reason: str = "") -> Found:
        now = time.time()
        status = Status.HIT if entry.is_fresh(now) else Status.STALE
        return cls(status, reason, entry, max(0.0, now - entry.created))


@dataclass(frozen=True, slots=True)
class Missed:
    """Why there is no answer."""

    reason: str
    status: Status = Status.MISS
    stale: Entry | None = None
    """What may answer where the provider fails."""


class ClientLeft(Exception):
    """Nobody is there to answer, and no call to the provider is wanted."""
