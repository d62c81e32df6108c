"""Misses: what the addon adds to an answer that comes from the provider."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .figures import Figure, Sample, in_turns, ratios
from .material import KB, chat
from .scenario import Bench, per_cpu, scenario, times
from .subjects import Proxy


@scenario("misses", quick=True)
def misses(bench: Bench) -> Iterator[Figure]:
    """Misses against a stock mitmdump that streams the same: JSON of 2 kB, and SSE with 500 events."""
    subjects = {"mitmdump + addon": bench.stage.addon(), "serve": bench.stage.serve()}
    mitmdump = bench.stage.streaming()
    asked = 0

    def ask(proxy: Proxy, answer: str, connections: int) -> Sample:
        nonlocal asked
        asked += 1
        body = chat(2 * KB, answer, stream=answer.startswith("sse"))
        more = {"connections": connections, "distinct": 1_000_000, "first": asked * 100_000}
        seconds = max(10.0, bench.seconds) if "paced" in answer else max(4.0, bench.seconds)  # it takes 0.7 s
        sample = bench.load(proxy, body, "tls", seconds=seconds, **more)
        if sample.hits or sample.failed:
            raise SystemExit(f"ai-cache: bench: {proxy.name} was to miss: {sample}")
        return sample

    for proxy in (mitmdump, *subjects.values()):
        ask(proxy, "json-2k", 1)
    for answer, words, connections in (
        ("json-2k", "JSON miss", 4), ("sse-500-paced", "SSE miss, an event each ms", 1), ("sse-500", "SSE miss", 4),
    ):  # fmt: skip
        everybody = {"mitmdump": mitmdump, **subjects}
        measures = {name: partial(ask, proxy, answer, connections) for name, proxy in everybody.items()}
        found = in_turns(bench.rounds, measures)
        for name in subjects:
            yield from _figures(f"{words}, {name}", found[name], found["mitmdump"], answer)


@scenario("slow-provider")
def slow_provider(bench: Bench) -> Iterator[Figure]:
    """Misses with a provider that takes 20 ms and 200 ms, one at a time, against a stock mitmdump that streams."""
    ours, mitmdump = bench.stage.addon(), bench.stage.streaming()
    asked = 0

    def ask(proxy: Proxy, answer: str) -> Sample:
        nonlocal asked
        asked += 1
        body = chat(2 * KB, answer, stream=answer.startswith("sse"))
        return bench.load(proxy, body, "tls", seconds=bench.seconds, distinct=1_000_000, first=asked * 100_000)

    for proxy in (mitmdump, ours):
        ask(proxy, "json-2k")
    for kind, words in {"json-2k": "JSON", "sse-500": "SSE"}.items():
        for pause in (20, 200):
            answer = f"{kind}-after-{pause}"
            found = in_turns(bench.rounds, {name: partial(ask, *each) for name, each in {
                "addon": (ours, answer), "mitmdump": (mitmdump, answer),
            }.items()})  # fmt: skip
            name = f"{words} miss after {pause} ms, mitmdump + addon"
            yield from _figures(name, found["addon"], found["mitmdump"], answer)


def _figures(name: str, ours: list[Sample], theirs: list[Sample], answer: str) -> Iterator[Figure]:
    goal = 1.05 if "addon" in name else None
    yield times(f"{name}: time to first byte", ours, theirs, lambda each: each.first_byte, goal)
    yield times(f"{name}: total time", ours, theirs, lambda each: each.p50, goal)
    if answer == "sse-500-paced":
        yield times(f"{name}: delay of an event", ours, theirs, lambda each: each.event_delay)
    by_cpu = [sample.cpu_each * 1000 for sample in (*ours, *theirs)]
    note = f"{sum(by_cpu[: len(ours)]) / len(ours):.3g} ms to {sum(by_cpu[len(ours) :]) / len(theirs):.3g} ms"
    more = tuple(1 / ratio for ratio in ratios(ours, theirs, per_cpu))
    yield Figure(f"{name}: CPU per request", more, None, note=note, rounds={"subject": ours, "baseline": theirs})
