"""Stores are browsed in pages: newest first, each entry once, and nothing that a selection does not take."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.selection import EVERYTHING, Selection
from mitmproxy_ai_cache.entries.vault import Vault
from mitmproxy_ai_cache.stores import Store, StoreError, for_url
from mitmproxy_ai_cache.stores.cassettes.store import CassetteStore
from mitmproxy_ai_cache.stores.pages import NoSuchPage, Page, page_of
from mitmproxy_ai_cache.stores.sqlite import thread as sqlite_thread
from unit.stores.test_cassette_store import key_of

PLENTY = 1 << 30
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet", "[odd]")
HOSTS = ("api.openai.com", "API.anthropic.com:8443", "eu.openai.azure.com")


def entry(number: int) -> Entry:
    question = {"model": MODELS[number % 4], "messages": [{"role": "user", "content": f"Wo liegt Köln? {number}."}]}
    made = Entry(
        key="",
        created=1000.0 + number,
        ttl=0,
        status=200,
        headers=(("content-type", "application/json"),),
        format="json",
        body=json.dumps({"said": f'Am "Rhein"\n{number}!' + " viel" * 400}).encode(),
        request=json.dumps(question).encode(),
        request_headers=(("content-type", "application/json"),),
        protocol="openai-chat",
        model=MODELS[number % 4],
        url=f"https://{HOSTS[number % 3]}/v1/chat%20{number % 7}",
        namespace=("", "team/a")[number % 2],
        run=f"{number // 10:012x}",
    )
    return replace(made, key=key_of(made))


ENTRIES = [entry(number) for number in range(60)]

SELECTIONS: list[dict[str, Any]] = [
    {},
    {"all": True},
    {"model": "gpt-4o*"},
    {"model": "[[]odd]"},
    {"model": "*[!d]"},
    {"model": "nothing"},
    {"host": "*.OPENAI.*"},
    {"host": "api.anthropic.com"},
    {"namespace": "team/a"},
    {"namespace": ""},
    {"run": f"{2:012x}"},
    {"run": "\udcff"},
    {"before": 1030.0},
    {"after": 1030.0},
    {"after": 1010.0, "before": 1020.0},
    {"key": ENTRIES[7].key[:6]},
    {"key": ""},
    {"contains": "Köln? 7."},
    {"contains": '"Rhein"\n3'},
    {"contains": "viel viel"},
    {"contains": "chat 5"},
    {"contains": "nowhere"},
    {"contains": "Rhein", "model": "[c]laude*", "after": 1005.0},
    {"contains": "Köln", "host": "*azure*", "run": f"{1:012x}"},
]


@contextlib.asynccontextmanager
async def opened(kind: str, folder: Path, *entries: Entry) -> AsyncIterator[Store]:
    """A store of a kind with these entries."""
    store: Store
    if kind == "cassettes":
        store = CassetteStore(f"cassettes:{folder}", folder, key_of, "1")
    else:
        store = for_url("memory:" if kind == "memory" else f"sqlite:///{folder / 'cache.sqlite3'}", PLENTY)
    if kind == "encrypted":
        store.vault = Vault(b"k" * 32)
    await store.open()
    for one in entries:
        assert store.put(one)
    await store.flushed()
    if kind == "signed":
        await signed(folder / "cache.sqlite3")
    try:
        yield store
    finally:
        await store.close()


async def signed(path: Path) -> None:
    """Wait till a search need not read all entries."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        until = time.monotonic() + 60
        while (
            file.execute("SELECT count(*) FROM search").fetchone()
            != file.execute("SELECT entries FROM total").fetchone()
        ):
            assert time.monotonic() < until
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def signed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "_SIGN_FROM", 0.0)


KINDS = ["sqlite", "signed", "encrypted", "memory", "cassettes"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def with_store(kind: str, folder: Path, steps: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(kind, folder, *ENTRIES) as store:
            await steps(store)

    asyncio.run(run())


async def pages(store: Store, selection: Selection, limit: int, deadline: float = 5.0) -> list[Page]:
    found = [await store.browse(selection, limit=limit, deadline=deadline)]
    while found[-1].next:
        assert len(found) < 1000
        found.append(await store.browse(selection, found[-1].next, limit, deadline))
    return found


def expected(conditions: dict[str, Any]) -> list[Entry]:
    return [one for one in reversed(ENTRIES) if not conditions or Selection(**conditions).matches(one)]


@pytest.mark.thorough
def test_a_page_holds_what_the_selection_takes_newest_first(kind: str, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        for conditions in SELECTIONS:
            (page,) = await pages(store, Selection(**conditions), 1000)
            assert page.entries == expected(conditions), conditions
            assert page.complete

    with_store(kind, tmp_path, steps)


@pytest.mark.parametrize("limit", [1, 7, 20, 60])
@pytest.mark.thorough
def test_pages_in_a_row_hold_each_entry_once(kind: str, limit: int, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        for conditions in ({}, {"model": "gpt-4o"}, {"contains": "Köln? 1"}):
            found = await pages(store, Selection(**conditions), limit)
            assert [one for page in found for one in page.entries] == expected(conditions)
            assert all(len(page.entries) == limit for page in found[:-1])

    with_store(kind, tmp_path, steps)


@pytest.mark.thorough
def test_where_the_time_ends_the_next_page_goes_on(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitmproxy_ai_cache.stores.sqlite.sqlite_pages._SLICE", 0.0)

    async def steps(store: Store) -> None:
        found = await pages(store, Selection(contains="Köln? 1"), 50, deadline=0.0005)
        assert [one for page in found for one in page.entries] == expected({"contains": "Köln? 1"})
        assert [page.complete for page in found[:-1]] == [False] * (len(found) - 1)

    with_store(kind, tmp_path, steps)


def test_a_last_full_page_says_that_it_is_the_last(kind: str, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        assert (await store.browse(EVERYTHING, limit=60)).next == ""

    with_store(kind, tmp_path, steps)


def test_an_entry_is_found_by_the_beginning_of_its_key(kind: str, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        for one in ENTRIES[:5]:
            assert await store.find(one.key[:12]) == [one]
            assert await store.find(one.key) == [one]
        assert await store.find("zz") == []
        assert await store.find("\udcff") == []
        assert len(await store.find("", limit=3)) == 3

    with_store(kind, tmp_path, steps)


@pytest.mark.parametrize("after", ["x", "-1", "9" * 40, "²", "nan x", "'; DROP TABLE entry"])
@pytest.mark.thorough
def test_a_place_that_no_page_gave_is_refused(kind: str, after: str, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        with pytest.raises(NoSuchPage):
            await store.browse(EVERYTHING, after)

    with_store(kind, tmp_path, steps)


def test_what_is_removed_or_purged_is_not_shown(kind: str, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        store.remove(ENTRIES[4].key, ENTRIES[4].namespace)
        await store.purge("team/a")
        (page,) = await pages(store, Selection(), 1000)
        assert page.entries == [one for one in expected({"namespace": ""}) if one != ENTRIES[4]]

    with_store(kind, tmp_path, steps)


def test_an_empty_store_has_one_empty_page(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(kind, tmp_path) as store:
            assert await store.browse(EVERYTHING) == Page([])
            assert await store.find("ab") == []

    asyncio.run(run())


def test_an_entry_that_was_replaced_is_the_newest_again() -> None:
    async def steps(store: Store) -> None:
        again = replace(ENTRIES[3], created=5000.0)
        store.put(again)
        assert (await store.browse(EVERYTHING, limit=2)).entries == [again, ENTRIES[-1]]

    with_store("memory", Path(), steps)


def test_what_cannot_be_read_is_counted_and_left_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened("sqlite", tmp_path, *ENTRIES):
            pass
        with contextlib.closing(sqlite3.connect(tmp_path / "cache.sqlite3")) as file, file:
            file.execute("UPDATE entry SET answer = substr(answer, 1, 300) WHERE id = 3")
            file.execute("UPDATE entry SET request = 'text' WHERE id = 5")
        async with opened("sqlite", tmp_path) as store:
            page = await store.browse(EVERYTHING, limit=100)
            assert (len(page.entries), page.unreadable) == (58, 2)
            page = await store.browse(Selection(contains="Köln"), limit=100)
            assert (len(page.entries), page.unreadable) == (58, 2)
        async with opened("encrypted", tmp_path) as store:
            page = await store.browse(EVERYTHING, limit=100)
            assert (page.entries, page.unreadable) == ([], 60)

    asyncio.run(run())


def test_what_is_encrypted_is_counted_where_there_is_no_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened("encrypted", tmp_path, *ENTRIES):
            pass
        async with opened("sqlite", tmp_path) as store:
            for conditions in ({}, {"contains": "Köln"}, {"run": f"{1:012x}"}):
                page = await store.browse(Selection(**conditions), limit=100)
                assert (page.entries, page.unreadable) == ([], 60)

    asyncio.run(run())


def test_a_file_that_is_gone_or_no_store_is_an_error_and_nothing_is_made(tmp_path: Path) -> None:
    async def run() -> None:
        store = for_url(f"sqlite:///{tmp_path / 'cache.sqlite3'}", PLENTY)  # not opened: nobody mends the file
        for content in (None, b"nonsense" * 1000):
            if content is not None:
                (tmp_path / "cache.sqlite3").write_bytes(content)
            with pytest.raises(StoreError):
                await store.browse(EVERYTHING)
            with pytest.raises(StoreError):
                await store.find("ab")
            assert (tmp_path / "cache.sqlite3").exists() == (content is not None)

    asyncio.run(run())


def test_a_recording_that_may_not_be_written_is_browsed_as_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened("sqlite", tmp_path, *ENTRIES):
            pass
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        store = for_url(f"sqlite:///{tmp_path / 'cache.sqlite3'}", PLENTY, writable=False)
        await store.open()
        assert (await store.browse(EVERYTHING, limit=100)).entries == expected({})
        await store.close()
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before

    asyncio.run(run())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50), deadline=None)
@given(st.lists(st.sampled_from(ENTRIES[:9]), max_size=30), st.integers(1, 5))
def test_entries_in_no_order_become_pages_in_order(shuffled: list[Entry], limit: int) -> None:
    async def walked() -> AsyncIterator[Entry]:
        for one in shuffled:
            yield one

    async def run() -> list[Entry]:
        page = await page_of(walked(), Selection(), "", limit)
        found = list(page.entries)
        while page.next:
            page = await page_of(walked(), Selection(), page.next, limit)
            found += page.entries
        return found

    assert asyncio.run(run()) == sorted({one.key: one for one in shuffled}.values(), key=lambda one: -one.created)
