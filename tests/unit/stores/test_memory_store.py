"""The store in memory keeps the same promises as the one on disk, for as long as the proxy runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import MemoryStore, for_url

PLENTY = 1 << 30


def entry(key: str, body: bytes = b"{}", ttl: float = 0, issued: str = "") -> Entry:
    return Entry(key, 1.0, ttl, 200, (("content-type", "application/json"),), "json", body, issued=issued)


def noise(seed: int, size: int = 1000) -> bytes:
    return random.Random(seed).randbytes(size)


def with_store(steps: Callable[[MemoryStore], Awaitable[None]], max_size: int = PLENTY) -> None:
    async def run() -> None:
        store = for_url("memory:", max_size)
        assert isinstance(store, MemoryStore)
        await store.open()
        await steps(store)
        await store.close()

    asyncio.run(run())


async def left(store: MemoryStore, keys: str) -> str:
    """Which of the keys, one letter each, are there."""
    return "".join([key for key in keys if await store.get(key) is not None])


@pytest.mark.parametrize("body", [b"", b"{}", b"data: [DONE]\n\n" * 9000, noise(1, 300_000)])
def test_an_entry_is_found_byte_for_byte(body: bytes) -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a", body, ttl=5, issued="resp_1"))
        assert await store.get("a") == entry("a", body, ttl=5, issued="resp_1")
        assert await store.get("b") is None

    with_store(steps)


def test_a_later_answer_replaces_an_earlier_one() -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a", b"old"))
        store.put(entry("a", b"new"))
        found = await store.get("a")
        assert found is not None
        assert found.body == b"new"
        assert await store.count() == 1

    with_store(steps)


def test_a_removed_entry_is_gone() -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a"))
        store.put(entry("b"))
        store.remove("a")
        store.remove("c")
        assert await left(store, "abc") == "b"

    with_store(steps)


@pytest.mark.parametrize(("issued", "expected"), [("resp_1", "bc"), ("resp_9", "abc"), ("", "abc")])
def test_only_the_entry_that_issued_an_id_goes_with_it(issued: str, expected: str) -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a", issued="resp_1"))
        store.put(entry("b", issued="resp_2"))
        store.put(entry("c"))
        store.remove_issuer(issued)
        assert await left(store, "abc") == expected

    with_store(steps)


def test_the_entry_that_was_used_longest_ago_goes_first() -> None:
    size = len(entry("a", noise(0)).pack_answer())

    async def steps(store: MemoryStore) -> None:
        for number, key in enumerate("abc"):
            store.put(entry(key, noise(number)))
        await store.get("a")
        store.put(entry("d", noise(4)))
        assert await left(store, "abcd") == "acd"

    with_store(steps, size * 3 + 100)


def test_the_store_stays_under_its_budget() -> None:
    chance = random.Random(0)
    entries = [entry(str(number), noise(number, chance.choice([10, 3000, 40_000]))) for number in range(200)]

    async def steps(store: MemoryStore) -> None:
        for new in entries:
            store.put(new)
            found = [await store.get(old.key) for old in entries]
            assert sum(len(old.pack_answer()) for old in found if old is not None) <= 100_000

    with_store(steps, 100_000)


def test_what_is_replaced_or_removed_makes_room() -> None:
    size = len(entry("a", noise(0)).pack_answer())

    async def steps(store: MemoryStore) -> None:
        for number in range(20):
            store.put(entry("a", noise(number)))
        store.put(entry("x", noise(30)))
        store.remove("x")
        store.put(entry("b", noise(31)))
        assert await left(store, "ab") == "ab"

    with_store(steps, size * 2 + 100)


def test_an_entry_that_cannot_fit_drives_out_no_other() -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a"))
        store.put(entry("b"))
        store.put(entry("c", noise(1, 20_000)))
        assert await left(store, "abc") == "ab"

    with_store(steps, 10_000)


def test_a_store_begins_empty() -> None:
    async def fill(store: MemoryStore) -> None:
        store.put(entry("a"))

    async def check(store: MemoryStore) -> None:
        assert await store.count() == 0

    with_store(fill)
    with_store(check)


def test_entries_come_whole_with_their_requests() -> None:
    async def steps(store: MemoryStore) -> None:
        kept = [replace(entry(key), request=key.encode() * 2000, namespace="n") for key in "abc"]
        for one in kept:
            store.put(one)
        assert [found async for found in store.entries()] == kept

    with_store(steps)


def test_what_is_removed_while_they_are_walked_is_left_out() -> None:
    async def steps(store: MemoryStore) -> None:
        for key in "abcd":
            store.put(entry(key))
        seen = ""
        async for found in store.entries():
            seen += found.key
            store.remove("c")
            store.put(entry("e"))
        assert seen == "abd"

    with_store(steps)


def test_a_purged_namespace_is_empty_and_the_others_are_not() -> None:
    async def steps(store: MemoryStore) -> None:
        for key, namespace in (("a", ""), ("b", "x"), ("c", "x"), ("d", "y")):
            store.put(replace(entry(key), namespace=namespace))
        await store.purge("x")
        assert await left(store, "abcd") == "ad"
        await store.purge("")
        assert await left(store, "abcd") == "d"

    with_store(steps)


def test_one_process_may_always_fetch() -> None:
    async def steps(store: MemoryStore) -> None:
        assert await store.claim("a")
        store.release("a")

    with_store(steps)


def test_failures_are_counted_by_kind_and_store() -> None:
    async def steps(store: MemoryStore) -> None:
        store.put(entry("a", noise(1, 2000)))
        assert dict(store.failures) == {"too-large": 1}
        assert not MemoryStore("memory:", 1).failures

    with_store(steps, 100)
