"""A shared store is browsed like any other: newest first, by the same conditions, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness import free_port
from mitmproxy_ai_cache.entries.selection import EVERYTHING, Selection
from mitmproxy_ai_cache.entries.vault import Vault
from mitmproxy_ai_cache.stores import Store, StoreError, for_url
from mitmproxy_ai_cache.stores.pages import NoSuchPage
from mitmproxy_ai_cache.stores.redis import walk
from unit.stores.test_browse import ENTRIES, PLENTY, SELECTIONS, expected, pages
from valkey import Cluster, Valkey, started

READER = ("ACL", "SETUSER", "reader", "on", ">pw", "~ai-cache:*", "+get", "+scan", "+dbsize")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with started(Valkey(tmp_path_factory.mktemp("v"))) as server:
        yield server


@pytest.fixture(scope="module", params=["one", "cluster"])
def url(request: pytest.FixtureRequest, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with `ENTRIES`."""
    if request.param == "one":
        asyncio.run(fill(valkey.url))
        yield valkey.url
        return
    with started(Cluster(tmp_path_factory.mktemp("c"))) as cluster:
        asyncio.run(fill(cluster.url))
        yield cluster.url


async def fill(url: str) -> None:
    async with opened(url) as store:
        for one in ENTRIES:
            assert store.put(one)


@asynccontextmanager
async def opened(url: str, vault: Vault | None = None) -> AsyncIterator[Store]:
    store = for_url(url, PLENTY, vault=vault)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.thorough
def test_pages_hold_what_the_selection_takes_newest_first(url: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            for conditions in SELECTIONS:
                (page,) = await pages(store, Selection(**conditions), 1000)
                assert page.entries == expected(conditions), conditions
            for limit in (1, 7, 20, 60):
                found = await pages(store, Selection(model="gpt-4o"), limit)
                assert [one for page in found for one in page.entries] == expected({"model": "gpt-4o"})
            assert await store.find(ENTRIES[5].key[:10]) == [ENTRIES[5]]
            assert await store.find("*") == []

    asyncio.run(run())


@pytest.mark.thorough
def test_where_the_time_ends_the_next_page_goes_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_LEAST", 4)
    monkeypatch.setattr(walk, "_MOST", 4)
    monkeypatch.setattr(walk, "_AHEAD", 6)
    monkeypatch.setattr(walk, "_MORE", 5)

    async def run() -> None:
        async with opened(url) as store:
            found = await pages(store, Selection(contains="Köln? 1"), 50, deadline=0.0001)
            assert [one for page in found for one in page.entries] == expected({"contains": "Köln? 1"})
            assert [page.complete for page in found[:-1]] == [False] * (len(found) - 1)
            assert len(found) > 3

    asyncio.run(run())


@pytest.mark.parametrize("after", ["x", "1.1", "12345678.0", "\udcff"])
@pytest.mark.thorough
def test_a_place_that_no_page_gave_is_refused(url: str, after: str) -> None:
    async def run() -> None:
        async with opened(url) as store:
            with pytest.raises(NoSuchPage):
                await store.browse(EVERYTHING, after)

    asyncio.run(run())


def test_what_is_put_removed_or_purged_shows_at_once(valkey: Valkey) -> None:
    async def run() -> None:
        await fill(valkey.url)
        async with opened(valkey.url) as store:
            first = await store.browse(EVERYTHING, limit=10)
            store.remove(ENTRIES[40].key, ENTRIES[40].namespace)
            await store.purge("team/a")
            rest = await store.browse(EVERYTHING, first.next, limit=100)
            assert {one.namespace for one in rest.entries} == {""}
            assert ENTRIES[40] not in rest.entries
            await asyncio.sleep(0.2)  # a list of 60 is good for less
            store.put(ENTRIES[1])
            now = await store.browse(EVERYTHING, limit=100)
            assert [one for one in now.entries if one.namespace] == [ENTRIES[1]]
        valkey.tell("FLUSHALL")
        await fill(valkey.url)

    asyncio.run(run())


def test_it_needs_no_rights_but_those_of_look_ups_and_scan(valkey: Valkey) -> None:
    async def run() -> None:
        await fill(valkey.url)
        valkey.tell(*READER)
        async with opened(valkey.url.replace("://", "://reader:pw@")) as store:
            assert (await store.browse(EVERYTHING, limit=100)).entries == expected({})

    asyncio.run(run())


def test_what_cannot_be_read_is_counted_and_left_out(valkey: Valkey) -> None:
    async def run() -> None:
        await fill(valkey.url)
        async with opened(valkey.url) as store:
            generation = (await anext(store._names())).split(":")[3]  # type: ignore[attr-defined]
        name = f"ai-cache:1:entry:{generation}:"
        valkey.tell("SET", name + "0" * 64, b"nonsense")
        valkey.tell("LPUSH", name + "1" * 64, b"a list")
        async with opened(valkey.url) as store:
            page = await store.browse(EVERYTHING, limit=100)
            assert (len(page.entries), page.unreadable) == (60, 2)
        async with opened(valkey.url, Vault(b"k" * 32)) as store:
            page = await store.browse(EVERYTHING, limit=100)
            assert (page.entries, page.unreadable) == ([], 62)
        valkey.tell("FLUSHALL")

    asyncio.run(run())


def test_a_server_that_is_away_is_one_error(tmp_path: Path) -> None:
    async def run() -> None:
        store = for_url(f"redis://127.0.0.1:{free_port()}", PLENTY)
        for work in (store.browse(EVERYTHING), store.find("ab")):
            with pytest.raises(StoreError):
                await work
        await store.close()

    asyncio.run(run())
