"""What this process knows of a server: whether it answers, whether it takes writes; and what of that was said."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .breaker import PROBE_EVERY, Breaker
from .client import CONNECT
from .errors import explain
from .url import Server

logger = logging.getLogger("ai-cache")

_CHECK = 0.4
"""Seconds for an answer of a server that is suspected."""
_PROMPT = 0.25
"""Seconds for an answer, as look-ups have by default: a server that takes longer would be given up again at once."""
_COMPLAIN_EVERY = 60.0
"""Seconds between two lines about writes that the server refuses."""


class ServerState:
    """One line is logged per change of state. `failures` are counted by kind; `ping` asks the server, and raises."""

    def __init__(self, server: Server, failures: Counter[str], ping: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._failures = failures
        self._ping = ping
        self._breaker = Breaker()
        self._known = False  # whether it has ever answered
        self._refused, self._complained = "", -_COMPLAIN_EVERY
        self._probe: asyncio.Task[None] | None = None
        self._check: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Nobody asks it then but the probe."""
        return self._breaker.is_open

    def succeeded(self) -> None:
        self._known = True
        if self._breaker.succeeded():
            logger.warning("ai-cache: %s answers again", self._server.shown)

    def written(self, seconds: float) -> None:
        """A write that took its time says nothing of look-ups, which have none."""
        self._refused = ""
        if seconds < _PROMPT:
            self.succeeded()

    def counted(self, error: BaseException) -> str:
        """Count it; what is to be said of it."""
        kind, said = explain(error, self._server, self._known)
        self._failures[kind] += 1
        return said

    def failed(self, error: BaseException) -> str:
        """Count it, and say it where that opens the breaker; what was, or would have been, said."""
        said = self.counted(error)
        if self._breaker.failed():
            self._opened(said)
        return said

    def away(self, error: BaseException) -> str:
        """It was not even there at the start: what is to be said."""
        self._breaker.open()
        self._start_probe()
        return self.counted(error)

    def refused(self, error: BaseException) -> None:
        """It answers, but takes no writes."""
        said = self.counted(error)
        if self._refused != said and time.monotonic() - self._complained > _COMPLAIN_EVERY:
            self._complained = time.monotonic()
            logger.warning("ai-cache: %s; answers are not kept for now", said)
        self._refused = said

    def suspect(self) -> None:
        """A look-up has waited too long. In a burst the event loop is slow, not the server: it gets one more chance."""
        self._failures["timeout"] += 1
        if self._breaker.suspected() and (self._check is None or self._check.done()):
            self._check = asyncio.create_task(self._check_server(), name="ai-cache redis check")

    async def _check_server(self) -> None:
        try:
            await asyncio.wait_for(self._ping(), _CHECK)
        except Exception as error:
            said = self.counted(error)
            if self._breaker.open():
                self._opened(said)
        else:
            self.succeeded()

    def _opened(self, said: str) -> None:
        logger.warning("ai-cache: %s; calls go on as misses until it answers again", said)
        self._start_probe()

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._probe_until_well(), name="ai-cache redis probe")

    async def _probe_until_well(self) -> None:
        while self._breaker.is_open:
            await asyncio.sleep(PROBE_EVERY)
            with suppress(Exception):
                await asyncio.wait_for(self._ping(), CONNECT)  # which may have to connect first
                await asyncio.wait_for(self._ping(), _PROMPT)
                self.succeeded()

    def close(self) -> None:
        for task in (self._probe, self._check):
            if task is not None:
                task.cancel()
