"""The first page: totals, calls over time, the last calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..counts.counted import CountedCache
from ..counts.recent_calls import STEP, Seen
from ..counts.savings import dollars
from ..counts.stats import Totals
from ..wire import units
from .chart import chart
from .guard import Access

ROWS = 50
_SPANS = {"10m": (60, 1), "1h": (60, 6)}
"""Name -> steps and their width in `STEP`s."""


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    value: str
    note: str = ""


def live_values(cache: CountedCache, totals: Totals, access: Access, span: str, now: float) -> dict[str, Any]:
    """What changes while one looks."""
    recent = cache.stats.recent
    span = span if span in _SPANS else "10m"
    steps, width = _SPANS[span]
    rows = list(recent.calls)[: -ROWS - 1 : -1] if access is Access.ALL else []
    return {
        "version": version_of(cache, span, now),
        "tiles": tiles(totals),
        "chart": chart(recent.over_time(now, steps, width), width),
        "span": span,
        "spans": tuple(_SPANS),
        "rows": [row(seen) for seen in rows],
        "all": access is Access.ALL,
        "isolation": str(cache.isolation),
    }


def version_of(cache: CountedCache, span: str, now: float) -> str:
    """The same while there is nothing new to be seen."""
    return f"{cache.stats.recent.count}.{int(now) // STEP}.{span}"


def tiles(totals: Totals) -> list[Tile]:
    hits, saved = totals.hits + totals.stale, totals.saved
    asked = hits + totals.misses
    collapsed = f", {totals.collapsed:,} from calls under way" if totals.collapsed else ""
    unknown = saved.unknown.total()
    return [
        Tile("Calls", f"{totals.calls:,}", f"{totals.stored:,} stored"),
        Tile("Hits", f"{hits / asked:.0%}" if asked else "-", f"{hits:,} of {asked:,} looked up{collapsed}"),
        Tile(
            "Dollars saved",
            dollars(saved.dollars) if saved.dollars else "$0",
            f"{unknown:,} of unknown price" if unknown else "at list prices",
        ),
        Tile("Tokens saved", f"{saved.tokens:,}", f"{saved.input_tokens:,} in, {saved.output_tokens:,} out"),
        Tile("Waiting saved", units.human_duration(saved.seconds), "by the latency that was recorded"),
    ]


def state(cache: CountedCache, entries: int | None) -> list[tuple[str, str]]:
    """What is set, and how the store is."""
    settings, store = cache.settings, cache.store
    found = [("Mode", f"{settings.mode} ({settings.mode_why})" if settings.mode_why else settings.mode)]
    found.append(("Store", store.url if store.works else f"{store.url}, which does not answer now"))
    size = f", {units.human_size(store.size)}" if store.size is not None else ""
    found.append(("Entries", "unknown" if entries is None else f"{entries:,}{size}"))
    if store.queued:
        found.append(("Waiting to be written", f"{store.queued:,}"))
    if store.dropped:
        found.append(("Writes given up", f"{store.dropped:,}"))
    if store.failures:
        found.append(("Store failures", ", ".join(f"{kind} {n:,}" for kind, n in store.failures.most_common(4))))
    if cache.isolation.kind != "none":
        found.append(("Entries apart by", str(cache.isolation)))
    return found


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
    kind = "hits" if seen.status.from_store else "misses" if seen.status.asked_provider else "others"
    if seen.note == "refused" or seen.code >= 400:
        kind = "bad"
    has_entry = seen.status.from_store or seen.note == "stored"
    return Row(
        seen,
        kind,
        seen.status or "REFUSED",
        seen.model or seen.host,
        " · ".join(filter(None, (seen.protocol, seen.host if seen.model else "", "stream" if seen.stream else ""))),
        seen.key if has_entry else "",
    )
