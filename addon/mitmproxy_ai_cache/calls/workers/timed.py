"""Users' patterns with a budget of time, for a worker: the kernel ends the process where one takes longer.

Nothing in Python can interrupt `re`: a signal handler waits until it returns, and so does every other thread. A signal
without a handler does not wait. Which pattern it was stands in the file that is the worker's standard error.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...identity.key import KeyRules, Normalize
from ...redact import Pattern

BUDGET = 2.0
"""Seconds that one pattern may take for one call."""

MARK = 8
"""Bytes of the mark that names the pattern under way: an option's letter and a number."""

_used: dict[str, float] = {}


def begin() -> None:
    """A new call: every pattern has its whole budget."""
    _used.clear()


@contextmanager
def _budget(mark: str) -> Iterator[None]:
    left = max(0.001, BUDGET - _used.get(mark, 0.0))
    began = time.monotonic()
    os.pwrite(2, mark.encode().ljust(MARK), 0)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _used[mark] = _used.get(mark, 0.0) + time.monotonic() - began


@dataclass(frozen=True, slots=True)
class _TimedPattern(Pattern):
    mark: str = ""

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        with _budget(self.mark):
            found = list(Pattern.spans(self, data))
        return iter(found)


@dataclass(frozen=True, slots=True)
class _TimedNormalize(Normalize):
    mark: str = ""

    def apply(self, text: str) -> str:
        with _budget(self.mark):
            return Normalize.apply(self, text)


def timed_patterns(patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    return tuple(_TimedPattern(one.kind, one.regex, f"r{place}") for place, one in enumerate(patterns))


def timed_rules(rules: KeyRules) -> KeyRules:
    return replace(
        rules,
        normalize=tuple(
            _TimedNormalize(one.pattern, one.replacement, f"n{place}") for place, one in enumerate(rules.normalize)
        ),
    )
