"""A circuit breaker: a server that does not answer is not asked again until a probe says it does."""

from __future__ import annotations

OPENS_AFTER = 3
"""Failures in a row."""

PROBE_EVERY = 1.0
"""Seconds between probes while it is open."""


class Breaker:
    """Closed while all is well. Who asks reports `succeeded` or `failed`; while `is_open` nobody asks but the probe."""

    def __init__(self) -> None:
        self._failures = 0
        self.is_open = False

    def succeeded(self) -> bool:
        """Whether this closed it."""
        self._failures = 0
        closed, self.is_open = self.is_open, False
        return closed

    def failed(self) -> bool:
        """Whether this opened it."""
        self._failures += 1
        return self._failures >= OPENS_AFTER and self.open()

    def suspected(self) -> bool:
        """Somebody has waited too long, which may be our own fault; whether it is time to ask the server itself."""
        self._failures += 1
        return self._failures >= OPENS_AFTER and not self.is_open

    def open(self) -> bool:
        """Whether this opened it."""
        opened, self.is_open = not self.is_open, True
        return opened
