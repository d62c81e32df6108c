"""How long entries answer and are kept: one rule, whatever store they are in."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis

from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.entries.entry import KEEP_EXPIRED, Entry
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.stores import Store, for_url
from mitmproxy_ai_cache.stores.redis.names import ENTRY, FOR_EVER
from recording import answer_of, call, chat, settings_for
from valkey import Valkey, started

HOUR, DAY = 3600.0, 86400.0
PLENTY = 1 << 30
QUESTION = chat("Is it still good?", temperature=0.5)


@dataclass
class Clock:
    """What `time.time()` says."""

    now: float

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(time.time())
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with started(Valkey(tmp_path_factory.mktemp("staleness") / "valkey")) as server:
        yield server


@pytest.fixture
def server(valkey: Valkey) -> redis.Redis:
    server = redis.Redis(port=valkey.port)
    server.flushall()
    return server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        request.getfixturevalue("server")
        valkey: Valkey = request.getfixturevalue("valkey")
        return valkey.url
    return {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/store.sqlite3"}[request.param]


def cache_of(store: Store, ttl: str = "1h", stale_if_error: str = "0") -> CountedCache:
    settings = settings_for(store.url, "cache", ai_cache_ttl=ttl, ai_cache_stale_if_error=stale_if_error)
    return CountedCache(settings, store, Isolation("none"))


async def served(store: Store, stale_if_error: str) -> str:
    """How the question is answered while the provider says 503."""
    cache = cache_of(store, stale_if_error=stale_if_error)
    exchange = await cache.begin(Exchange(QUESTION))
    if exchange.response is None:
        cache.stale_response(exchange, 503)
        cache.abandon(exchange)
    await store.flushed()
    return exchange.status


@pytest.mark.parametrize(
    ("written", "today", "age", "status"),
    [
        pytest.param("0", "0", 0.9, "HIT", id="fresh"),
        pytest.param("0", "0", 1.1, "MISS", id="expired"),
        pytest.param("1h", "1h", 1.9, "STALE", id="stale"),
        pytest.param("1h", "1h", 2.1, "MISS", id="too stale"),
        pytest.param("0", "3h", 3.9, "STALE", id="switched on later"),
        pytest.param("0", "3h", 4.1, "MISS", id="switched on later, too stale"),
        pytest.param("1h", "3h", 3.9, "STALE", id="made longer later"),
        pytest.param("3h", "1h", 2.1, "MISS", id="shortened later"),
        pytest.param("3h", "1h", 1.9, "STALE", id="shortened later, still long enough"),
        pytest.param("3h", "0", 1.1, "MISS", id="switched off later"),
    ],
)
def test_where_the_provider_fails_the_setting_of_today_counts(
    written: str, today: str, age: float, status: str, url: str, clock: Clock
) -> None:
    async def main() -> None:
        store = for_url(url, PLENTY)
        await store.open()
        await call(cache_of(store, stale_if_error=written), QUESTION, answer_of("Yes"))
        await store.flushed()
        clock.now += age * HOUR
        assert await served(store, today) == status
        await store.close()

    asyncio.run(main())


# How long they are kept


def entry(key: str, clock: Clock, age: float = 0.0, ttl: float = HOUR, grace: float = 0.0) -> Entry:
    """`age` in seconds."""
    return Entry(key, clock.now - age, ttl, 200, (), "json", b"x" * 900, grace=grace)


@pytest.mark.parametrize(
    ("ttl", "grace", "today", "seconds"),
    [
        (HOUR, 0.0, 0.0, 2 * HOUR),
        (7 * DAY, 0.0, 0.0, 8 * DAY),
        (HOUR, 2 * DAY, 0.0, HOUR + 2 * DAY),
        (HOUR, 0.0, HOUR, 2 * HOUR),
        (HOUR, 0.0, 2 * HOUR, 3 * HOUR),
        (HOUR, 2 * DAY, 3 * DAY, HOUR + 3 * DAY),
        (0.0, 0.0, 0.0, float("inf")),
    ],
)
def test_an_entry_is_kept_as_long_again_as_its_ttl_or_as_long_as_it_may_answer(
    ttl: float, grace: float, today: float, seconds: float
) -> None:
    made = Entry("k", 1000.0, ttl, 200, (), "json", b"", grace=grace)
    assert made.kept_until(today) == 1000.0 + seconds


@pytest.fixture(params=["memory", "sqlite"])
def bounded(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Store:
    """A store with room for two of these entries."""
    made = entry("fresh", clock)
    room = (len(made.pack_answer()) + len(made.pack_request())) * 5 // 2
    return for_url({"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/s"}[request.param], room)


async def after_one_more(store: Store, clock: Clock) -> list[str]:
    """The keys that are left when there is an entry more than there is room for."""
    await store.flushed()
    store.put(entry("new", clock))
    await store.flushed()
    await asyncio.sleep(0.1)  # an eviction may go on behind the write
    left = [each.key async for each in store.entries()]
    await store.close()
    return sorted(left)


@pytest.mark.parametrize(
    ("age", "grace", "left"),
    [
        pytest.param(2 * HOUR + 1, 0.0, ["fresh", "new"], id="kept long enough"),
        pytest.param(2 * HOUR - 1, 0.0, ["new", "old"], id="to be kept"),
        pytest.param(2 * HOUR + 1, 2 * DAY, ["new", "old"], id="to be kept for stale_if_error"),
    ],
)
@pytest.mark.thorough
def test_room_is_made_first_by_what_need_not_be_kept_any_more(
    age: float, grace: float, left: list[str], bounded: Store, clock: Clock
) -> None:
    async def main() -> None:
        await bounded.open()
        bounded.put(entry("fresh", clock))
        await bounded.flushed()
        clock.now += 1
        bounded.put(entry("old", clock, age, grace=grace))
        clock.now += 1
        assert await after_one_more(bounded, clock) == left

    asyncio.run(main())


def test_a_stale_entry_that_may_answer_today_is_kept_longer(bounded: Store, clock: Clock) -> None:
    async def main() -> None:
        await bounded.open()
        bounded.put(entry("fresh", clock))
        await bounded.flushed()
        clock.now += 1
        old = entry("old", clock, 2 * HOUR + 1)
        bounded.put(old)
        bounded.keep_stale(old, 2 * DAY)
        clock.now += 1
        assert await after_one_more(bounded, clock) == ["new", "old"]

    asyncio.run(main())


def test_entries_that_are_replaced_again_and_again_leave_nothing_in_memory(clock: Clock) -> None:
    async def main() -> None:
        store = for_url("memory:", PLENTY)
        for _ in range(1000):
            store.put(entry("same", clock))
        assert len(store._ends) < 200  # type: ignore[attr-defined]

    asyncio.run(main())


def test_a_store_that_is_not_writable_is_not_written_to(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/store.sqlite3"
        old = entry("old", clock, 2 * HOUR)
        store = for_url(url, PLENTY)
        await store.open()
        store.put(old)
        await store.close()
        store = for_url(url, PLENTY, writable=False)
        await store.open()
        store.keep_stale(old, 9 * DAY)
        assert store.dropped == 0
        await store.close()

    asyncio.run(main())


def test_it_is_told_to_stay_longer_once(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        store = for_url(f"sqlite:///{tmp_path}/store.sqlite3", PLENTY)
        await store.open()
        old = entry("old", clock, 2 * HOUR)
        store.put(old)
        await store.flushed()
        for _ in range(20):
            store.keep_stale(old, 9 * DAY)
        assert store.queued == 1
        await store.close()

    asyncio.run(main())
    ((expires,),) = sqlite3.connect(tmp_path / "store.sqlite3").execute("SELECT expires FROM entry")
    assert expires == pytest.approx(clock.now - HOUR + 9 * DAY - KEEP_EXPIRED)


# The time to live of keys on a shared server


def seconds_left(server: redis.Redis, key: str) -> int:
    (name,) = server.keys(f"{ENTRY}*:{key}")
    return int(server.ttl(name))


async def shared(valkey: Valkey) -> Store:
    store = for_url(valkey.url, PLENTY)
    await store.open()
    return store


def test_a_key_lives_as_long_as_its_entry_is_kept(valkey: Valkey, server: redis.Redis, clock: Clock) -> None:
    async def main() -> None:
        store = await shared(valkey)
        store.put(entry("plain", clock))
        store.put(entry("grace", clock, grace=2 * DAY))
        store.put(entry("ever", clock, ttl=0))
        store.put(entry("imported", clock, age=90 * DAY))
        await store.close()

    asyncio.run(main())
    left = {key: seconds_left(server, key) for key in ("plain", "grace", "ever", "imported")}
    wanted = {"plain": 2 * HOUR, "grace": HOUR + 2 * DAY, "ever": FOR_EVER, "imported": DAY}
    assert left == pytest.approx(wanted, abs=30)


@pytest.mark.parametrize(("today", "seconds"), [(9 * DAY, 9 * DAY - HOUR), (HOUR, 2 * HOUR)])
def test_the_key_of_a_stale_entry_lives_longer_never_shorter(
    today: float, seconds: float, valkey: Valkey, server: redis.Redis, clock: Clock
) -> None:
    async def main() -> None:
        store = await shared(valkey)
        old = replace(entry("a", clock), issued="resp_1")
        store.put(old)
        await store.flushed()
        clock.now += 2 * HOUR
        store.keep_stale(old, today)
        await store.close()

    asyncio.run(main())
    assert seconds_left(server, "a") == pytest.approx(seconds, abs=30)
    assert server.ttl("ai-cache:1:issued:resp_1") == pytest.approx(seconds, abs=30)


def test_an_entry_that_is_gone_from_the_server_does_not_come_back(
    valkey: Valkey, server: redis.Redis, clock: Clock
) -> None:
    async def main() -> None:
        store = await shared(valkey)
        old = entry("a", clock)
        store.put(old)
        store.remove("a")
        store.keep_stale(old, 9 * DAY)
        await store.close()

    asyncio.run(main())
    assert server.keys(f"{ENTRY}*") == []
