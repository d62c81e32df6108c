"""What a store says of its state: one line when trouble begins, one when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

logger = logging.getLogger("ai-cache")

QUIET = 2.0
"""Seconds without trouble before it counts as over: a disk that is nearly full fails and works by turns."""


class Health:
    """One thing a store does, reported on by any thread. `over` is what is said when it works again."""

    def __init__(self, failures: Counter[str], over: str) -> None:
        self._failures = failures
        self._over = over
        self._lock = threading.Lock()
        self._well = True
        self._last = 0.0

    @property
    def well(self) -> bool:
        return self._well

    def failed(self, kind: str, what: str, said: bool = False) -> None:
        """Count it under `kind`, and say `what` happened unless it lasts already, or somebody else says it."""
        with self._lock:
            self._failures[kind] += 1
            self._last = time.monotonic()
            if self._well and not said:
                logger.warning("ai-cache: %s", what)
            self._well = False

    def succeeded(self) -> None:
        if self._well:
            return
        with self._lock:
            if not self._well and time.monotonic() - self._last >= QUIET:
                self._well = True
                logger.info("ai-cache: %s", self._over)
