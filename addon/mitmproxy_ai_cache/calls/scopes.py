"""Scopes: which test the calls that come in on a listener belong to, set by a call to the proxy itself (control.py).

Clients keep the proxy they were born with, so a test cannot give its name with each of them. It says once which
namespace its listener is in; tests that run at the same time have a listener each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .sequences import Sequences

_EXPLAINED = 20
"""Refused calls of a scope that are told of; all are counted."""


@dataclass(slots=True, eq=False)
class Scope:
    """What one test asked, from its start to its end."""

    namespace: str
    calls: int = 0
    stored: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Requests that are no AI calls and were refused, by host."""
    missed: int = 0
    """AI calls that were refused: nothing is recorded for them."""
    misses: list[dict[str, object]] = field(default_factory=list)
    """The first ones, explained."""
    sequences: Sequences = field(default_factory=Sequences)
    """Its own: a test that runs again begins anew, and one that runs beside it does not disturb it."""

    def count(self, status: str) -> None:
        self.calls += 1
        self.statuses[status] += 1

    def miss(self, line: str, explanation: Sequence[str]) -> None:
        self.missed += 1
        if len(self.misses) < _EXPLAINED:
            self.misses.append({"call": line, "explanation": list(explanation)})

    def refuse(self, host: str) -> None:
        self.refused[host if host in self.refused or len(self.refused) < 100 else "others"] += 1

    def as_json(self) -> dict[str, object]:
        return {
            "namespace": self.namespace,
            "calls": self.calls,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "stored": self.stored,
            "missed": self.missed,
            "misses": self.misses,
            "refused": dict(self.refused),
        }


class Scopes:
    """The scope of each listener, by port."""

    def __init__(self) -> None:
        self._current: dict[int, Scope] = {}

    def at(self, port: int) -> Scope | None:
        return self._current.get(port)

    def begin(self, port: int, namespace: str) -> None:
        """From now on; an empty namespace is none."""
        self._current.pop(port, None)
        if namespace:
            self._current[port] = Scope(namespace)
