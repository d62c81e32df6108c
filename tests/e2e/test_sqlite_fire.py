"""The SQLite store under fire, in a real mitmdump: whatever becomes of its file, no call fails or waits, no answer is
another's, one line is logged when it begins, and it works again when it is over, without a restart."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from harness import Client, FakeProviders, Got, Process, mitmdump
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import SqliteStore
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = pytest.mark.slow

OPENAI = "https://api.openai.com/v1/chat/completions"
BUDGET = 0.25
"""Seconds that a look-up may take: what users have."""
AS_USERS_HAVE_IT = "ai_cache_lookup_timeout=250ms"
StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]

WATCH = """
import asyncio, threading, time

class Watch:
    '''Counts how often a thread wakes between two beats of the event loop. A starved machine stops both.'''

    def running(self):
        self.ticks = self.worst = 0
        self.task = asyncio.create_task(self.beat())
        threading.Thread(target=self.tick, daemon=True).start()

    def tick(self):
        while True:
            time.sleep(0.01)
            self.ticks += 1
            self.worst = max(self.worst, self.ticks)

    async def beat(self):
        while True:
            self.ticks = 0
            await asyncio.sleep(0.005)

    def done(self):
        print(f"the event loop was blocked for {self.worst * 10} ms", flush=True)

addons = [Watch()]
"""
BOUND_BY_MODES = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: file modes bind root too
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        sys.exit("may not give up capabilities")
os.execv(sys.argv[1], sys.argv[1:])
"""


def question(number: int) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}).encode()


def answer_to(body: bytes) -> bytes:
    """Every question has its own answer, of some kB that do not compress."""
    seed = hashlib.sha256(body).hexdigest()
    text = random.Random(seed).randbytes(3000).hex()
    choice = {"index": 0, "message": {"role": "assistant", "content": seed + text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    def answer(request: Request) -> Reply:
        return Reply([answer_to(request.body or b"")])

    providers.answer = answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ai.sqlite3"


@pytest.fixture
def fire(start: StartProxy, client_of: ClientOf, tmp_path: Path) -> Callable[..., UnderFire]:
    """Starts a proxy whose event loop is watched."""

    def fire(path: Path, before: tuple[Path, ...] = ()) -> UnderFire:
        watch = tmp_path / "watch.py"
        watch.write_text(WATCH)
        proxy = start(f"ai_cache_store=sqlite:///{path}", AS_USERS_HAVE_IT, before=(watch, *before))
        return UnderFire(proxy, client_of(proxy), path)

    return fire


class UnderFire:
    def __init__(self, proxy: Process, client: Client, path: Path) -> None:
        self.proxy = proxy
        self.client = client
        self.path = path

    def ask(self, *numbers: int) -> list[str]:
        """What became of each call. None may fail, and none may get the answer to another question."""
        return [self._ask(number).cache for number in numbers]

    def _ask(self, number: int) -> Got:
        got = self.client.request(OPENAI, question(number))
        assert got.status == 200, got
        assert got.body == answer_to(question(number)), "the answer to another question"
        return got

    def fill(self, *numbers: int) -> None:
        """Have these, and no others, in the file."""
        self.ask(*numbers)
        deadline = time.monotonic() + 60
        with closing(sqlite3.connect(self.path)) as connection:
            while connection.execute("SELECT entries FROM total").fetchone() != (len(numbers),):
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def works_again(self, number: int) -> None:
        """Within seconds an answer is kept in the file itself."""
        deadline = time.monotonic() + 60
        while (number := number + 1) and time.monotonic() < deadline:
            self.ask(number)
            time.sleep(0.1)
            if self._is_in_the_file(number):
                assert self.ask(number) == ["HIT"]
                return
        raise AssertionError("nothing is kept any more:\n" + "\n".join(self.said()))

    def _is_in_the_file(self, number: int) -> bool:
        with closing(sqlite3.connect(self.path)) as connection:
            try:
                rows = connection.execute("SELECT answer FROM entry").fetchall()
            except sqlite3.Error:
                return False
        return any(Entry.unpack(row[0]).body == answer_to(question(number)) for row in rows)

    def said(self) -> list[str]:
        """What the proxy says of its store, but for its first line."""
        lines = [line for line in self.proxy.lines if self.path.name in line or "the store" in line]
        return [line for line in lines if "ai-cache: mode" not in line]

    def settled(self) -> dict[str, bytes]:
        """Stop; the event loop was never blocked, the file is sound, and all it holds is right. The bodies by key."""
        assert self.proxy.alive
        self.proxy.stop()
        blocked = int(self.proxy.wait_for(re.compile(r"blocked for (\d+) ms"))[1]) / 1000
        print(f"the event loop was blocked for {blocked * 1000:.0f} ms at most")
        assert blocked < BUDGET
        return sound(self.path)


def sound(path: Path) -> dict[str, bytes]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
        assert connection.execute("SELECT entries FROM total").fetchone() == (count,)

    async def walk() -> dict[str, bytes]:
        store = SqliteStore(f"sqlite:///{path}", 1 << 30)
        await store.open()
        found = [entry async for entry in store.entries()]
        await store.close()
        assert not store.failures
        assert all(entry.body == answer_to(entry.request) for entry in found)
        return {entry.key: entry.body for entry in found}

    found = asyncio.run(walk())
    assert len(found) == count
    return found


# The disk


def test_a_limit_of_the_disk_is_no_fault_of_a_call(fire: Callable[..., UnderFire], path: Path) -> None:
    under = fire(path)
    under.fill(*range(20))
    pid = under.proxy._process.pid  # type: ignore[union-attr]
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, -1))
    assert under.ask(*range(100, 130)) == ["MISS"] * 30
    assert under.ask(*range(20)) == ["HIT"] * 20
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    time.sleep(2)  # so long it must have been quiet
    under.works_again(200)
    assert len(under.said()) == 2, under.said()
    assert "cannot write to" in under.said()[0]
    assert "keeps answers again" in under.said()[1]
    assert len(under.settled()) > 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("when", ["later", "at the start"])
def test_a_full_disk_is_no_fault_of_a_call(fire: Callable[..., UnderFire], small_disk: Path, when: str) -> None:
    path = small_disk / "ai.sqlite3"
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)

    if when == "at the start":
        fill()
    under = fire(path)
    if when == "later":
        under.fill(*range(20))
        fill()
    statuses = under.ask(*range(1000, 1030), *range(20))
    if when == "later":
        assert statuses[30:] == ["HIT"] * 20
    ballast.unlink()
    time.sleep(2)
    under.works_again(2000)
    assert len(under.said()) == 2, under.said()
    under.settled()


@pytest.fixture
def bound_by_modes(
    providers: FakeProviders, tmp_path: Path, client_of: ClientOf
) -> Iterator[Callable[[Path], UnderFire]]:
    """Starts a proxy that file modes bind, also where root runs it."""
    prefix = [sys.executable, "-c", BOUND_BY_MODES]
    done = subprocess.run([*prefix, shutil.which("true") or "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"root cannot be bound by file modes here: {done.stderr.strip()}")
    started = []

    def start(path: Path) -> UnderFire:
        watch = tmp_path / "watch.py"
        watch.write_text(WATCH)
        process = mitmdump(providers, tmp_path, f"ai_cache_store=sqlite:///{path}", AS_USERS_HAVE_IT, before=(watch,))
        process.arguments[:0] = prefix
        started.append(process.start())
        return UnderFire(process, client_of(process), path)

    yield start
    for process in started:
        if process.alive:
            process.stop()


@pytest.mark.parametrize("what", ["file", "folder", "folder of a file"])
def test_what_may_not_be_written_is_no_fault_of_a_call(
    bound_by_modes: Callable[[Path], UnderFire], path: Path, what: str
) -> None:
    path.parent.mkdir()
    if what != "folder":
        asyncio.run(_made(path))
    taken = path if what == "file" else path.parent
    mode = taken.stat().st_mode
    taken.chmod(mode & 0o555)
    try:
        under = bound_by_modes(path)
        assert under.ask(*range(10), *range(10)) == ["MISS"] * 20
    finally:
        taken.chmod(mode)
    time.sleep(2)
    under.works_again(100)
    assert len(under.said()) == 2, under.said()
    assert str(path) in under.said()[0]
    under.settled()


async def _made(path: Path) -> None:
    store = SqliteStore(f"sqlite:///{path}", 1 << 30)
    await store.open()
    await store.close()


# Others


@contextmanager
def locked(path: Path, whole: bool = False) -> Iterator[None]:
    """Another process holds the file; `whole`: it lets nobody read either."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if whole:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_lock_of_another_process_costs_neither_time_nor_entries(fire: Callable[..., UnderFire], path: Path) -> None:
    under = fire(path)
    under.fill(*range(20))
    with locked(path):
        until = time.monotonic() + 6  # longer than a writer waits
        number = 100
        while time.monotonic() < until:
            assert under.ask(number, number, number % 20) == ["MISS", "HIT", "HIT"]
            number += 1
            time.sleep(0.02)
    under.works_again(1000)
    assert [line for line in under.said() if "locked" in line] == under.said()[:1]
    assert len(under.said()) <= 2, under.said()
    assert len(under.settled()) >= 20 + number - 100


def test_a_file_that_is_locked_at_the_start_is_used_once_it_is_free(fire: Callable[..., UnderFire], path: Path) -> None:
    path.parent.mkdir()
    asyncio.run(_made(path))
    with locked(path, whole=True):
        under = fire(path)
        assert under.ask(*range(20), *range(20)) == ["MISS"] * 20 + ["HIT"] * 20  # from what waits
    time.sleep(2)
    under.works_again(100)
    assert len(under.said()) == 2, under.said()
    under.settled()


def test_a_full_queue_keeps_no_answer_and_fails_no_call(
    fire: Callable[..., UnderFire], path: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.py"
    short.write_text("from mitmproxy_ai_cache.stores.sqlite import thread\nthread._QUEUE = 5\n")
    under = fire(path, before=(short,))
    under.fill(0)
    with locked(path):
        under.ask(*range(100, 140))
    time.sleep(2)
    under.works_again(1000)
    assert len(under.said()) == 2, under.said()
    assert "faster" in under.said()[0]
    assert under.settled()


@pytest.mark.parametrize("how", ["folder", "file", "journal"])
def test_a_file_that_is_deleted_is_made_again(fire: Callable[..., UnderFire], path: Path, how: str) -> None:
    under = fire(path)
    under.ask(*range(20))
    if how == "folder":
        shutil.rmtree(path.parent)
    elif how == "file":
        path.unlink()
    else:
        path.with_name(f"{path.name}-wal").unlink()
    until = time.monotonic() + 2.5
    number = 100
    while time.monotonic() < until:
        under.ask(number, number, number % 20)
        number += 1
        time.sleep(0.02)
    under.works_again(1000)
    assert len(under.said()) == 1, under.said()
    assert under.settled()


def test_another_store_that_takes_the_place_is_used(fire: Callable[..., UnderFire], path: Path, tmp_path: Path) -> None:
    other = fire(tmp_path / "other.sqlite3")
    other.ask(*range(1000, 1040))
    other.settled()
    under = fire(path)
    under.ask(*range(40))
    os.replace(other.path, path)
    deadline = time.monotonic() + 60
    while under.ask(1000) != ["HIT"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert under.ask(*range(1000, 1040)) == ["HIT"] * 40
    under.works_again(2000)
    assert len(under.said()) == 1, under.said()
    under.settled()


@pytest.mark.parametrize("seed", range(3))
def test_damage_in_the_middle_of_the_file_gives_no_wrong_answer(
    fire: Callable[..., UnderFire], path: Path, seed: int
) -> None:
    first = fire(path)
    first.ask(*range(80))
    assert len(first.settled()) == 80
    under = fire(path)
    under.ask(0)
    dice = random.Random(seed)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(dice.randrange(size // 4, size // 2))
        file.write(dice.randbytes(size // 4))
    under.ask(*range(80), *range(80))
    under.works_again(1000)
    said = [line for line in under.said() if "can be read again" not in line]  # said where that took 2 s
    assert len(said) == 1, said
    assert "set aside" in said[0]
    under.settled()


def test_two_proxies_that_write_one_file_at_once_keep_every_answer(
    fire: Callable[..., UnderFire], client_of: ClientOf, path: Path
) -> None:
    both = fire(path), fire(path)
    wrong: list[BaseException] = []

    def load(under: UnderFire, numbers: range) -> None:
        client = UnderFire(under.proxy, client_of(under.proxy), path)
        try:
            client.ask(*numbers)
        except BaseException as error:
            wrong.append(error)

    loads = [(both[half % 2], range(half * 100, half * 100 + 100)) for half in range(4)]
    threads = [threading.Thread(target=load, args=pair) for pair in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert both[0].ask(*range(400)) == both[1].ask(*range(400)) == ["HIT"] * 400
    assert both[0].said() == both[1].said() == []
    both[0].proxy.stop()
    assert len(both[1].settled()) == 400
