"""After 200 mixed calls of the corpus all numbers agree: totals, summary, report, metrics and the sum of the store."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.cli import main
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.configuration.store_of import store_of
from mitmproxy_ai_cache.counts import metrics
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.counts.savings import dollars, sum_of
from mitmproxy_ai_cache.counts.stats import Stats
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.wire.messages import Headers

pytestmark = needs_corpus

CALLS = 200


async def play(store: str) -> tuple[Stats, list[Entry], int]:
    """The counts, what is stored, and the hits whose tokens were seen in their entries."""
    settings = Settings.parse({"ai_cache_store": store}, {})
    cache = CountedCache(settings, store_of(settings), Isolation("none"))
    await cache.store.open()
    seen = 0
    different = {(one.request.method, one.request.url, one.request.query, one.request.body): one for one in exchanges()}
    for one in random.Random(7).sample(list(different.values()), CALLS // 2) * 2:
        exchange = await cache.begin(Exchange(one.request))
        if exchange.response is None and exchange.status:
            headers = Headers(one.response_headers)
            if capture := cache.storing.watch(exchange, one.status, headers):
                capture(one.response_body)
            cache.storing.finish(exchange, headers, one.response_body, Ending.CLEAN)
            await cache.storing.finished()
        elif exchange.entry is not None:
            seen += exchange.entry.input_tokens + exchange.entry.output_tokens
    await cache.store.flushed()
    entries = [entry async for entry in cache.store.entries()]
    await cache.store.close()
    return cache.stats, entries, seen


def test_all_numbers_agree_to_the_last_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = f"sqlite:///{tmp_path / 's.sqlite3'}"
    stats, entries, seen = asyncio.run(play(store))
    totals = stats.totals()
    saved = totals.saved
    assert totals.calls > 0.9 * CALLS
    assert totals.hits == saved.calls > CALLS // 3
    assert saved.tokens == seen > 20_000
    assert f"saved {saved.tokens:,} tokens" in stats.summary()[0]
    assert dollars(saved.dollars) in stats.summary()[0]
    assert stats.as_json()["saved"] == saved.as_json()
    samples = [
        sample
        for family in text_string_to_metric_families(metrics.render(stats)[1].decode())
        for sample in family.samples
    ]

    def summed(name: str) -> float:
        return sum(sample.value for sample in samples if sample.name == name)

    assert summed("ai_cache_saved_tokens_total") == saved.tokens
    assert abs(summed("ai_cache_saved_dollars_total") - float(saved.dollars)) < 1e-9
    assert summed("ai_cache_unknown_price_calls_total") == saved.unknown.total()
    assert summed("ai_cache_calls_total") == totals.calls
    bought = sum_of(entries)
    assert bought.tokens == sum(entry.input_tokens + entry.output_tokens for entry in entries)
    assert bought.calls == totals.stored == len(entries)
    assert bought.dollars > 0
    # Each entry was hit once: what they cost is what was saved.
    assert main(["stats", "--json", "--store", store]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["entries"], told["tokens"]) == (totals.hits, saved.tokens)
    assert abs(float(told["dollars"]) - float(saved.dollars)) < 1e-9
