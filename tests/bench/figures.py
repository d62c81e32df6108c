"""Samples -> ratios -> table and JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of the load against one subject. Times in seconds."""

    requests: int
    seconds: float
    p50: float = 0.0
    p99: float = 0.0
    cpu: float = 0.0
    """Of the subject, user and system."""
    load_cpu: float = 0.0
    """Of the load generator."""
    first_byte: float = 0.0
    """Median time to the head of the answer."""
    event_delay: float = 0.0
    """Median time from an event's leaving the provider to its arrival."""
    failed: int = 0
    """Answers that were no 200."""
    hits: int = 0
    """Answers from the cache; not seen in HTTP/2."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the subject for one request."""
        return self.cpu / self.requests

    @property
    def load_share(self) -> float:
        """Of one core, what the load generator took. Near 1 it is the generator that was measured."""
        return self.load_cpu / self.seconds


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of a ratio."""

    limit: float
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio of subject to baseline, one per round."""

    name: str
    ratios: tuple[float, ...]
    goal: Goal | None = None
    by_cpu: tuple[float, ...] = ()
    """The same by CPU time of the proxy, the steadier figure where others use the machine too."""
    note: str = ""
    rounds: Mapping[str, Sequence[Any]] | None = None
    """What was measured, by subject."""
    scenario: str = ""

    @property
    def median(self) -> float:
        return median(self.ratios)

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "name": self.name,
            "median": self.median,
            "min": min(self.ratios),
            "max": max(self.ratios),
            "goal": str(self.goal) if self.goal else None,
            "met": self.goal.met(self.median) if self.goal else None,
            "ratios": self.ratios,
            "ratios_by_cpu": self.by_cpu,
            "note": self.note,
            "rounds": {
                name: [asdict(each) if isinstance(each, Sample) else each for each in samples]
                for name, samples in (self.rounds or {}).items()
            },
        }


def in_turns[T](rounds: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """A B A B ...: what disturbs the machine disturbs all of them."""
    found: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def ratios[T](subject: Iterable[T], baseline: Iterable[T], value: Callable[[T], float]) -> tuple[float, ...]:
    """Of each round to the round of the baseline beside it."""
    return tuple(value(a) / value(b) for a, b in zip(subject, baseline, strict=True))


def table(figures: Sequence[Figure]) -> str:
    """Markdown that reads well on a terminal too. A figure without a goal is there to be known."""
    rows = [("what", "ratio", "spread", "by CPU", "goal", "", "measured")]
    for figure in figures:
        spread = f"{min(figure.ratios):.2f}-{max(figure.ratios):.2f}"
        by_cpu = f"{median(figure.by_cpu):.2f}" if figure.by_cpu else ""
        met = "" if figure.goal is None else "met" if figure.goal.met(figure.median) else "MISSED"
        rows.append((figure.name, f"{figure.median:.2f}", spread, by_cpu, str(figure.goal or ""), met, figure.note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
