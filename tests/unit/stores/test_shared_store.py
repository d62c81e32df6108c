"""The parts of a shared store that need no server: the breaker, the near cache, what is said of a URL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mitmproxy_ai_cache.stores.redis import generations, near
from mitmproxy_ai_cache.stores.redis.breaker import OPENS_AFTER, Breaker
from mitmproxy_ai_cache.stores.redis.generations import Generations
from mitmproxy_ai_cache.stores.redis.near import NearCache
from mitmproxy_ai_cache.stores.redis.url import shown
from mitmproxy_ai_cache.stores.redis.write_queue import Write, WriteQueue


def test_a_breaker_opens_after_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker()
    said = [breaker.failed() for _ in range(OPENS_AFTER + 3)]
    assert said == [False] * (OPENS_AFTER - 1) + [True] + [False] * 3
    assert breaker.is_open
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]
    assert not breaker.is_open


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(20):
        assert not any(breaker.failed() for _ in range(OPENS_AFTER - 1))
        breaker.succeeded()
    assert not breaker.is_open


def test_the_near_cache_stays_within_its_bytes_and_drops_what_was_used_longest_ago() -> None:
    cache = NearCache(30)
    for key in "abc":
        cache.put(key, key.encode() * 10)
    assert cache.get("a") == b"a" * 10
    cache.put("d", b"d" * 10)
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]
    cache.put("e", b"e" * 31)
    assert cache.get("e") is None
    cache.put("a", b"new")
    assert cache.get("a") == b"new"
    cache.remove("a")
    assert cache.get("a") is None


def test_the_near_cache_forgets_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(near.time, "monotonic", lambda: now)
    cache = NearCache(100)
    cache.put("a", b"x")
    now += near.FRESH - 0.1
    assert cache.get("a") == b"x"
    now += 0.2
    assert cache.get("a") is None


def test_a_near_cache_of_nothing_keeps_nothing() -> None:
    cache = NearCache(0)
    cache.put("a", b"x")
    assert cache.get("a") is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rediss://user:secret@cache.corp:6380/2?ssl_ca_certs=/x", "rediss://cache.corp:6380/2"),
        ("rediss://:secret@cache", "rediss://cache:6379"),
        ("redis://[::1]:1", "redis://[::1]:1"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_said_without_its_secrets(url: str, said: str) -> None:
    assert shown(url) == said


def test_what_was_kept_in_one_generation_is_not_found_in_the_next() -> None:
    cache = NearCache(100)
    cache.put(("n", "a"), b"x", "one")
    assert cache.get(("n", "a"), "one") == b"x"
    assert cache.get(("n", "a"), "two") is None
    cache.put(("n", "a"), b"x" * 100, "two")
    cache.clear()
    cache.put(("n", "b"), b"y" * 100, "two")
    assert cache.get(("n", "b"), "two") == b"y" * 100


def test_a_generation_is_asked_for_once_and_remembered_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 100.0, []
    monkeypatch.setattr(generations.time, "monotonic", lambda: now)

    async def fetch(name: str) -> str:
        asked.append(name)
        await asyncio.sleep(0)
        return f"token {len(asked)}"

    async def run() -> None:
        nonlocal now
        known = Generations()
        assert await asyncio.gather(*(known.current("a/\u00e9", fetch) for _ in range(50))) == ["token 1"] * 50
        now += near.FRESH - 0.1
        assert await known.current("a/\u00e9", fetch) == "token 1"
        now += 0.2
        assert await known.current("a/\u00e9", fetch) == "token 2"
        assert asked == ["ai-cache:1:generation:a%2F%C3%A9"] * 2

    asyncio.run(run())


def test_who_stops_waiting_for_a_generation_leaves_the_others_theirs() -> None:
    async def run() -> None:
        arrived = asyncio.Event()

        async def fetch(name: str) -> str:
            await arrived.wait()
            return "token"

        known = Generations()
        first, second = (asyncio.ensure_future(known.current("n", fetch)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        arrived.set()
        assert await second == "token"

    asyncio.run(run())


def test_a_generation_on_its_way_is_older_than_a_purge() -> None:
    async def run() -> None:
        arrived = asyncio.Event()

        async def fetch(name: str) -> str:
            await arrived.wait()
            return "old"

        known = Generations()
        waiting = asyncio.ensure_future(known.current("n", fetch))
        await asyncio.sleep(0)
        known.learn("n", "new")
        arrived.set()
        assert await waiting == "new"
        assert known.known("n") == "new"

    asyncio.run(run())


def test_no_generation_is_not_remembered() -> None:
    async def run() -> None:
        tokens = iter(["", "made meanwhile"])

        async def fetch(name: str) -> str:
            return next(tokens)

        known = Generations()
        assert [await known.current("n", fetch) for _ in range(3)] == ["", "made meanwhile", "made meanwhile"]

    asyncio.run(run())


def test_generations_of_namespaces_that_strangers_choose_do_not_fill_the_memory() -> None:
    known = Generations()
    for number in range(5000):
        known.learn(str(number), "token")
    assert [known.known(str(number)) for number in (0, 3999, 4000, 4999)] == ["", "", "token", "token"]


def with_queue(steps: Callable[[WriteQueue, list[str]], Awaitable[None]]) -> None:
    """A queue whose writes note their key when they begin, and let others run before they end."""

    async def run() -> None:
        log: list[str] = []

        async def perform(write: Write) -> None:
            log.append(f"{write.about}(")
            for _ in range(3):
                await asyncio.sleep(0)
            log.append(f"{write.about})")

        writes = WriteQueue(perform)
        writes.start()
        await steps(writes, log)
        assert await writes.close(1) == 0

    asyncio.run(run())


async def unused(write: Write) -> None:
    raise AssertionError


def test_writes_about_one_key_keep_their_order_and_others_go_together() -> None:
    async def steps(writes: WriteQueue, log: list[str]) -> None:
        for key in ("a", "b", "a", "", "c"):
            assert writes.put(Write(unused, about=key))
        await writes.flushed(1)
        assert log == ["a(", "b(", "a)", "b)", "a(", "a)", "(", ")", "c(", "c)", "(", ")"]

    with_queue(steps)


def test_a_full_queue_takes_no_more_and_goes_on() -> None:
    async def steps(writes: WriteQueue, log: list[str]) -> None:
        taken = [writes.put(Write(unused, about=str(number))) for number in range(1005)]
        assert taken == [True] * 1000 + [False] * 5
        assert not writes.put(Write(unused, size=1 << 40))
        await writes.flushed(1)
        assert len(log) == 2002
        assert writes.put(Write(unused, about="again"))

    with_queue(steps)


def test_what_waits_is_seen_until_it_is_done_and_cancelled_with_its_namespace() -> None:
    async def steps(writes: WriteQueue, log: list[str]) -> None:
        for namespace, key in (("n", "a"), ("n", "b"), ("m", "c")):
            writes.put(Write(unused, (namespace, key), key, b"packed", issued=f"id {key}"))
        assert writes.issuers("id b") == [("n", "b")]
        writes.cancel("n")
        assert [writes.pending(name) is None for name in (("n", "a"), ("m", "c"))] == [True, False]
        await writes.flushed(1)
        assert log == ["c(", "c)", "(", ")"]
        assert writes.pending(("m", "c")) is None

    with_queue(steps)


def test_a_queue_that_is_closed_in_time_has_done_everything() -> None:
    log: list[str] = []

    async def steps(writes: WriteQueue, seen: list[str]) -> None:
        nonlocal log
        log = seen
        for number in range(100):
            writes.put(Write(unused, about=str(number % 7)))

    with_queue(steps)
    assert len(log) == 200


def test_a_queue_that_hangs_is_left_in_time() -> None:
    async def run() -> int:
        async def hang(write: Write) -> None:
            await asyncio.sleep(60)

        writes = WriteQueue(hang)
        writes.start()
        for number in range(20):
            writes.put(Write(unused, about=str(number)))
        await asyncio.sleep(0)
        await writes.flushed(0.05)
        return await writes.close(0.05)

    assert asyncio.run(run()) > 0


def test_suspicions_in_a_row_ask_for_a_check_and_do_not_open() -> None:
    breaker = Breaker()
    assert [breaker.suspected() for _ in range(OPENS_AFTER + 1)] == [False] * (OPENS_AFTER - 1) + [True, True]
    assert not breaker.is_open
    assert [breaker.open(), breaker.open()] == [True, False]
    assert not breaker.suspected()
    assert breaker.succeeded()
    assert not breaker.suspected()
