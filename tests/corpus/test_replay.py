"""Every recorded exchange through the real core: recorded into files, and replayed from them by a fresh store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.configuration.store_of import store_of
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.identity.hosts import is_side_traffic
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.wire.messages import Headers

pytestmark = needs_corpus

SAMPLE = 150
REDACTED = 9
"""Answers that hold a signature of an Azure blob, one of them two (`test_secrets.py`)."""

SEQUENCES = 384
"""Requests with several answers (README of the corpus)."""


@dataclass
class Outcome:
    """What became of the exchanges, by id or as counts."""

    recorded: dict[str, str] = field(default_factory=dict)
    """The key, by id, of what was kept."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why the others were not."""
    same: int = 0
    redacted: int = 0
    different: list[str] = field(default_factory=list)

    @property
    def sequences(self) -> dict[str, int]:
        """How many answers are kept of each request that has more than one."""
        lengths = Counter(key.partition("-")[0] for key in self.recorded.values())
        return {key: count for key, count in lengths.items() if count > 1}


def cache_on(directory: Path, mode: str) -> CountedCache:
    options = {
        "ai_cache_store": f"cassettes:{directory}",
        "ai_cache_mode": mode,
        "ai_cache_keep_retries": True,
        "ai_cache_max_body": "100m",
        "ai_cache_repeat": "error",
    }
    settings = Settings.parse(options, {})
    return CountedCache(settings, store_of(settings), Isolation("none"))


async def play(chosen: Sequence[Recorded], directory: Path) -> Outcome:
    outcome = Outcome()
    await _record(chosen, directory, outcome)
    await _replay([exchange for exchange in chosen if exchange.id in outcome.recorded], directory, outcome)
    return outcome


async def _record(chosen: Sequence[Recorded], directory: Path, outcome: Outcome) -> None:
    cache = cache_on(directory, "record")
    await cache.store.open()
    for one in chosen:
        exchange = await cache.begin(Exchange(one.request))
        if exchange.response is not None or not exchange.key:
            side = is_side_traffic(one.request.host, one.request.path)
            outcome.refused["side traffic" if side else exchange.reason or f"{one.request.host} is no AI host"] += 1
            continue
        headers = Headers(one.response_headers)
        if capture := cache.storing.watch(exchange, one.status, headers):
            capture(one.response_body)
        before = cache.stats.not_stored.copy()
        cache.storing.finish(exchange, headers, one.response_body, Ending.CLEAN)
        await cache.storing.close()
        if why := cache.stats.not_stored - before:
            outcome.refused[f"{one.protocol} {one.status}: {next(iter(why))}"] += 1
        else:
            outcome.recorded[one.id] = exchange.key
    await cache.close()


async def _replay(chosen: Sequence[Recorded], directory: Path, outcome: Outcome) -> None:
    cache = cache_on(directory, "replay")
    await cache.store.open()
    for one in chosen:
        exchange = await cache.begin(Exchange(one.request))
        assert exchange.entry is not None, (one.id, exchange.status, exchange.reason)
        assert exchange.response is not None
        assert exchange.key == outcome.recorded[one.id]
        got = exchange.response
        if (got.status, got.body) == (one.status, one.response_body):
            outcome.same += 1
        elif exchange.entry.redacted and got.status == one.status:
            outcome.redacted += 1
        else:
            outcome.different.append(one.id)
    assert cache.stats.missed == 0
    await cache.close()


@pytest.mark.thorough
def test_a_sample_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    chosen = exchanges()[:: len(exchanges()) // SAMPLE]
    outcome = asyncio.run(play(chosen, tmp_path))
    assert outcome.different == []
    assert outcome.same > 0.9 * len(chosen)


@pytest.mark.slow
def test_the_whole_corpus_is_replayed_byte_for_byte_and_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = asyncio.run(play(exchanges(), tmp_path))
    with capsys.disabled():
        print(f"\n{len(exchanges())} exchanges: {outcome.same} byte for byte, {outcome.redacted} redacted", end="")
        print(f", {outcome.refused.total()} refused; {len(outcome.sequences)} sequences", end="")
        print(f", the longest of {max(outcome.sequences.values())} answers")
        for reason, count in outcome.refused.most_common():
            print(f"  refused, {reason}: {count}")
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        print(f"  {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    assert outcome.different == []
    assert outcome.redacted == REDACTED
    assert len(outcome.sequences) == SEQUENCES
    assert outcome.same + outcome.redacted + outcome.refused.total() == len(exchanges())
