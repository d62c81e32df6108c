"""`/metrics` in Prometheus' format, made of the counts when somebody asks: calls themselves pay nothing for it.

prometheus-client is imported then, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..calls.reasons import Reason, Status
from .savings import Labels, Row
from .stats import Stats

if TYPE_CHECKING:
    from ..calls.exchange import Exchange
    from .counted import CountedCache

PATH = "/metrics"

_WAIT_FOR_STORE = 0.5
"""Seconds: a store that is away must not keep a scraper waiting."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is not in `Stats`. None: not known."""

    mode: str = ""
    store: str = ""
    """Its kind, as in its URL."""
    entries: int | None = None
    size: int | None = None
    """Bytes."""
    works: bool = True
    queued: int | None = None
    """Writes on their way to the store."""
    dropped: int = 0
    in_flight: int = 0
    """Calls that are being answered by a provider, and their followers."""
    open_streams: int = 0
    """Of these, those that asked for a stream."""


async def answer(cache: CountedCache, under_way: Iterable[Exchange], accept: str = "") -> tuple[str, bytes]:
    """Content type and body. `accept` is the scraper's; `under_way` are the calls that are not over."""
    facts = await _facts(cache, list(under_way))
    return await asyncio.to_thread(render, cache.stats, facts, accept)


async def _facts(cache: CountedCache, under_way: list[Exchange]) -> Facts:
    store = cache.store
    entries: int | None = None
    with suppress(Exception):  # what a store raises when it is away says nothing more than `works`
        async with asyncio.timeout(_WAIT_FOR_STORE):
            entries = await store.count() if store.works else None
    return Facts(
        mode=cache.settings.mode,
        store=store.url.partition(":")[0],
        entries=entries,
        size=store.size,
        works=store.works,
        queued=store.queued,
        dropped=store.dropped,
        in_flight=len(under_way),
        open_streams=sum(1 for exchange in under_way if exchange.call is not None and exchange.call.stream),
    )


def render(stats: Stats, facts: Facts | None = None, accept: str = "") -> tuple[str, bytes]:
    """Content type and body; what `facts` would say is left out without them. May take a second, the first time."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    stats.ledger.price()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(stats, facts))
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)


class _Collector:
    """Reads the counts when it is asked."""

    def __init__(self, stats: Stats, facts: Facts | None) -> None:
        self._stats = stats
        self._facts = facts

    def describe(self) -> Iterator[Any]:
        return iter(())

    def collect(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import InfoMetricFamily

        info = InfoMetricFamily("ai_cache", "Version and mode of the proxy.")
        said = {"mode": self._facts.mode, "store": self._facts.store} if self._facts else {}
        info.add_metric([], {"version": __version__, **said})
        yield info
        yield from _calls(self._stats)
        yield from _times(self._stats)
        yield from _saved(self._stats.ledger.rows())
        yield from _store(self._stats, self._facts)


def _calls(stats: Stats) -> Iterator[Any]:
    rows = stats.ledger.rows()
    yield _counter(
        "ai_cache_calls",
        "AI calls by what became of them.",
        ("status", *Labels._fields),
        [((status, *row.labels), count) for row in rows for status, count in row.statuses.copy().items()],
    )
    yield _counter(
        "ai_cache_reasons",
        "Why calls were missed, bypassed, refreshed or collapsed.",
        ("status", "reason"),
        stats.reasons.copy().items(),
    )
    yield _counter(
        "ai_cache_collapsed",
        "Calls answered by an identical call in flight.",
        (),
        [((), stats.reasons.copy().get((Status.HIT, Reason.COLLAPSED), 0))],
    )
    yield _counter("ai_cache_stored", "Answers that were kept.", (), [((), stats.stored)])
    yield _counter("ai_cache_not_stored", "Answers that were not kept.", ("reason",), _by(stats.not_stored.copy()))
    refused = {"call": stats.missed, "request": stats.refused.total(), "websocket": stats.refused_upgrades}
    yield _counter("ai_cache_refused", "What was answered with an error of ours.", ("kind",), _by(refused))
    yield _counter("ai_cache_connections", "Connections of clients.", (), [((), stats.connections)])
    yield _counter("ai_cache_tunnels", "Connections let through unread.", (), [((), stats.tunnels.total())])
    yield _counter(
        "ai_cache_distrusted",
        "Handshakes broken off by clients that do not trust our certificate.",
        (),
        [((), stats.distrust.total())],
    )


def _times(stats: Stats) -> Iterator[Any]:
    from prometheus_client.metrics_core import HistogramMetricFamily

    look_ups = HistogramMetricFamily("ai_cache_lookup_seconds", "What the store took to look for an answer.")
    look_ups.add_metric([], stats.look_ups.cumulated(), stats.look_ups.sum)
    yield look_ups
    calls = HistogramMetricFamily("ai_cache_call_seconds", "From request to the end of the answer.", labels=["status"])
    for status, histogram in sorted(stats.durations.copy().items()):
        calls.add_metric([status], histogram.cumulated(), histogram.sum)
    yield calls


def _saved(rows: list[Row]) -> Iterator[Any]:
    kinds: list[tuple[tuple[str, ...], float]] = []
    for row in rows:
        saved = row.saved
        fresh = saved.input_tokens - saved.cache_read_tokens - saved.cache_write_tokens
        kinds += [
            (("input", *row.labels), fresh),
            (("output", *row.labels), saved.output_tokens),
            (("cache_read", *row.labels), saved.cache_read_tokens),
            (("cache_write", *row.labels), saved.cache_write_tokens),
        ]
    yield _counter(
        "ai_cache_saved_tokens",
        "Tokens of answers that no provider was asked for. The kinds add up: input is without what a provider's own "
        "cache would have read or written.",
        ("kind", *Labels._fields),
        [(labels, count) for labels, count in kinds if count],
    )
    answered = [row for row in rows if row.saved.calls]
    yield _counter(
        "ai_cache_saved_dollars",
        "What these would have cost at list prices (genai-prices), where the price is known.",
        Labels._fields,
        [(row.labels, float(row.saved.dollars)) for row in answered],
    )
    yield _counter(
        "ai_cache_saved_seconds",
        "How much later a provider would have answered.",
        Labels._fields,
        [(row.labels, row.saved.seconds) for row in answered],
    )
    yield _counter(
        "ai_cache_unknown_price_calls",
        "Calls answered from here whose price is not known.",
        Labels._fields,
        [(row.labels, row.saved.unknown.total()) for row in answered if row.saved.unknown],
    )


def _store(stats: Stats, facts: Facts | None) -> Iterator[Any]:
    failures = _by(stats.store_failures.copy())
    yield _counter("ai_cache_store_failures", "What went wrong with the store.", ("kind",), failures)
    if facts is None:
        return
    yield _counter("ai_cache_store_dropped_writes", "Writes that were given up.", (), [((), facts.dropped)])
    yield _gauge("ai_cache_store_up", "1 while the store answers, 0 while calls go on without it.", int(facts.works))
    yield _gauge("ai_cache_store_entries", "Answers in the store.", facts.entries)
    yield _gauge("ai_cache_store_size_bytes", "Size of the answers and requests in the store.", facts.size)
    yield _gauge("ai_cache_write_queue_length", "Writes on their way to the store.", facts.queued)
    yield _gauge("ai_cache_calls_in_flight", "Calls that wait for a provider.", facts.in_flight)
    yield _gauge("ai_cache_open_streams", "Of these, those that asked for a stream.", facts.open_streams)


def _by(counts: dict[str, int]) -> list[tuple[tuple[str, ...], float]]:
    return [((name,), count) for name, count in counts.items()]


def _counter(
    name: str, help_text: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], float]]
) -> Any:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in counts:
        family.add_metric([value.encode("utf-8", "replace").decode() for value in values], count)
    return family


def _gauge(name: str, help_text: str, value: float | None) -> Any:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help_text)
    if value is not None:
        family.add_metric([], value)
    return family
