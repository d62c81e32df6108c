"""The order that a shared server keeps: cheap to read, right at all times, and no larger than what it orders."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.selection import EVERYTHING, Selection
from mitmproxy_ai_cache.stores.redis import recent
from mitmproxy_ai_cache.stores.redis.store import RedisStore
from valkey import Cluster, Valkey, started

SORTED = [f"-{right}" for right in ("zadd", "zrem", "zrange", "zmscore", "zrandmember")]
DAY = 86400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with started(Valkey(tmp_path_factory.mktemp("v"))) as server:
        yield server


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    server.tell("FLUSHALL")
    return server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(Cluster(tmp_path_factory.mktemp("c"))) as cluster:
        yield cluster


@pytest.fixture(params=["one", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty server."""
    if request.param == "one":
        return str(request.getfixturevalue("valkey").url)
    cluster: Cluster = request.getfixturevalue("cluster")
    for node in cluster.nodes:
        node.tell("FLUSHALL")
    return cluster.url


def entry(number: int, created: float | None = None, space: str = "", ttl: float = 0, model: str = "m") -> Entry:
    made = float(number) if created is None else created
    return Entry(f"{number:064x}", made, ttl, 200, (), "json", b"{}", b"{}", model=model, namespace=space)


@asynccontextmanager
async def opened(url: str, *entries: Entry, writable: bool = True) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, 0, writable)
    await store.open()
    try:
        for one in entries:
            assert store.put(one)
        await store.flushed()
        yield store
    finally:
        await store.close()


def with_store(url: str, steps: Callable[[RedisStore], Awaitable[None]], *entries: Entry) -> None:
    async def run() -> None:
        async with opened(url, *entries) as store:
            await steps(store)
            assert (store.dropped, dict(store.failures)) == (0, {})

    asyncio.run(run())


async def listed(store: RedisStore, selection: Selection = EVERYTHING, limit: int = 1000) -> list[int]:
    """What all pages show."""
    page = await store.browse(selection, limit=limit, deadline=10)
    found = [*page.entries]
    while page.next:
        page = await store.browse(selection, page.next, limit, 10)
        found += page.entries
    return [int(one.key, 16) for one in found]


def sets(valkey: Valkey) -> list[str]:
    return sorted(name.decode() for name in valkey.tell("KEYS", "ai-cache:1:recent:*"))


def entry_names(valkey: Valkey) -> list[str]:
    return sorted(name.decode() for name in valkey.tell("KEYS", "ai-cache:1:entry:*"))


def size(valkey: Valkey) -> int:
    return sum(valkey.tell("ZCARD", name) for name in sets(valkey))


def reads(valkey: Valkey) -> int:
    """Keys that were read and found, ever."""
    return int(valkey.tell("INFO", "stats")["keyspace_hits"])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("selection", "most"),
    [
        (EVERYTHING, 20),
        (Selection(model="odd"), 100),
        (Selection(before=41.0), 20),
        (Selection(after=399.0), 20),
        (Selection(key=f"{10:064x}"), 20),
    ],
)
def test_a_page_reads_no_more_than_it_needs(selection: Selection, most: int, valkey: Valkey) -> None:
    async def steps(store: RedisStore) -> None:
        await listed(store, limit=1)
        before = reads(valkey)
        page = await store.browse(selection, limit=10)
        assert page.complete
        assert page.entries == [one for one in reversed(entries) if selection.matches(one)][:10]
        assert reads(valkey) - before <= most + 5

    entries = [entry(number, model=("even", "odd")[number % 2]) for number in range(400)]
    with_store(valkey.url, steps, *entries)


def test_where_entries_are_large_only_those_of_the_model_are_read_whole(valkey: Valkey) -> None:
    def sent() -> int:
        return int(valkey.tell("INFO", "stats")["total_net_output_bytes"])

    async def steps(store: RedisStore) -> None:
        for model, limit, most in (("odd", 1000, 1_300_000), ("none", 10, 900_000), ("ev*", 5, 600_000)):
            before = sent()
            page = await store.browse(Selection(model=model), limit=limit, deadline=10)
            assert page.entries == [one for one in reversed(entries) if one.model.startswith(model[:2])][:limit]
            assert sent() - before < most

    # Of 4 MB a beginning is read to learn how large they are, then 2 kB of each.
    large = [os.urandom(20_000) for _ in range(200)]  # does not get smaller
    entries = [replace(entry(n, model="even" if n % 10 else "odd"), body=body) for n, body in enumerate(large)]
    with_store(valkey.url, steps, *entries)


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
@pytest.mark.thorough
def test_namespaces_are_one_list_though_much_was_made_at_the_same_time(limit: int, url: str) -> None:
    async def steps(store: RedisStore) -> None:
        assert sorted(await listed(store, limit=limit)) == list(range(60))
        page = await store.browse(EVERYTHING, limit=1000)
        assert [one.created for one in page.entries] == sorted((one.created for one in entries), reverse=True)
        assert sorted(await listed(store, Selection(namespace="b c/\u00e9"), limit)) == list(range(1, 60, 3))
        assert await listed(store, Selection(namespace="none"), limit) == []

    entries = [entry(n, float(n % 4), ("", "b c/\u00e9", "a\nb")[n % 3]) for n in range(60)]
    with_store(url, steps, *entries)


@pytest.mark.thorough
def test_what_is_removed_between_two_pages_hides_nothing_else(url: str) -> None:
    async def steps(store: RedisStore) -> None:
        seen, after = 0, ""
        while True:
            page = await store.browse(EVERYTHING, after, 7, 10)
            for one in page.entries:
                store.remove(one.key, one.namespace)
            await store.flushed()
            seen, after = seen + len(page.entries), page.next
            if not after:
                break
        assert seen == 60
        assert await listed(store) == []
        await store.flushed()

    with_store(url, steps, *(entry(n, 5.0, ("", "x")[n % 2]) for n in range(60)))


def test_a_page_behind_more_of_the_same_time_than_are_read_together(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitmproxy_ai_cache.stores.redis.walk._MORE", 3)
    monkeypatch.setattr("mitmproxy_ai_cache.stores.redis.walk._AHEAD", 2)

    async def steps(store: RedisStore) -> None:
        assert await listed(store, limit=7) == [*range(50, 46, -1), *range(40, -1, -1)]

    with_store(url, steps, *(entry(n, 5.0) for n in range(41)), *(entry(n, 9.0) for n in range(47, 51)))


def test_a_member_whose_entry_is_gone_is_passed_over_and_removed(valkey: Valkey) -> None:
    async def run() -> None:
        async with opened(valkey.url, *map(entry, range(20))):
            valkey.tell("DEL", *entry_names(valkey)[5:15])
        kept = [*range(19, 14, -1), *range(4, -1, -1)]
        async with opened(valkey.url, writable=False) as store:
            assert await listed(store, limit=3) == kept
            assert size(valkey) == 20
        async with opened(valkey.url) as store:
            assert await listed(store) == kept
            assert size(valkey) == 10

    asyncio.run(run())


def test_a_member_whose_entry_is_there_again_is_put_back(valkey: Valkey) -> None:
    async def steps(store: RedisStore) -> None:
        (name,) = sets(valkey)
        await store._recent.drop(name.rpartition(":")[2], [(3.0, entry(3).key), (4.0, "gone")])
        assert valkey.tell("ZRANGE", name, 0, -1) == [entry(3).key.encode()]

    with_store(valkey.url, steps, entry(3))
    assert size(valkey) == 1


@pytest.mark.parametrize("lost", ["all of it", "a part"])
@pytest.mark.thorough
def test_a_set_that_the_server_lost_is_made_again(lost: str, url: str, valkey: Valkey, cluster: Cluster) -> None:
    nodes = [valkey, *cluster.nodes]

    async def steps(store: RedisStore) -> None:
        for node in nodes:
            for name in sets(node):
                node.tell("DEL", name) if lost == "all of it" else node.tell("ZPOPMAX", name, 5)
        async with opened(url, writable=False) as reader:
            assert sorted(await listed(reader, limit=7)) == list(range(30))
            assert sum(map(size, nodes)) == (0 if lost == "all of it" else 15)
        assert sorted(await listed(store, limit=7)) == list(range(30))
        assert sum(map(size, nodes)) == 30
        assert await listed(store, limit=7) == list(range(29, -1, -1))

    for node in nodes:
        node.tell("FLUSHALL")
    with_store(url, steps, *(entry(number, space=("", "x", "y")[number % 3]) for number in range(30)))
    for node in nodes:
        assert all(node.tell("TTL", name) > 9 * 365 * DAY for name in sets(node))


@pytest.mark.thorough
def test_what_expires_unseen_leaves_no_set_without_end(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_SWEEP_EVERY", 20)
    monkeypatch.setattr(recent, "_SWEPT", 20)

    async def steps(store: RedisStore) -> None:
        for turn in range(30):
            for number in range(turn * 40, turn * 40 + 40):
                store.put(entry(number))
            await store.flushed()
            valkey.tell("DEL", *entry_names(valkey)[20:])  # the oldest stay, so that age alone tells nothing
            while store._recent._tasks:
                await asyncio.sleep(0.001)
        assert 20 <= size(valkey) < 200

    with_store(valkey.url, steps)


def test_an_entry_takes_its_member_with_it(valkey: Valkey) -> None:
    async def steps(store: RedisStore) -> None:
        store.put(Entry("b" * 64, 1.0, 60, 200, (), "json", b"{}", issued="resp_1"))
        await store.flushed()
        assert size(valkey) == 3
        store.remove(entry(1).key)
        store.remove_issuer("resp_1")
        await store.flushed()
        assert size(valkey) == 1
        await store.purge("")
        assert sets(valkey) == []
        assert await listed(store) == []

    with_store(valkey.url, steps, entry(1), entry(2))


def test_a_set_stays_as_long_as_its_entries_and_not_for_ever(valkey: Valkey) -> None:
    def left() -> int:
        (name,) = sets(valkey)
        return int(valkey.tell("TTL", name))

    async def run() -> None:
        now = time.time()
        for ttl, least in ((60, DAY), (2 * DAY, 4 * DAY), (60, 4 * DAY), (0, 3651 * DAY)):
            async with opened(valkey.url, entry(1, now, ttl=ttl), entry(2, now, ttl=ttl)):
                pass
            assert least - 10 < left() <= least + 180, ttl

    asyncio.run(run())


def test_who_may_not_use_sorted_sets_stores_and_lists_all_the_same(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.tell("ACL", "SETUSER", "app", "on", ">pw", "~ai-cache:*", "+@all", *SORTED)

    async def run() -> None:
        async with opened(valkey.url.replace("://", "://app:pw@"), *map(entry, range(10))) as store:
            assert store.dropped == 0
            assert await listed(store, limit=4) == list(range(9, -1, -1))
            store.remove(entry(0).key)
            await store.flushed()
            await store.purge("none")
            assert await listed(store) == list(range(9, 0, -1))
            assert store.dropped == 0
        assert sets(valkey) == []
        async with opened(valkey.url) as store:  # one that may
            assert await listed(store) == list(range(9, 0, -1))
            assert size(valkey) == 9

    with caplog.at_level(logging.INFO, "ai-cache"):
        asyncio.run(run())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ai-cache"]
    assert "+zadd" in line
    assert line.endswith("answers are kept, but listed slowly")


def test_a_namespace_of_another_process_is_listed_within_a_moment(valkey: Valkey) -> None:
    async def run() -> None:
        async with opened(valkey.url, entry(1)) as one:
            assert await listed(one) == [1]
            async with opened(valkey.url, entry(2, space="theirs")):
                pass
            async with asyncio.timeout(10):
                while await listed(one) != [2, 1]:
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_where_the_keys_of_a_server_take_longer_than_a_page_the_next_one_goes_on(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(store: RedisStore) -> None:
        may, scan = asyncio.Event(), store._client.scan_iter

        async def slow(**arguments: object) -> AsyncIterator[bytes]:
            await may.wait()
            async for name in scan(**arguments):
                yield name

        monkeypatch.setattr(store._client, "scan_iter", slow)
        page = await store.browse(EVERYTHING, deadline=0.01)
        assert (page.entries, page.next, page.complete) == ([], "recent", False)
        may.set()
        page = await store.browse(EVERYTHING, page.next, deadline=10)
        assert (page.entries, page.next, page.complete) == ([entry(1)], "", True)

    with_store(valkey.url, steps, entry(1))


def test_a_put_is_one_round_trip(valkey: Valkey) -> None:
    async def steps(store: RedisStore) -> None:
        await asyncio.gather(*store._recent._tasks)
        told = {"info", "client|setinfo"}
        before = valkey.tell("INFO", "commandstats")
        store.put(entry(2))
        await store.flushed()
        await asyncio.sleep(0)
        after = valkey.tell("INFO", "commandstats")
        calls = {
            name.removeprefix("cmdstat_"): values["calls"] - before.get(name, {"calls": 0})["calls"]
            for name, values in after.items()
        }
        assert {name: count for name, count in calls.items() if count and name not in told} == {"set": 1, "zadd": 1}

    with_store(valkey.url, steps, entry(1))
