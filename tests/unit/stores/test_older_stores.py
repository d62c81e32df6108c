"""Stores and cassettes that the version before wrote open, and answer the same calls."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.wire.messages import Request
from older_stores import DAY, HOUR, KEPT, calls, restore
from recording import opened, settings_for
from valkey import Valkey, started

OLDER = Path(__file__).with_name("older")
WRITTEN = 1795880095.0
"""Unix time."""
UNWRITABLE = "stale for two days"
"""The version before did not record answers while `ai_cache_stale_if_error` was set."""


@pytest.fixture(params=["sqlite", "redis", "cassettes"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "cassettes":
        shutil.copytree(OLDER / "cassettes", tmp_path / "cassettes")
        yield f"cassettes:{tmp_path}/cassettes"
    elif request.param == "sqlite":
        (tmp_path / "store.sqlite3").write_bytes(gzip.decompress((OLDER / "sqlite.gz").read_bytes()))
        yield f"sqlite:///{tmp_path}/store.sqlite3"
    else:
        with started(Valkey(tmp_path / "valkey")) as server:
            restore(redis.Redis(port=server.port), json.loads((OLDER / "redis.json").read_text()))
            yield server.url


@asynccontextmanager
async def cache_at(url: str, age: float, monkeypatch: pytest.MonkeyPatch, **more: str) -> AsyncIterator[CountedCache]:
    """`age` in seconds since the entries were written."""
    monkeypatch.setattr(time, "time", lambda: WRITTEN + age)
    mode = "replay" if url.startswith("cassettes:") else "cache"
    cache = await opened(settings_for(url, mode, **more))
    try:
        yield cache
    finally:
        await cache.close()


async def served(cache: CountedCache, request: Request) -> Exchange:
    """How a call is answered while the provider says 503."""
    exchange = await cache.begin(Exchange(request))
    stale = cache.stale_response(exchange, 503) if exchange.response is None else None
    if stale is not None:
        exchange.answered = replace(exchange.answered, response=stale)
        cache.abandon(exchange)
    return exchange


def test_each_call_has_the_key_it_had_and_is_answered_byte_for_byte(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cache_at(url, 60, monkeypatch) as cache:
            there = {entry.key async for entry in cache.store.entries()}
            for name, request, answer, _ in calls():
                if name.startswith(UNWRITABLE) and url.startswith("cassettes:"):
                    continue
                exchange = await served(cache, request)
                assert (exchange.status, exchange.key in there) == ("HIT", True), (name, exchange.reason)
                assert exchange.response is not None
                assert exchange.response.body == answer
                there.remove(exchange.key)
            assert not there

    asyncio.run(main())


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)  # recordings do not expire
@pytest.mark.parametrize(
    ("age", "today", "answered"),
    [
        (2 * HOUR, "0", {"for ever": "HIT", "a week": "HIT", "an hour": "MISS", "stale for two days": "MISS"}),
        (2 * HOUR, "3h", {"for ever": "HIT", "a week": "HIT", "an hour": "STALE", "stale for two days": "STALE"}),
        (8 * DAY, "2d", {"for ever": "HIT", "a week": "STALE", "an hour": "MISS", "stale for two days": "MISS"}),
    ],
)
def test_todays_stale_if_error_counts_for_them(
    url: str, age: float, today: str, answered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with cache_at(url, age, monkeypatch, ai_cache_stale_if_error=today) as cache:
            found = {name: (await served(cache, request)).status for name, request, _, _ in calls() if name in KEPT}
            assert found == answered

    asyncio.run(main())
