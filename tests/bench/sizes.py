"""What grows: the store, the memory."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mitmproxy_ai_cache.entry import Entry
from mitmproxy_ai_cache.stores import sqlite_file
from mitmproxy_ai_cache.stores.sqlite import _INSERT

from . import load
from .figures import Figure, Goal, Sample, ratios
from .machine import memory_of
from .material import KB, chat, text
from .scenario import Bench, scenario, times
from .subjects import Proxy

_ASKED = 1000
"""Entries of a large store that are asked for."""


@scenario("entries")
def entries(bench: Bench) -> Iterator[Figure]:
    """1 k, 100 k and 1 M entries in SQLite: time of a hit, start-up and memory. 1.5 GB on disk, minutes to fill."""
    sizes = {"1 k": 1000, "100 k": 100_000, "1 M": 1_000_000}
    stores = {name: bench.stage.sqlite() for name in sizes}
    for name, size in sizes.items():
        fill(Path(stores[name].removeprefix("sqlite:///")), size)
    hits: dict[str, list[Sample]] = {name: [] for name in sizes}
    starts: dict[str, list[float]] = {name: [] for name in sizes}
    memory: dict[str, list[float]] = {name: [] for name in sizes}
    body = chat(2 * KB)
    for number in range(bench.rounds + 1):
        for name in sizes:
            proxy = bench.stage.serve(stores[name], "ai_cache_max_size=16g")
            bench.load(proxy, body, "plain", requests=_ASKED, distinct=_ASKED, connections=4)
            sample = bench.load(proxy, body, "plain", distinct=_ASKED)
            if number:  # the first time the answers were fetched
                assert sample.hits == sample.requests, sample
                hits[name].append(sample)
                starts[name].append(proxy.start_up)
                memory[name].append(memory_of(proxy.pid))
            proxy.end()
    for name in ("100 k", "1 M"):
        ours = f"{name} entries to 1 k: "
        yield times(ours + "hit p50", hits[name], hits["1 k"], lambda each: each.p50, 1.2)
        for what, unit, found in (("start-up", "s", starts), ("memory", "MB", memory)):
            note = f"{found[name][0]:.3g} {unit} to {found['1 k'][0]:.3g} {unit}"
            more = ratios(found[name], found["1 k"], float)
            yield Figure(ours + what, more, Goal(1.1, at_most=True), note=note, rounds=found)


def fill(path: Path, entries: int) -> None:
    """Answers of a kB each under keys that nobody asks for."""
    now = time.time()
    entry = Entry("0" * 64, now, 7 * 86400.0, 200, (), "json", text(KB).encode(), model="m", url="https://filled/")
    answer, request = entry.pack_answer(), entry.pack_request()
    row = (
        now,
        now,
        entry.expires,
        len(answer) + len(request),
        "openai-chat",
        "m",
        entry.url,
        "",
        None,
        answer,
        request,
    )
    connection = sqlite_file.open_or_set_aside(path)
    connection.execute("BEGIN")
    connection.executemany(_INSERT, ((secrets.token_hex(32), *row) for _ in range(entries)))
    connection.execute("COMMIT")
    connection.close()


@scenario("memory")
def memory(bench: Bench) -> Iterator[Figure]:
    """Memory at rest, and with 200 streams at once, against a stock mitmdump."""
    rest: dict[str, list[float]] = {"mitmdump": [], "serve": [], "mitmdump + addon": []}
    busy: dict[str, list[float]] = {name: [] for name in rest}
    stage = bench.stage
    starts = {"mitmdump": stage.streaming, "serve": stage.serve, "mitmdump + addon": stage.addon}
    for number in range(min(3, bench.rounds)):
        for name, start in starts.items():
            proxy = start()
            bench.load(proxy, chat(2 * KB), "tls", requests=1)
            rest[name].append(memory_of(proxy.pid))
            busy[name].append(_with_streams(bench, proxy, 200, number) - rest[name][-1])
            proxy.end()
    for name in ("serve", "mitmdump + addon"):
        for what, found in (("memory at rest", rest), ("memory that 200 streams add", busy)):
            note = f"{found[name][0]:.0f} MB to {found['mitmdump'][0]:.0f} MB"
            yield Figure(
                f"{name} to mitmdump: {what}", ratios(found[name], found["mitmdump"], float), None, (), note, found
            )


def _with_streams(bench: Bench, proxy: Proxy, streams: int, number: int) -> float:
    """Resident memory in MB at most, while so many answers come."""
    body = chat(2 * KB, "sse-slow", stream=True).decode()
    spec = load.Spec(
        (proxy.port,), (proxy.pid,), body, "tls", streams, str(proxy.ca), requests=streams, distinct=10_000,
        first=number * 10_000,
    )  # fmt: skip
    words = [sys.executable, "-m", "bench.load"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(spec)).encode())
    process.stdin.close()
    most = 0.0
    while process.poll() is None:
        most = max(most, memory_of(proxy.pid))
        time.sleep(0.05)
    return most


@scenario("flat")
def flat(bench: Bench) -> Iterator[Figure]:
    """Memory after 100 k distinct requests through a store of 256 MB, against that after 20 k. Some ten minutes."""
    step = 20_000
    for name in ("SQLite", "memory"):
        store = bench.stage.sqlite() if name == "SQLite" else "memory:"
        proxy = bench.stage.serve(store, "ai_cache_max_size=256m")
        seen = [memory_of(proxy.pid)]
        for number in range(5):
            bench.load(
                proxy, chat(2 * KB), "plain", requests=step, distinct=step, first=number * step, connections=16
            )  # fmt: skip
            seen.append(memory_of(proxy.pid))
        note = " ".join(f"{each:.0f}" for each in seen) + " MB after each 20 k"
        more = (seen[-1] / seen[1],)
        yield Figure(
            f"memory after 100 k misses to after 20 k, serve ({name})", more, Goal(1.1, True), (), note, {"MB": seen}
        )
        proxy.end()
