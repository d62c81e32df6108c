"""kill -9 at random moments under write load: every start works, and nothing wrong is ever read back.

Most rounds drive the store alone in a child process, because a round with a whole mitmdump takes seconds.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest
from test_sqlite_fire import OPENAI, answer_to, question

from harness import ROOT, Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from valkey import Valkey, wait_until

pytestmark = pytest.mark.slow

CHILD = """
import asyncio, hashlib, logging, random, sys, time
from contextlib import suppress
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import StoreError, for_url

def body_of(key):
    return random.Random(key).randbytes(500 + int(key[:4], 16) % 4000)

def entry(number):
    key = hashlib.sha256(b"%d" % number).hexdigest()
    headers = (("content-type", "application/json"),)
    return Entry(key, time.time(), 3600, 200, headers, "json", body_of(key), request=key.encode(),
                 request_headers=(("anthropic-version", key[:8]),), namespace=key[:1], run=key[-12:])

def right(found):
    key = found.key
    return found.body == body_of(key) and found.run == key[-12:] and found.namespace == key[:1]

async def main(url, first, proven_from, proven):
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    store = for_url(url, 2 << 20)
    await store.open()
    read = wrong = 0
    async for found in store.entries():
        read += 1
        wrong += not (right(found) and found.request == found.key.encode())
    lost = 0
    for number in range(max(proven_from, proven - 50), proven):
        wanted = entry(number)
        found = await store.get(wanted.key, wanted.namespace)
        lost += found is None
        read += found is not None
        wrong += found is not None and not (right(found) and found.key == wanted.key)
    print("read", read, wrong, lost, store.failures["broken-entry"], flush=True)
    number = first
    while True:
        for _ in range(random.randrange(1, 60)):
            store.put(entry(number))
            number += 1
        asked = entry(random.randrange(number))
        with suppress(StoreError):
            found = await store.get(asked.key, asked.namespace)
            if found is not None and not (right(found) and found.key == asked.key):
                print("wrong", flush=True)
        began = time.monotonic()
        await store.flushed()
        if not store.dropped and time.monotonic() - began < 4:
            print("proven", number, flush=True)

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""


@dataclass
class Tally:
    rounds: int = 0
    read: int = 0
    wrong: int = 0
    lost: int = 0
    """Written for sure, then killed, and not found."""
    broken: int = 0
    failed_starts: int = 0
    written: int = 0

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.written} entries written, {self.read} read back, {self.wrong} wrong, "
            f"{self.lost} lost, {self.broken} broken, {self.failed_starts} failed starts"
        )

    @property
    def clean(self) -> bool:
        return self.wrong == self.lost == self.broken == self.failed_starts == 0


class Writer:
    """A process that checks all that is in the store, and then writes to it, from `first` on, until it is killed.

    Of what the one `before` it has written for sure, the newest entries must be there.
    """

    def __init__(self, url: str, first: int, before: Writer | None = None) -> None:
        proven = (before.first, before.proven) if before is not None else (0, 0)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, *map(str, (first, *proven))],
            env={**os.environ, "PYTHONPATH": str(ROOT / "addon")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.first = self.proven = first

    def checked(self, tally: Tally) -> None:
        """Wait until it has read the store."""
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if not words or words[0] != "read":
            tally.failed_starts += 1
            return
        read, wrong, lost, broken = map(int, words[1:])
        tally.read += read
        tally.wrong += wrong
        tally.lost += lost
        tally.broken += broken

    def kill(self, tally: Tally) -> None:
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        said, errors = self.process.communicate(timeout=60)
        for line in said.splitlines():
            word, _, number = line.partition(" ")
            if word == "proven" and number.isdigit():
                self.proven = int(number)
            tally.wrong += word == "wrong"
        tally.failed_starts += not alive
        assert "set aside" not in errors, errors
        assert alive, errors


def sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        signatures = "SELECT ifnull(sum(length(signature)), 0) FROM search"
        counted = connection.execute(f"SELECT count(*), sum(size) + ({signatures}) FROM entry").fetchone()
        total = connection.execute("SELECT entries, size FROM total").fetchone()
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and counted == total


ROUNDS = [6, pytest.param(200, marks=pytest.mark.soak)]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_writers_to_sqlite_that_are_killed_leave_only_right_entries(tmp_path: Path, rounds: int) -> None:
    """In every third round two at once."""
    path = tmp_path / "cache.sqlite3"
    dice, tally = random.Random(), Tally()
    last = None
    for number in range(rounds):
        writers = [Writer(f"sqlite:///{path}", number * 1_000_000, last)]
        writers[0].checked(tally)
        if number % 3 == 2:  # starts while the first one writes, which may drive out what was there
            writers.append(Writer(f"sqlite:///{path}", number * 1_000_000 + 500_000))
            writers[1].checked(tally)
        for writer in writers:
            time.sleep(dice.uniform(0.0, 0.3))
            writer.kill(tally)
        tally.written += sum(writer.proven - writer.first for writer in writers)
        last = writers[-1]
        tally.rounds += 1
        if number % 10 == 0:
            assert sound(path)
    print(f"\nkill -9 on SQLite: {tally}")
    assert sound(path)
    assert tally.clean, tally
    assert tally.read > 0
    assert sorted(file.name.removeprefix(path.name) for file in tmp_path.iterdir()) in (
        [""],
        ["", "-shm", "-wal"],
    ), "something was set aside"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey", ("--appendonly", "yes"))
    yield server
    server.stop()


def wait_till_loaded(valkey: Valkey) -> None:
    """Until then the server refuses everything, and a proxy that starts goes on without it."""
    deadline = time.monotonic() + 60
    with socket.create_connection(("127.0.0.1", valkey.port), 5) as plain:
        said = b""
        while not said.startswith(b"+PONG"):
            assert time.monotonic() < deadline, said
            plain.sendall(b"PING\r\n")
            said = plain.recv(1000)
            time.sleep(0.01)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_writers_to_a_shared_store_that_are_killed_leave_only_right_entries(valkey: Valkey, rounds: int) -> None:
    """In every fourth round the server is killed with them, and started on what it has written."""
    valkey.options += ("--maxmemory", "6mb", "--maxmemory-policy", "volatile-ttl")
    valkey.options += ("--auto-aof-rewrite-min-size", "8mb")  # so that it is also killed while it rewrites its log
    valkey.start()
    dice, tally = random.Random(), Tally()
    writer = None
    for number in range(rounds):
        writer = Writer(valkey.url, number * 1_000_000, writer)
        writer.checked(tally)
        time.sleep(dice.uniform(0.0, 0.3))
        if number % 4 == 3:
            valkey.stop()
            time.sleep(dice.uniform(0.0, 0.1))
        writer.kill(tally)
        if number % 4 == 3:
            valkey.start()
            wait_till_loaded(valkey)
        tally.written += writer.proven - writer.first
        tally.rounds += 1
    print(f"\nkill -9 on Valkey: {tally}")
    assert tally.clean, tally
    assert tally.read > 0


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.soak)])
@pytest.mark.parametrize("store", ["sqlite", "valkey"])
def test_a_proxy_that_is_killed_starts_again_and_answers_right(
    store: str,
    rounds: int,
    valkey: Valkey,
    providers: FakeProviders,
    start: Callable[..., Process],
    client_of: Callable[[Process], Client],
    tmp_path: Path,
) -> None:
    def answer(request: Request) -> Reply:
        return Reply([answer_to(request.body or b"")])

    providers.answer = answer
    url = f"sqlite:///{tmp_path}/killed.sqlite3" if store == "sqlite" else valkey.start().url
    dice, tally, hits = random.Random(), Tally(), 0
    for number in range(rounds):
        proxy = start(f"ai_cache_store={url}")
        clients = [client_of(proxy) for _ in range(3)]
        for known in range(max(0, number * 1000 - 1000), max(0, number * 1000 - 970)):
            got = clients[0].request(OPENAI, question(known))
            tally.read += 1
            tally.wrong += got.status != 200 or got.body != answer_to(question(known))
            hits += got.cache == "HIT"
        loads = [
            threading.Thread(target=_load, args=(client, range(number * 1000 + part, number * 1000 + 1000, 3), tally))
            for part, client in enumerate(clients)
        ]
        for load in loads:
            load.start()
        enough = tally.written + 60
        wait_until(lambda enough=enough: tally.written >= enough, "enough calls")  # type: ignore[misc]
        time.sleep(dice.uniform(0.0, 0.6))
        proxy.stop(signal.SIGKILL)
        if store == "valkey" and number % 4 == 3:
            valkey.stop()
            valkey.start()
            wait_till_loaded(valkey)
        for load in loads:
            load.join()
        tally.rounds += 1
    print(f"\nkill -9 of mitmdump on {store}: {tally}, {hits} hits")
    assert tally.clean, tally
    assert hits > 0
    if store == "sqlite":
        assert sound(tmp_path / "killed.sqlite3")


def _load(client: Client, numbers: range, tally: Tally) -> None:
    """Ask until the proxy is gone."""
    with suppress(OSError, HTTPException):
        for number in numbers:
            got = client.request(OPENAI, question(number))
            tally.written += 1
            tally.wrong += got.status != 200 or got.body != answer_to(question(number))
