"""The SQLite store: nothing is lost silently, nothing broken is served, and no file keeps the proxy from starting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import SqliteStore, StoreError, for_url
from mitmproxy_ai_cache.stores.sqlite import file as sqlite_file
from mitmproxy_ai_cache.stores.sqlite import health
from mitmproxy_ai_cache.stores.sqlite import store as sqlite
from mitmproxy_ai_cache.stores.sqlite import thread as sqlite_thread
from mitmproxy_ai_cache.stores.sqlite.file import VERSION
from mitmproxy_ai_cache.stores.sqlite.thread import StoreThread

ADDON = Path(__file__).resolve().parents[3] / "addon"
PLENTY = 1 << 30


def key_of(number: int) -> str:
    return f"{number:064x}"


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compression makes smaller, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def entry(number: int = 0, body: bytes = b'{"choices":[]}', ttl: float = 0, issued: str = "") -> Entry:
    headers = (("content-type", "application/json"), ("x-request-id", str(number)))
    return Entry(key_of(number), time.time(), ttl, 200, headers, "json", body, issued=issued)


def stored_size(kept: Entry) -> int:
    return len(kept.pack_answer()) + len(kept.pack_request())


@asynccontextmanager
async def opened(path: Path, max_size: int = PLENTY) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{path}", max_size)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def put(path: Path, *entries: Entry, max_size: int = PLENTY) -> None:
    """What one run of a proxy leaves behind."""

    async def run() -> None:
        async with opened(path, max_size) as store:
            for new in entries:
                store.put(new)

    asyncio.run(run())


def kept(path: Path, numbers: range) -> dict[int, Entry]:
    """What a later run finds."""

    async def run() -> dict[int, Entry]:
        async with opened(path) as store:
            found = {number: await store.get(key_of(number)) for number in numbers}
            present = {number: value for number, value in found.items() if value is not None}
            assert await store.count() == len(present)
            return present

    return asyncio.run(run())


async def count(path: Path) -> int:
    """How many entries there are, without using one."""
    async with opened(path) as store:
        return await store.count()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process is in the middle of a write: what waits cannot be committed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.005)


def set_aside(path: Path) -> list[Path]:
    """The files next to the store that are not its own."""
    own = {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.is_file() and file.name not in own and not file.name.endswith(("-wal", "-shm", "-journal"))
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite3"


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of a user whom file modes bind, who runs this test: root may write everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="ai-cache-test-"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


# Keeping and finding


def test_an_entry_is_found_before_it_is_committed(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            new = entry(1)
            with locked(path):
                store.put(new)
                assert await store.get(key_of(1)) == new
                assert await store.count() == 0

    asyncio.run(run())


@pytest.mark.parametrize("body", [b"", b"{}", b"data: [DONE]\n\n" * 9000, noise(1, 300_000), bytes(range(256))])
def test_an_entry_is_found_by_the_next_run_byte_for_byte(path: Path, body: bytes) -> None:
    new = entry(1, body, ttl=60, issued="resp_1")
    put(path, new)
    assert kept(path, range(3)) == {1: new}


def test_a_later_answer_replaces_an_earlier_one(path: Path) -> None:
    put(path, entry(1, b"old"), entry(1, b"newer"))
    put(path, entry(1, b"newest"))
    assert kept(path, range(3))[1].body == b"newest"


def test_a_stale_entry_is_still_found(path: Path, clock: Clock) -> None:
    put(path, entry(1, ttl=60))
    clock.now += 3600
    assert 1 in kept(path, range(3))


def test_a_removed_entry_is_gone_before_that_is_committed(path: Path) -> None:
    put(path, entry(1), entry(2))

    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                store.remove(key_of(1))
                assert await store.get(key_of(1)) is None
                assert await store.get(key_of(2)) is not None

    asyncio.run(run())
    assert kept(path, range(3)).keys() == {2}


def test_removing_what_is_not_there_changes_nothing(path: Path) -> None:
    put(path, entry(1))

    async def run() -> None:
        async with opened(path) as store:
            store.remove(key_of(2))
            store.remove_issuer("resp_2")

    asyncio.run(run())
    assert kept(path, range(3)).keys() == {1}


@pytest.mark.parametrize(("issued", "left"), [("resp_1", {2, 3}), ("resp_9", {1, 2, 3}), ("", {1, 2, 3})])
def test_only_the_entry_that_issued_an_id_goes_with_it(path: Path, issued: str, left: set[int]) -> None:
    put(path, entry(1, issued="resp_1"), entry(2, issued="resp_2"), entry(3))

    async def run() -> None:
        async with opened(path) as store:
            store.remove_issuer(issued)

    asyncio.run(run())
    assert kept(path, range(5)).keys() == left


def test_the_issuer_of_a_forgotten_id_is_gone_before_that_is_committed(path: Path) -> None:
    put(path, entry(1, issued="resp_1"))

    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                store.remove_issuer("resp_1")
                assert await store.get(key_of(1)) is None

    asyncio.run(run())


@pytest.mark.parametrize("issued", ["\ud800", "a\x00b", "'; DROP TABLE entry; --"])
def test_an_id_no_provider_would_issue_does_not_stop_later_writes(path: Path, issued: str) -> None:
    async def run() -> None:
        async with opened(path) as store:
            store.remove_issuer(issued)
            store.put(entry(1))

    asyncio.run(run())
    assert kept(path, range(3)).keys() == {1}


@pytest.mark.parametrize("action", ["get before open", "get after close"])
def test_a_look_up_in_a_store_that_is_not_open_is_a_store_error(path: Path, action: str) -> None:
    async def run() -> None:
        store = SqliteStore(f"sqlite:///{path}", PLENTY)
        if action == "get after close":
            await store.open()
            await store.close()
        with pytest.raises(StoreError):
            await store.get(key_of(1))

    asyncio.run(run())


# The file


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///relative.sqlite3", "work/relative.sqlite3"),
        ("sqlite:///~/in/home.sqlite3", "home/in/home.sqlite3"),
        ("sqlite:///odd ?name=%41#x.sqlite3", "work/odd ?name=%41#x.sqlite3"),
    ],
)
def test_a_url_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, file: str) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    async def run() -> None:
        store = for_url(url, PLENTY)
        await store.open()
        await store.close()

    asyncio.run(run())
    assert (tmp_path / file).is_file()


def test_nobody_else_may_read_the_store(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.sqlite3"
    before = os.umask(0)
    try:

        async def run() -> dict[str, int]:
            async with opened(path) as store:
                store.put(entry(1))
                await until(lambda: (path.parent / f"{path.name}-wal").stat().st_size > 0)
                return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

        modes = asyncio.run(run())
    finally:
        os.umask(before)
    assert modes.pop(path.name) == 0o600
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_of_version_0_is_brought_to_this_version(path: Path) -> None:
    sqlite3.connect(path).close()
    path.touch()
    put(path, entry(1))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert kept(path, range(3)).keys() == {1}
    assert not set_aside(path)


def test_opening_again_migrates_nothing(path: Path) -> None:
    put(path, entry(1))
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT * FROM sqlite_master").fetchall()
    put(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == schema
    assert kept(path, range(3)).keys() == {1}


@pytest.mark.parametrize("kind", ["folder", "file in the way", "file under a file"])
def test_a_path_that_can_hold_no_file_is_a_store_error_of_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    path = {
        "folder": tmp_path / "folder",
        "file in the way": tmp_path / "file" / "cache.sqlite3",
        "file under a file": tmp_path / "file" / "below" / "cache.sqlite3",
    }[kind]
    with pytest.raises(StoreError) as raised:
        put(path, entry(1))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "file").read_bytes() == b"mine"


# A budget


@pytest.mark.thorough
def test_entries_that_were_used_lately_survive_those_that_were_not(path: Path, clock: Clock) -> None:
    bodies = {number: noise(number, 5000) for number in range(110)}
    budget = 100 * stored_size(entry(0, bodies[0])) + 1000
    put(path, *(entry(number, bodies[number]) for number in range(100)), max_size=budget)
    assert asyncio.run(count(path)) == 100
    clock.now += 3600

    async def use() -> None:
        async with opened(path, budget) as store:
            for number in range(0, 100, 2):
                assert await store.get(key_of(number))

    asyncio.run(use())
    clock.now += 3600
    put(path, *(entry(number, bodies[number]) for number in range(100, 110)), max_size=budget)
    left = kept(path, range(110)).keys()
    assert set(range(0, 100, 2)) <= left, "used lately"
    assert set(range(100, 110)) <= left, "new"
    assert len(left) < 110


@pytest.mark.thorough
def test_the_store_stays_under_its_budget(path: Path, clock: Clock) -> None:
    budget = 400_000
    sizes = [random.Random(seed).choice([200, 3000, 9000, 40_000]) for seed in range(120)]
    entries = [entry(number, noise(number, size)) for number, size in enumerate(sizes)]
    for start in range(0, 120, 8):
        clock.now += 60
        put(path, *entries[start : start + 8], max_size=budget)
        found = kept(path, range(120))
        assert sum(stored_size(value) for value in found.values()) <= budget


@pytest.mark.thorough
def test_a_store_that_holds_few_large_entries_keeps_the_newest(path: Path, clock: Clock) -> None:
    budget = 10 * stored_size(entry(0, noise(0, 20_000))) + 1000
    for number in range(15):
        clock.now += 60
        put(path, entry(number, noise(number, 20_000)), max_size=budget)
    left = kept(path, range(15)).keys()
    assert left == set(range(15 - len(left), 15))
    assert len(left) >= 5


def test_an_entry_that_cannot_fit_drives_out_no_other(path: Path, clock: Clock) -> None:
    put(path, *(entry(number, noise(number, 1000)) for number in range(30)), max_size=100_000)
    clock.now += 60
    put(path, entry(30, noise(30, 200_000)), max_size=100_000)
    assert kept(path, range(31)).keys() == set(range(30))


def test_expired_entries_go_before_those_that_were_used_longer_ago(path: Path, clock: Clock) -> None:
    budget = 100 * stored_size(entry(0, noise(0, 5000))) + 1000
    put(path, *(entry(number, noise(number, 5000)) for number in range(60)), max_size=budget)
    clock.now += 3600
    put(path, *(entry(number, noise(number, 5000), ttl=60) for number in range(60, 95)), max_size=budget)
    clock.now += 7 * 86400
    put(path, *(entry(number, noise(number, 5000)) for number in range(95, 103)), max_size=budget)
    assert kept(path, range(103)).keys() == {*range(60), *range(95, 103)}


def test_a_budget_that_was_made_smaller_is_kept_to_in_small_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes wait for the end of each step, and what is put meanwhile for the next one."""
    put(path, *(entry(number, noise(number, 1000)) for number in range(100)))
    budget = 20 * stored_size(entry(0, noise(0, 1000)))
    evict = StoreThread._evict
    steps: list[int] = []

    def watched(thread: StoreThread, connection: sqlite3.Connection) -> bool:
        before = connection.execute("SELECT entries FROM total").fetchone()[0]
        more = evict(thread, connection)
        steps.append(before - connection.execute("SELECT entries FROM total").fetchone()[0])
        return more

    monkeypatch.setattr(sqlite_thread, "_EVICTED_AT_ONCE", 10)
    monkeypatch.setattr(StoreThread, "_evict", watched)

    async def run() -> None:
        async with opened(path, budget) as store:
            store.put(entry(100, noise(100, 1000)))
            await until(lambda: sum(steps) > 80)
            assert await store.get(key_of(100))

    asyncio.run(run())
    assert len(kept(path, range(101))) <= 20
    assert max(steps) <= 10


# Several on one file


def test_two_stores_on_one_file_see_each_others_entries(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as one, opened(path) as other:
            for number in range(0, 100, 2):
                one.put(entry(number))
                other.put(entry(number + 1))
            while await one.count() < 100:
                await asyncio.sleep(0.005)
            for number in range(100):
                assert await one.get(key_of(number)) == await other.get(key_of(number)) is not None

    asyncio.run(asyncio.wait_for(run(), 20))


def child(code: str, path: Path) -> subprocess.Popen[str]:
    """A process of its own that runs `code`, the body of a coroutine, with `store` open on `path`."""
    program = f"""
import asyncio, os, random, sys, time
from contextlib import suppress
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import SqliteStore, StoreError

def entry(number):
    body = random.Random(number).randbytes(3000)
    return Entry(f"{{number:064x}}", time.time(), 0, 200, (("content-type", "application/json"),), "json", body)

async def main(path):
    store = SqliteStore("sqlite:///" + path, 1 << 30)
    await store.open()
{code}

asyncio.run(main(sys.argv[1]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": str(ADDON)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.thorough
def test_two_processes_write_to_one_file_and_lose_nothing(path: Path) -> None:
    code = """
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(300):
        store.put(entry(number))
        await asyncio.sleep(0.0005)
    await store.close(30)
    assert store.dropped == 0
"""
    with child(code, path) as process:
        assert line_of(process) == "ready"
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

        async def run() -> None:
            async with opened(path) as store:
                for number in range(300, 600):
                    store.put(entry(number, noise(number, 3000)))
                    await asyncio.sleep(0.0005)

        asyncio.run(run())
        assert process.wait(20) == 0
    found = kept(path, range(600))
    assert {number: value.body for number, value in found.items()} == {
        number: noise(number, 3000) for number in range(600)
    }


@pytest.mark.parametrize("written", [1, 100, 400])
@pytest.mark.thorough
def test_a_writer_that_is_killed_leaves_a_file_of_whole_entries(path: Path, written: int) -> None:
    code = """
    for number in range(100_000):
        store.put(entry(number))
        while await store.count() < number - 40:
            await asyncio.sleep(0)
        print(await store.count(), flush=True)
"""
    with child(code, path) as process:
        while int(line_of(process)) < written:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    found = kept(path, range(written + 500))
    assert len(found) >= written
    assert all(value.body == noise(number, 3000) for number, value in found.items())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not set_aside(path)


# Damage


def works_afresh(path: Path) -> None:
    put(path, entry(7))
    assert kept(path, range(10)).keys() == {7}


@pytest.mark.parametrize(
    "content",
    [b"ten bytes.", b"not a database", b"\0" * 1000, noise(1, 50_000), b"SQLite format 3\0" + noise(2, 8176)],
    ids=["ten bytes", "text", "zeros", "noise", "noise after the magic"],
)
def test_a_file_of_garbage_is_set_aside_and_a_fresh_one_works(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path.write_bytes(content)
    works_afresh(path)
    assert [file.read_bytes() for file in set_aside(path)] == [content]
    (warning,) = warnings(caplog)
    assert str(path) in warning
    assert set_aside(path)[0].name in warning


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_file_that_was_cut_is_set_aside_and_a_fresh_one_works(
    path: Path, caplog: pytest.LogCaptureFixture, part: float
) -> None:
    put(path, *(entry(number, noise(number, 3000)) for number in range(10, 60)))
    content = path.read_bytes()[: int(path.stat().st_size * part)]
    path.write_bytes(content)
    works_afresh(path)
    assert [file.read_bytes() for file in set_aside(path)] == [content]
    assert len(warnings(caplog)) == 1


OTHERS = {
    "its own tables, no version": "CREATE TABLE customer (name); INSERT INTO customer VALUES ('Ada');",
    "its own tables, our version": "CREATE TABLE customer (name); INSERT INTO customer VALUES ('Ada');"
    f"PRAGMA user_version = {VERSION}",
    "a table called as ours": "CREATE TABLE customer (name); INSERT INTO customer VALUES ('Ada');"
    "CREATE TABLE entry (title)",
    "an index called as ours": "CREATE TABLE customer (name); INSERT INTO customer VALUES ('Ada');"
    "CREATE INDEX entry_used ON customer (name)",
}


@pytest.mark.parametrize("script", OTHERS.values(), ids=OTHERS.keys())
def test_a_database_of_another_program_is_refused_and_stays_as_it_is(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    content = path.read_bytes()

    async def run() -> None:
        async with opened(path):
            pass

    with pytest.raises(StoreError, match="another program"):
        asyncio.run(run())
    assert path.read_bytes() == content
    assert set_aside(path) == []


def test_a_file_of_a_newer_version_is_set_aside_with_all_it_holds(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(path, entry(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    content = path.read_bytes()
    works_afresh(path)
    (aside,) = set_aside(path)
    assert aside.read_bytes() == content
    (warning,) = warnings(caplog)
    assert "newer" in warning


def test_what_a_newer_version_has_not_checkpointed_goes_aside_too(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as newer:
        newer.execute("PRAGMA journal_mode = WAL")
        newer.execute("PRAGMA application_id = 0x41494331")
        newer.execute("CREATE TABLE future (name)")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer.execute("INSERT INTO future VALUES ('kept')")
        works_afresh(path)
        (aside,) = set_aside(path)
        with closing(sqlite3.connect(aside)) as connection:
            assert connection.execute("SELECT name FROM future").fetchall() == [("kept",)]


def test_files_set_aside_in_one_second_do_not_overwrite_each_other(path: Path) -> None:
    contents = [b"garbage %d" % number for number in range(5)]
    for content in contents:
        path.write_bytes(content)
        put(path)
    assert {file.read_bytes() for file in set_aside(path)} == set(contents)


def overwrite(path: Path) -> bytes:
    """Garbage over every byte of a file that others have open."""
    garbage = noise(99, path.stat().st_size)
    with path.open("r+b") as file:
        file.write(garbage)
    return garbage


def test_a_file_that_is_damaged_while_in_use_is_set_aside_and_a_fresh_one_works(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(path, *(entry(number, noise(number, 3000)) for number in range(10, 60)))

    async def run() -> None:
        async with opened(path) as store:
            store.put(entry(60))
            while await store.count() < 51:
                await asyncio.sleep(0.005)
            garbage = overwrite(path)
            for number in range(10, 60):
                with suppress(StoreError):
                    assert await store.get(key_of(number)) is None
            await until(lambda: bool(set_aside(path)))
            assert [file.read_bytes() for file in set_aside(path)] == [garbage]
            store.put(entry(1))
            while await store.count() < 1:
                await asyncio.sleep(0.005)
            assert await store.get(key_of(1)) is not None

    asyncio.run(asyncio.wait_for(run(), 20))
    assert kept(path, range(100)).keys() == {1}
    assert len([warning for warning in warnings(caplog) if "set aside" in warning]) == 1


@pytest.mark.thorough
def test_a_file_that_is_cut_while_in_use_does_not_end_the_process(path: Path) -> None:
    put(path, *(entry(number, noise(number, 3000)) for number in range(10, 60)))
    code = """
    await store.get(entry(10).key)
    os.truncate(path, 8192)
    for number in range(10, 60):
        with suppress(StoreError):
            assert await store.get(entry(number).key) is None
    store.put(entry(1))
    print(await store.get(entry(1).key) is not None, flush=True)
    await store.close()
"""
    with child(code, path) as process:
        assert line_of(process) == "True"
        assert process.wait(20) == 0
    assert 1 in kept(path, range(10))


def test_damage_that_only_the_writer_meets_does_not_end_keeping_for_good(path: Path) -> None:
    put(path, *(entry(number, noise(number, 3000)) for number in range(10, 60)))
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(noise(98, size))
    for _ in range(2):  # at the latest the next run keeps answers again
        put(path, entry(1))

    async def found() -> bool:
        async with opened(path) as store:
            return await store.get(key_of(1)) is not None

    assert asyncio.run(found())


def test_a_broken_entry_is_a_miss_a_log_line_and_gone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marker = b"the body of the entry that breaks"
    put(path, entry(1, marker), entry(2))
    content = bytearray(path.read_bytes())
    assert content.count(marker) == 1
    content[content.index(marker)] ^= 1
    path.write_bytes(content)

    async def run() -> None:
        async with opened(path) as store:
            assert await store.get(key_of(1)) is None
            assert await store.get(key_of(1)) is None

    asyncio.run(run())
    (warning,) = warnings(caplog)
    assert key_of(1)[:12] in warning
    assert kept(path, range(3)).keys() == {2}
    assert not set_aside(path)


# Walking, purging, waiting


async def walked(store: SqliteStore) -> list[Entry]:
    return [entry async for entry in store.entries()]


def full(number: int, namespace: str = "") -> Entry:
    return replace(
        entry(number, noise(number, 500)),
        request=b'{"number": %d}' % number,
        request_headers=(("anthropic-version", "2023-06-01"),),
        run="0123456789ab",
        namespace=namespace,
    )


def test_a_walk_gives_whole_entries_oldest_first_also_those_not_yet_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CHUNK", 7)
    numbers = random.Random(1).sample(range(1000), 50)
    put(path, *(full(number) for number in numbers[:30]))

    async def run() -> list[Entry]:
        async with opened(path) as store:
            for number in numbers[30:]:
                store.put(full(number))
            return await walked(store)

    found = asyncio.run(run())
    assert [value.key for value in found] == [key_of(number) for number in numbers]
    assert [replace(value, created=0) for value in found] == [replace(full(number), created=0) for number in numbers]


def test_a_walk_lets_others_run_and_survives_what_they_do(path: Path) -> None:
    put(path, *(full(number) for number in range(100)))

    async def run() -> tuple[int, int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        async with opened(path) as store:
            other = asyncio.create_task(beat())
            found = 0
            async for value in store.entries():
                found += 1
                store.remove(value.key)
                store.put(full(1000 + found))
            other.cancel()
        return found, beats

    found, beats = asyncio.run(asyncio.wait_for(run(), 20))
    assert found == 100
    assert beats >= 100


def test_a_walk_leaves_out_what_is_broken_and_counts_it(path: Path) -> None:
    put(path, *(full(number) for number in range(10)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entry SET answer = 7 WHERE key = ?", (key_of(2),))
        connection.execute("UPDATE entry SET answer = substr(answer, 1, 40) WHERE key = ?", (key_of(3),))
        connection.execute("UPDATE entry SET request = zeroblob(9) WHERE key = ?", (key_of(4),))
        connection.execute("UPDATE entry SET used = 'text' WHERE key = ?", (key_of(5),))
        connection.commit()

    async def run() -> None:
        async with opened(path) as store:
            found = await walked(store)
            assert [value.key for value in found] == [key_of(number) for number in (0, 1, 5, 6, 7, 8, 9)]
            assert store.failures == {"broken-entry": 3}
            assert await store.get(key_of(2)) is None
            assert await store.get(key_of(5)) is not None

    asyncio.run(run())


def test_an_entry_under_the_key_of_another_is_never_served(path: Path) -> None:
    """What a damaged index leads to."""
    put(path, entry(1, b"mine"), entry(2, b"another's"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entry SET answer = (SELECT answer FROM entry WHERE id = 2) WHERE id = 1")
        connection.commit()
    found = []

    async def run() -> None:
        async with opened(path) as store:
            found.append(await store.get(key_of(1)))
            found.append(await store.get(key_of(2)))
            assert store.failures == {"broken-entry": 1}

    asyncio.run(run())
    assert found[0] is None
    assert found[1] is not None


def test_a_purge_takes_one_namespace_at_once_and_what_is_put_afterwards_stays(path: Path) -> None:
    put(path, *(full(number, "a") for number in range(10)), *(full(number, "b") for number in range(10, 20)))

    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                store.put(full(20, "a"))
                store.put(full(21, "b"))
                purge = asyncio.create_task(store.purge("a"))
                await asyncio.sleep(0)
                assert [number for number in range(22) if await store.get(key_of(number), "a")] == [*range(10, 20), 21]
                store.put(full(3, "a"))
                assert await store.get(key_of(3), "a") is not None
            await purge
            assert {value.key for value in await walked(store)} == {
                key_of(number) for number in (3, *range(10, 20), 21)
            }

    asyncio.run(run())
    assert kept(path, range(30)).keys() == {3, *range(10, 20), 21}


def test_a_purge_that_could_not_be_written_says_so(path: Path) -> None:
    put(path, full(1, "a"))

    async def run() -> None:
        store = SqliteStore(f"sqlite:///{path}", PLENTY, writable=False)
        await store.open()
        with pytest.raises(StoreError, match="still there"):
            await store.purge("a")
        await store.close()
        async with opened(path) as writing:
            with pytest.raises(StoreError, match="still there"):
                await writing.purge("\ud800")
            assert await writing.get(key_of(1)) is not None

    asyncio.run(run())


def test_waiting_till_all_is_written_ends_when_it_is_and_at_the_deadline(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                store.put(entry(1))
                began = time.monotonic()
                await store.flushed(0.1)
                assert 0.1 <= time.monotonic() - began < 4
                assert await store.count() == 0
            await store.flushed()
            assert await store.count() == 1

    asyncio.run(run())


def test_an_entry_of_what_is_no_text_is_not_kept_and_harms_no_other(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as store:
            assert not store.put(replace(entry(1), model="\ud800"))
            assert store.put(entry(2))
            assert store.dropped == 1

    asyncio.run(run())
    assert kept(path, range(5)).keys() == {2}


# A file that is taken away


def remove_all(path: Path) -> None:
    shutil.rmtree(path.parent)


def remove_file_only(path: Path) -> None:
    path.unlink()


def remove_wal_only(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def move_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize("take_away", [remove_all, remove_file_only, remove_wal_only, move_away])
@pytest.mark.parametrize("noticed_by", ["writes", "look-ups"])
@pytest.mark.thorough
def test_a_file_that_was_taken_away_is_made_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    take_away: Callable[[Path], None],
    noticed_by: str,
) -> None:
    monkeypatch.setattr(sqlite, "_LOOK_EVERY", 0.02)
    path = tmp_path / "cache" / "ai.sqlite3"

    async def run() -> None:
        async with opened(path) as store:
            store.put(full(1))
            await store.flushed()
            take_away(path)
            deadline = time.monotonic() + 60
            while not warnings(caplog):
                assert time.monotonic() < deadline
                if noticed_by == "writes":
                    store.put(full(2))
                for number in range(3):
                    with suppress(StoreError):
                        found = await store.get(key_of(number))
                        assert found is None or found.body == full(number).body
                await asyncio.sleep(0.005)
            store.put(full(3))
            await store.flushed()
            assert path.stat().st_size >= 0
        assert len(warnings(caplog)) == 1, warnings(caplog)

    asyncio.run(run())
    assert 3 in kept(path, range(5))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    if take_away is move_away:
        assert kept(tmp_path / "moved" / path.name, range(5)).keys() >= {1}


def test_another_file_that_takes_the_name_is_used_without_the_journal_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_LOOK_EVERY", 0.02)
    path, other = tmp_path / "a.sqlite3", tmp_path / "b.sqlite3"
    put(other, *(full(number) for number in range(100, 400)))

    async def run() -> None:
        async with opened(path) as store:
            for number in range(100):
                store.put(full(number))
            await store.flushed()
            os.replace(other, path)
            deadline = time.monotonic() + 60
            while not warnings(caplog):
                assert time.monotonic() < deadline
                with contextlib.suppress(StoreError):  # it is being opened
                    await store.get(key_of(5))
                await asyncio.sleep(0.005)
            await until(lambda: store._thread.reader is not None)
            for number in range(100, 400):
                found = await store.get(key_of(number))
                assert found is not None
                assert found.body == full(number).body
            store.put(full(1))

    asyncio.run(run())
    assert kept(path, range(500)).keys() == {1, *range(100, 400)}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_could_not_be_opened_at_the_start_is_used_as_soon_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOOK_EVERY", 0.02)
    folder = tmp_path / "in the way"
    folder.write_bytes(b"a file")

    async def run() -> None:
        store = SqliteStore(f"sqlite:///{folder}/cache.sqlite3", PLENTY)
        with pytest.raises(StoreError):
            await store.open()
        with pytest.raises(StoreError):
            await store.get(key_of(1))
        folder.unlink()
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            with suppress(StoreError):
                await store.get(key_of(1))
                break
            await asyncio.sleep(0.005)
        store.put(entry(1))
        await store.close()

    asyncio.run(run())
    assert kept(folder / "cache.sqlite3", range(3)).keys() == {1}


@pytest.mark.thorough
def test_a_lock_held_for_long_loses_nothing_and_no_look_up_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY", 0.1)

    async def run() -> None:
        async with opened(path) as store:
            with locked(path):
                for number in range(20):
                    store.put(entry(number))
                await until(lambda: store.failures["locked"] >= 3)
                began = time.monotonic()
                for number in range(20):
                    assert await store.get(key_of(number)) is not None
                assert await store.get(key_of(99)) is None
                assert time.monotonic() - began < 2, "as long as 20 look-ups that wait for the lock"
            await store.flushed()
            assert store.dropped == 0

    asyncio.run(run())
    assert kept(path, range(100)).keys() == set(range(20))
    assert len(warnings(caplog)) == 1


# What cannot be written


def test_a_file_that_may_not_be_written_is_a_store_error_and_stays(ordinary_user: Path) -> None:
    path = ordinary_user / "cache.sqlite3"
    put(path, entry(1))
    content = path.read_bytes()
    path.chmod(0o400)
    with pytest.raises(StoreError) as raised:
        put(path, entry(2))
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content
    assert [file.name for file in ordinary_user.iterdir()] == [path.name]


def test_a_folder_that_may_not_be_written_is_a_store_error(ordinary_user: Path) -> None:
    ordinary_user.chmod(0o500)
    try:
        with pytest.raises(StoreError):
            put(ordinary_user / "cache.sqlite3", entry(1))
    finally:
        ordinary_user.chmod(0o700)


@contextmanager
def no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """A disk that is full, for this process. Bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_one_log_line_and_no_look_up_and_is_over_when_it_is_over(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "QUIET", 0.05)
    caplog.set_level(logging.INFO)
    put(path, entry(1))

    async def run() -> None:
        async with opened(path) as store:
            with no_file_may_grow_beyond(1 << 20):
                for number in range(2, 7):
                    store.put(entry(number, noise(number, 2 << 20)))
                    await store.flushed()
                    assert await store.get(key_of(number)) is None
                assert store.dropped == 5
                assert store.failures.total() == 5
                assert await store.get(key_of(1)) is not None
            await asyncio.sleep(0.06)
            store.put(entry(7))
            await store.flushed()
            assert await store.get(key_of(7)) is not None

    asyncio.run(run())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "cannot write to" in said[0]
    assert "keeps answers again" in said[1]
    assert kept(path, range(10)).keys() == {1, 7}


def test_closing_does_not_wait_longer_than_its_deadline(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> float:
        store = SqliteStore(f"sqlite:///{path}", PLENTY)
        await store.open()
        with locked(path):
            store.put(entry(1))
            started = time.monotonic()
            await store.close(deadline=0.1)
            return time.monotonic() - started

    assert asyncio.run(run()) < 4
    assert len(warnings(caplog)) == 1


def test_a_full_queue_drops_writes_says_how_many_and_loses_no_other(path: Path) -> None:
    accepted = set()

    async def run() -> None:
        store = SqliteStore(f"sqlite:///{path}", PLENTY)
        await store.open()
        with locked(path):
            for number in range(3000):
                before = store.dropped
                store.put(entry(number))
                if store.dropped == before:
                    accepted.add(number)
            assert 0 < store.dropped == 3000 - len(accepted) < 3000
            closing_down = asyncio.create_task(store.close(deadline=60))
            await asyncio.sleep(0)
        started = time.monotonic()
        await closing_down
        assert time.monotonic() - started < 50, "closing waited though everything was written"

    asyncio.run(run())
    assert kept(path, range(3000)).keys() == accepted


def test_a_store_that_is_not_writable_answers_and_leaves_the_file_as_it_is(path: Path) -> None:
    put(path, entry(1))
    before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir()))

    async def run() -> None:
        store = for_url(f"sqlite:///{path}", 1 << 20, writable=False)
        await store.open()
        assert await store.get(key_of(1)) is not None
        store.put(entry(2))
        store.remove(key_of(1))
        assert await store.get(key_of(2)) is None
        assert await store.get(key_of(1)) is not None
        await store.close()

    asyncio.run(run())
    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())) == before


def test_a_recording_that_does_not_exist_is_said_and_not_made(path: Path) -> None:
    store = for_url(f"sqlite:///{path}", 1 << 20, writable=False)
    with pytest.raises(StoreError, match="nothing is stored at"):
        asyncio.run(store.open())
    assert not path.exists()


def test_what_is_put_in_one_moment_is_written_in_one_transaction_and_seen_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_thread, "_PAUSE", 30)
    transactions: list[int] = []
    commit = sqlite_thread.StoreThread._commit

    def counted(self: sqlite_thread.StoreThread, batch: list[sqlite_thread.Write]) -> None:
        commit(self, batch)
        transactions.append(len(batch))

    monkeypatch.setattr(sqlite_thread.StoreThread, "_commit", counted)

    async def run() -> None:
        async with opened(path) as store:
            store.put(entry(0))
            await store.flushed()
            for number in range(1, 30):
                store.put(entry(number))
                await asyncio.sleep(0.001)
                assert await store.get(key_of(number)) is not None
            began = time.monotonic()
        assert time.monotonic() - began < 4  # who closes does not wait for the pause

    asyncio.run(run())
    assert transactions == [1, 29]
    assert len(kept(path, range(30))) == 30
