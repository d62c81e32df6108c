"""What grows: the store, the memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median

from mitmproxy_ai_cache.stores.sqlite.store import SqliteStore

from . import filled, load
from .figures import Figure, Goal, Sample, ratios
from .machine import cpu_of, memory_of
from .material import KB, chat
from .scenario import Bench, scenario, times
from .subjects import Proxy

_ASKED = 5000
"""Entries of a large store that are asked for: they lie all over it."""


@scenario("entries")
def entries(bench: Bench) -> Iterator[Figure]:
    """1 k, 100 k and 1 M entries of 2 kB in SQLite: time of a hit, start-up, memory. Keeps 5 GB of files."""
    sizes = {"1 k": 1000, "100 k": 100_000, "1 M": 1_000_000}
    stores = {name: f"sqlite:///{filled.store(size)}" for name, size in sizes.items()}
    starts: dict[str, list[float]] = {name: [] for name in sizes}
    start_cpu: dict[str, list[float]] = {name: [] for name in sizes}
    rest: dict[str, list[float]] = {name: [] for name in sizes}
    used: dict[str, list[float]] = {name: [] for name in sizes}
    hits: dict[str, list[Sample]] = {name: [] for name in sizes}
    for last in [False] * (bench.rounds - 1) + [True]:
        proxies = {}
        for name in sizes:
            proxies[name] = proxy = bench.stage.serve(stores[name], "ai_cache_max_size=16g")
            starts[name].append(proxy.start_up)
            start_cpu[name].append(cpu_of(proxy.pid))
            rest[name].append(memory_of(proxy.pid))
            if not last:
                proxy.end()
    for name, proxy in proxies.items():
        # All that is asked for once: when an entry was used last is written down, at most once a minute.
        sample = bench.load(proxy, filled.QUESTION, "plain", requests=2 * _ASKED, distinct=_asked(sizes[name]))
        if sample.hits != sample.requests:
            raise SystemExit(f"ai-cache: bench: {2 * _ASKED} hits were expected of {name} entries: {sample}")
        used[name].append(memory_of(proxy.pid))
    for _ in range(bench.rounds):
        for name, proxy in proxies.items():
            hits[name].append(bench.load(proxy, filled.QUESTION, "plain", distinct=_asked(sizes[name])))
    for name in ("100 k", "1 M"):
        ours = f"{name} entries to 1 k: "
        yield times(ours + "hit p50", hits[name], hits["1 k"], lambda each: each.p50, 1.2)
        yield _grown(ours + "start-up", "s", 1.1, starts[name], starts["1 k"], start_cpu[name], start_cpu["1 k"])
        yield _grown(ours + "memory at rest", "MB", 1.1, rest[name], rest["1 k"])
        yield _grown(f"{ours}memory after {2 * _ASKED:,} hits", "MB", 1.1, used[name], used["1 k"])


def _asked(entries: int) -> int:
    return min(entries, _ASKED)


def _grown(name: str, unit: str, goal: float, ours: list[float], theirs: list[float], *cpu: list[float]) -> Figure:
    by_cpu = ratios(*cpu, float) if cpu else ()
    note = f"{median(ours):.3g} {unit} to {median(theirs):.3g} {unit}"
    return Figure(
        name, ratios(ours, theirs, float), Goal(goal, True), by_cpu, note, {"subject": ours, "baseline": theirs}
    )


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
    """Memory while 100 k distinct answers of 20 kB go through a store of 256 MB, full after 30 k. 10 min."""
    step = 10_000
    for name in ("SQLite", "memory"):
        store = bench.stage.sqlite() if name == "SQLite" else "memory:"
        proxy = bench.stage.serve(store, "ai_cache_max_size=256m")
        seen = [memory_of(proxy.pid)]
        for number in range(10):
            body = chat(2 * KB, "json-20k")
            bench.load(proxy, body, "plain", requests=step, distinct=step, first=number * step, connections=8)
            seen.append(memory_of(proxy.pid))
        note = " ".join(f"{each:.0f}" for each in seen) + " MB at the start and after each 10 k"
        more = (seen[-1] / seen[3],)
        yield Figure(
            f"serve ({name}): memory after 100 k misses to 30 k", more, Goal(1.1, True), (), note, {"MB": seen}
        )
        proxy.end()


@scenario("eviction")
def eviction(bench: Bench) -> Iterator[Figure]:
    """The longest that a put into 1 M entries waits to be written, with the budget used up, against one with room."""
    path = bench.stage.folder / "full.sqlite3"
    shutil.copyfile(filled.store(1_000_000), path)
    os.sync()
    size = filled.size_of(path)
    waited: dict[str, list[float]] = {"room": [], "full": []}
    number = 0
    for _ in range(bench.rounds):
        for name, budget in {"room": 2 * size, "full": size}.items():
            waited[name].append(asyncio.run(_slowest_put(path, budget, number)))
            number += _PUT
    note = f"{median(waited['full']) * 1e3:.3g} ms to {median(waited['room']) * 1e3:.3g} ms"
    more = ratios(waited["full"], waited["room"], float)
    yield Figure("1 M entries, budget used up to room left: slowest put", more, None, (), note, waited)


_PUT = 200


async def _slowest_put(path: Path, budget: int, first: int) -> float:
    """Seconds from its being handed over till it is written."""
    store = SqliteStore(f"sqlite:///{path}", budget)
    await store.open()
    taken = []
    for number in range(first, first + _PUT):
        began = time.perf_counter()
        store.put(filled.entry_of(f"{number:064x}"))
        await store.flushed(60)
        taken.append(time.perf_counter() - began)
    await store.close(60)
    return max(taken)
