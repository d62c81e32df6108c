"""The first page: totals, calls over time, the last calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import units
from ..cache import Cache
from ..stats import Stats
from .chart import chart
from .guard import Access
from .recent import STEP, Seen

ROWS = 50
_SPANS = {"10m": (60, 1), "1h": (60, 6)}
"""Name -> steps and their width in `STEP`s."""


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    value: str
    note: str = ""


def live_values(cache: Cache, access: Access, span: str, now: float) -> dict[str, Any]:
    """What changes while one looks."""
    recent = cache.stats.recent
    span = span if span in _SPANS else "10m"
    steps, width = _SPANS[span]
    rows = list(recent.calls)[: -ROWS - 1 : -1] if access is Access.ALL else []
    return {
        "version": version_of(cache, span, now),
        "tiles": tiles(cache.stats),
        "chart": chart(recent.over_time(now, steps, width), width),
        "span": span,
        "spans": tuple(_SPANS),
        "rows": [row(seen) for seen in rows],
        "all": access is Access.ALL,
        "isolation": cache.isolation.kind,
    }


def version_of(cache: Cache, span: str, now: float) -> str:
    """The same while there is nothing new to be seen."""
    return f"{cache.stats.recent.count}.{int(now) // STEP}.{span}"


def tiles(stats: Stats) -> list[Tile]:
    hits = stats.statuses["HIT"] + stats.statuses["STALE"]
    asked = hits + stats.statuses["MISS"]
    return [
        Tile("Calls", f"{stats.calls:,}", f"{stats.stored:,} stored"),
        Tile("Hits", f"{hits / asked:.0%}" if asked else "-", f"{hits:,} of {asked:,} looked up"),
        Tile("Tokens saved", f"{stats.saved_tokens:,}", "as the providers counted them"),
        Tile("Waiting saved", units.human_duration(stats.saved_seconds), "by the recorded latency"),
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """A call of the list, and where its links lead."""

    seen: Seen
    kind: str
    """`hits`, `misses`, `others` or `bad`: its colour."""
    word: str
    name: str
    detail: str
    entry: str
    """The key of its entry, where there is one."""


def row(seen: Seen) -> Row:
    kind = {"HIT": "hits", "STALE": "hits", "MISS": "misses", "REFRESH": "misses"}.get(seen.status, "others")
    if seen.note == "refused" or seen.code >= 400:
        kind = "bad"
    has_entry = seen.status in ("HIT", "STALE") or seen.note == "stored"
    return Row(
        seen,
        kind,
        seen.status or "REFUSED",
        seen.model or seen.host,
        " · ".join(filter(None, (seen.protocol, seen.host if seen.model else "", "stream" if seen.stream else ""))),
        seen.key if has_entry else "",
    )
