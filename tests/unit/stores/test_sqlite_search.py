"""What a SQLite store knows of its entries beyond their columns: found out later, never in the way, never wrong."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.selection import Selection
from mitmproxy_ai_cache.entries.vault import Vault
from mitmproxy_ai_cache.stores import SqliteStore
from mitmproxy_ai_cache.stores.filtering import EntryFilter
from mitmproxy_ai_cache.stores.pages import Page
from mitmproxy_ai_cache.stores.sqlite import file as sqlite_file
from mitmproxy_ai_cache.stores.sqlite import sqlite_pages
from mitmproxy_ai_cache.stores.sqlite import thread as sqlite_thread
from mitmproxy_ai_cache.stores.sqlite.search import UNKNOWN_RUN, Signer
from unit.stores.test_browse import signed
from unit.stores.test_sqlite_store import entry as bare
from unit.stores.test_sqlite_store import key_of, locked, noise, put, until

PLENTY = 1 << 30


def entry(number: int, said: str = "", run: str = "") -> Entry:
    body = b'{"said":"answer number %d %s"}' % (number, said.encode())
    return replace(bare(number, body), request=b'{"asked":"question %d"}' % number, run=run)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite3"


@pytest.fixture(autouse=True)
def signed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "_SIGN_FROM", 0.0)


@asynccontextmanager
async def opened(path: Path, max_size: int = PLENTY, writable: bool = True, vault: Vault | None = None) -> Any:
    store = SqliteStore(f"sqlite:///{path}", max_size, writable)
    store.vault = vault
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def fill(path: Path, *entries: Entry) -> None:
    """A file whose entries are all signed."""

    async def run() -> None:
        async with opened(path) as store:
            for one in entries:
                store.put(one)
            await store.flushed()
            await signed(path)

    asyncio.run(run())


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        return file.execute(sql).fetchall()


def browsed(path: Path, writable: bool = False, **conditions: Any) -> Page:
    async def run() -> Page:
        async with opened(path, writable=writable) as store:
            page: Page = await store.browse(Selection(**conditions), limit=1000, deadline=30)
            return page

    return asyncio.run(run())


def keys(page: Page) -> list[str]:
    return [one.key for one in page.entries]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of entries whose bodies were looked at."""
    seen: list[str] = []
    takes_bytes = EntryFilter.takes_bytes

    def watched(self: EntryFilter, row: Any, *packed: bytes) -> bool:
        seen.append(row.key)
        return takes_bytes(self, row, *packed)

    monkeypatch.setattr(EntryFilter, "takes_bytes", watched)
    return seen


def test_only_entries_that_may_hold_a_text_are_read(path: Path, read: list[str]) -> None:
    fill(path, *(entry(number, "needle" * (number == 70), f"{number // 10:012x}") for number in range(100)))
    page = browsed(path, contains="needle")
    assert (keys(page), page.searched, page.complete) == ([key_of(70)], 100, True)
    assert len(read) < 10
    read.clear()
    page = browsed(path, contains="nowhere to be found")
    assert (keys(page), page.searched, len(read)) == ([], 100, 0)
    page = browsed(path, run=f"{3:012x}")
    assert keys(page) == read == [key_of(number) for number in range(39, 29, -1)]
    read.clear()
    assert keys(browsed(path, run=f"{3:012x}", contains="number 34")) == [key_of(34)]
    assert keys(browsed(path, run="none")) == keys(browsed(path, run=f"{3:012x}", contains="needle")) == []
    assert len(read) < 10


def test_what_is_not_signed_yet_is_read(path: Path, read: list[str]) -> None:
    fill(path, *(entry(number) for number in range(10)))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DELETE FROM search WHERE id > 6")
    assert keys(browsed(path, contains="number 8")) == [key_of(8)]
    assert keys(browsed(path, contains="number 2")) == [key_of(2)]
    assert set(read) >= {key_of(number) for number in range(6, 10)}


def test_a_short_text_is_found_by_reading(path: Path) -> None:
    fill(path, entry(1, "a§b"), entry(2))
    assert keys(browsed(path, contains="§b")) == [key_of(1)]


def test_a_signature_goes_with_its_entry(path: Path) -> None:
    fill(path, entry(1), entry(2), entry(3))

    async def run() -> None:
        async with opened(path) as store:
            store.remove(key_of(2))
            store.remove(key_of(3))
            store.put(entry(4, "needle"))  # has the number that 2 had
            await store.flushed()
            assert keys(await store.browse(Selection(contains="needle"))) == [key_of(4)]
            await signed(path)
            assert keys(await store.browse(Selection(contains="needle"))) == [key_of(4)]

    asyncio.run(run())
    assert rows(path, "SELECT id FROM search") == rows(path, "SELECT id FROM entry") == [(1,), (2,)]


def test_signatures_count_towards_the_budget(path: Path) -> None:
    fill(path, *(bare(number, noise(number, 2000)) for number in range(20)))
    ((size,),) = rows(path, "SELECT size FROM total")
    assert [(size,)] == rows(path, "SELECT (SELECT sum(size) FROM entry) + (SELECT sum(length(signature)) FROM search)")
    put(path, bare(20, noise(20, 2000)), max_size=size // 2)
    ((left,),) = rows(path, "SELECT size FROM total")
    assert size // 3 < left <= size // 2
    kept = rows(path, "SELECT (SELECT sum(size) FROM entry) + ifnull((SELECT sum(length(signature)) FROM search), 0)")
    assert kept == [(left,)]


def test_what_is_encrypted_is_not_signed(path: Path) -> None:
    async def run() -> None:
        async with opened(path, vault=Vault(b"k" * 32)) as store:
            store.put(entry(1, "needle"))
            await store.flushed()
            await asyncio.sleep(0.1)
            assert keys(await store.browse(Selection(contains="needle"))) == [key_of(1)]
        assert rows(path, "SELECT * FROM search") == []
        async with opened(path):  # by somebody who has no key
            await signed(path)

    asyncio.run(run())
    assert rows(path, "SELECT * FROM search") == [(1, UNKNOWN_RUN, b"")]
    for conditions in ({"contains": "needle"}, {"contains": "nowhere"}, {"run": "x"}):
        page = browsed(path, **conditions)
        assert (page.entries, page.unreadable) == ([], 1)


def test_with_a_key_all_is_read_also_what_was_signed_before(path: Path) -> None:
    fill(path, entry(1))

    async def run() -> Page:
        async with opened(path, writable=False, vault=Vault(b"k" * 32)) as store:
            page: Page = await store.browse(Selection(contains="nowhere"))
            return page

    assert asyncio.run(run()).unreadable == 1


def test_what_is_broken_is_counted_as_before(path: Path) -> None:
    put(path, *(entry(number) for number in range(4)))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("UPDATE entry SET answer = substr(answer, 1, 30) WHERE id = 2")
        file.execute("UPDATE entry SET request = 'text' WHERE id = 3")
        file.execute("DELETE FROM search")  # what was signed while they were put
    fill(path)
    assert rows(path, "SELECT id FROM search WHERE run = '?' AND signature = x''") == [(2,), (3,)]
    for text in ("nowhere", "number"):
        assert browsed(path, contains=text).unreadable == 2


# Files and processes


def of_version_1(path: Path, *entries: Entry) -> None:
    put(path, *entries)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_search")
        file.execute("DROP TABLE search")
        file.execute("PRAGMA user_version = 1")


def test_a_file_of_version_1_is_signed_when_it_is_opened(path: Path, read: list[str]) -> None:
    of_version_1(path, entry(1, "needle", "r" * 12), entry(2))
    fill(path)
    assert rows(path, "PRAGMA user_version") == [(sqlite_file.VERSION,)]
    assert keys(browsed(path, contains="needle")) == keys(browsed(path, run="r" * 12)) == [key_of(1)]
    assert read == [key_of(1)] * 2


def test_a_file_of_version_1_that_may_not_be_written_is_read(path: Path) -> None:
    of_version_1(path, entry(1, "needle", "r" * 12), entry(2))
    before = path.read_bytes()
    assert keys(browsed(path, contains="needle")) == keys(browsed(path, run="r" * 12)) == [key_of(1)]
    assert path.read_bytes() == before


@pytest.fixture
def file(path: Path) -> Iterator[sqlite3.Connection]:
    """Six entries of which none is signed."""
    put(path, *(entry(number) for number in range(6)))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DELETE FROM search")
        yield file


class Meanwhile:
    """Stops nobody, but does something before the third entry is read."""

    def __init__(self, does: Any) -> None:
        self._does = does
        self._asked = 0

    def __call__(self) -> bool:
        self._asked += 1
        if self._asked == 3:
            self._does()
        return False


def numbers(file: sqlite3.Connection) -> list[int]:
    return [number for (number,) in file.execute("SELECT id FROM search ORDER BY id")]


def test_an_entry_that_took_the_number_of_another_does_not_get_its_signature(
    file: sqlite3.Connection, path: Path
) -> None:
    file.execute("DELETE FROM entry WHERE id > 3")

    def replaced() -> None:
        put(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DELETE FROM entry WHERE id > 1")
            for number in (7, 8):
                one = entry(number, "needle")
                other.execute(
                    "INSERT INTO entry (key, created, used, size, protocol, model, url, namespace, answer, request)"
                    " VALUES (?, ?, 0, 0, '', '', '', '', ?, ?)",
                    (one.key, one.created, one.pack_answer(), one.pack_request()),
                )

    signer = Signer(Meanwhile(replaced))
    assert signer.step(file)  # there is more to do
    assert numbers(file) == [1]
    assert signer.step(file) is None
    assert numbers(file) == [1, 2, 3]
    assert len(browsed(path, contains="needle").entries) == 2


def test_where_another_process_signed_meanwhile_nothing_is_written(file: sqlite3.Connection, path: Path) -> None:
    def others() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            assert Signer(lambda: False).step(other) is None

    assert Signer(Meanwhile(others)).step(file)
    assert numbers(file) == [1, 2, 3, 4, 5, 6]


def test_who_waits_stops_it_between_two_entries(file: sqlite3.Connection) -> None:
    answers = iter([False, False, True, True])
    signer = Signer(lambda: next(answers))
    assert signer.step(file)
    assert numbers(file) == [1, 2]
    assert signer.step(file)
    assert numbers(file) == [1, 2]


def test_a_lock_of_another_process_is_not_waited_for(file: sqlite3.Connection, path: Path) -> None:
    with locked(path):
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Signer(lambda: False).step(file)
        assert time.monotonic() - began < 4
    assert file.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    assert Signer(lambda: False).step(file) is None


@pytest.mark.thorough
def test_what_was_locked_is_signed_later_and_nobody_hears_of_it(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_locked, sign = threading.Event(), Signer.step
    monkeypatch.setattr(Signer, "step", lambda self, file: sign(self, file) if is_locked.is_set() else 0.01)
    put(path, entry(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DELETE FROM search")

    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                is_locked.set()
                await asyncio.sleep(0.1)
                assert rows(path, "SELECT id FROM search") == []
                assert await store.get(key_of(1)) is not None
            await signed(path)
            assert (store.works, store.failures.total(), store.dropped) == (True, 0, 0)

    asyncio.run(run())
    assert not caplog.records


def test_closing_does_not_wait_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "_SIGN_FROM", 60.0)
    put(path, *(entry(number, "words and " * 3000) for number in range(400)))
    monkeypatch.setattr(sqlite_thread, "_SIGN_FROM", 0.0)

    async def run() -> float:
        async with opened(path):
            await until(lambda: bool(rows(path, "SELECT 1 FROM search LIMIT 1")))
            began = time.monotonic()
        return time.monotonic() - began

    assert asyncio.run(run()) < 1
    assert 0 < len(rows(path, "SELECT id FROM search")) < 400


def test_a_disk_that_takes_no_signatures_keeps_entries_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []

    def full(signer: Signer, connection: sqlite3.Connection) -> None:
        asked.append(time.monotonic())
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Signer, "step", full)

    async def run() -> None:
        async with opened(path) as store:
            await until(lambda: bool(asked))
            store.put(entry(1, "needle"))
            await store.flushed()
            await asyncio.sleep(0.1)
            assert keys(await store.browse(Selection(contains="needle"))) == [key_of(1)]
            assert (store.works, store.dropped) == (True, 0)

    asyncio.run(run())
    assert len(asked) == 1
    assert not caplog.records


def test_nothing_is_signed_while_somebody_searches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, *(entry(number) for number in range(6)))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DELETE FROM search")
    monkeypatch.setattr(sqlite_thread, "_SIGN_FROM", 0.1)

    async def run() -> None:
        async with opened(path) as store:
            with store._thread.searched():
                await asyncio.sleep(0.3)
                assert rows(path, "SELECT id FROM search") == []
            await signed(path)

    asyncio.run(run())


def test_a_page_begins_without_a_walk_through_all_entries(path: Path) -> None:
    put(path, entry(1))
    plan = [row[-1] for row in rows(path, f"EXPLAIN QUERY PLAN {sqlite_pages._ENDS}")]
    assert plan
    assert not [step for step in plan if step.startswith("SCAN entry")]
