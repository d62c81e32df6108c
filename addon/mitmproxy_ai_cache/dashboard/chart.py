"""Calls over time as bars: numbers in, coordinates out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..counts.recent_calls import STEP, Count

WIDTH, HEIGHT = 720, 120
"""Of the drawing, in its own units."""
_GAP = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    kind: str
    """`hits`, `misses` or `others`."""
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    width: float
    parts: tuple[Part, ...]
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: tuple[Bar, ...]
    top: int
    """Calls that the height stands for."""
    labels: tuple[str, ...]
    """Under the chart, evenly spread."""
    summary: str
    """For who cannot see it."""


def chart(counts: Sequence[Count], width: int) -> Chart:
    """`counts` of `width` times `STEP` seconds each."""
    seconds = width * STEP
    top = _round(max((count.hits + count.misses + count.others for count in counts), default=0))
    place = WIDTH / max(1, len(counts))
    bars = tuple(
        Bar(round(index * place, 2), round(place - _GAP, 2), _parts(count, top), _title(count, seconds))
        for index, count in enumerate(counts)
        if count.hits or count.misses or count.others
    )
    begin, end = counts[0].start * seconds, (counts[-1].start + 1) * seconds
    labels = tuple(time.strftime("%H:%M", time.localtime(begin + (end - begin) * part / 4)) for part in range(5))
    hits, misses, others = (sum(getattr(count, name) for count in counts) for name in ("hits", "misses", "others"))
    summary = f"{hits} hits, {misses} misses and {others} other calls in {round((end - begin) / 60)} minutes"
    return Chart(bars, top, labels, summary)


def _parts(count: Count, top: int) -> tuple[Part, ...]:
    parts, y = [], float(HEIGHT)
    for kind, number in (("hits", count.hits), ("misses", count.misses), ("others", count.others)):
        if number:
            height = max(1.0, number / top * HEIGHT)
            y -= height
            parts.append(Part(kind, round(y, 2), round(height, 2)))
    return tuple(parts)


def _title(count: Count, seconds: int) -> str:
    begin = time.strftime("%H:%M:%S", time.localtime(count.start * seconds))
    return f"{begin}: {count.hits} hits, {count.misses} misses, {count.others} others"


def _round(number: int) -> int:
    """The next 1, 2 or 5 with zeros."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if number <= step * power:
                return step * power
        power *= 10
