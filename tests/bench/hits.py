"""Hits: how many a second, and how long one takes."""

from __future__ import annotations

from collections.abc import Iterator

from .figures import Figure
from .material import KB, MB, chat
from .scenario import Bench, scenario, throughput, times

SMALL = chat(2 * KB)


def _hits(bench: Bench, protocol: str) -> Iterator[Figure]:
    stage = bench.stage
    floor, bare, addon, serve = bench.hits([stage.floor(), stage.bare(), stage.addon(), stage.serve()], SMALL, protocol)
    yield throughput(f"{protocol}: hits/s, serve (SQLite) to floor", serve, floor, 1.6)
    yield throughput(f"{protocol}: hits/s, serve (SQLite) to bare Master", serve, bare, 0.9)
    yield throughput(f"{protocol}: hits/s, mitmdump + addon to floor", addon, floor, 0.9)


@scenario("plain", quick=True)
def plain(bench: Bench) -> Iterator[Figure]:
    """Plain HTTP, 16 connections, 2 kB asked and answered: serve, addon, bare Master, floor."""
    yield from _hits(bench, "plain")


@scenario("tls", quick=True)
def tls(bench: Bench) -> Iterator[Figure]:
    """The same behind CONNECT and TLS, connections kept alive."""
    yield from _hits(bench, "tls")


@scenario("h2")
def h2(bench: Bench) -> Iterator[Figure]:
    """The same over HTTP/2, 16 requests in flight on one connection."""
    yield from _hits(bench, "h2")


@scenario("latency", quick=True)
def latency(bench: Bench) -> Iterator[Figure]:
    """The median time of a hit with one connection, plain and TLS."""
    for protocol in ("plain", "tls"):
        floor, serve = bench.hits([bench.stage.floor(), bench.stage.serve()], SMALL, protocol, connections=1)
        yield times(f"{protocol}: hit p50 at 1 connection, serve to floor", serve, floor, lambda each: each.p50, 0.65)


@scenario("redis", quick=True)
def redis(bench: Bench) -> Iterator[Figure]:
    """Redis on loopback, near cache off and on."""
    stage, store = bench.stage, bench.stage.redis()
    subjects = [stage.floor(), stage.serve(store, "ai_cache_near_size=0"), stage.serve(store)]
    floor, far, near = bench.hits(subjects, SMALL)
    yield throughput("plain: hits/s, serve (Redis, near cache off) to floor", far, floor, 1.4)
    yield throughput("plain: hits/s, serve (Redis, near cache on) to floor", near, floor, 1.6)


@scenario("stores")
def stores(bench: Bench) -> Iterator[Figure]:
    """Memory, SQLite and Redis, plain HTTP, 16 connections."""
    stage = bench.stage
    names = {"memory": "memory:", "SQLite": stage.sqlite(), "Redis": stage.redis()}
    floor, *ours = bench.hits([stage.floor(), *map(stage.serve, names.values())], SMALL)
    for name, samples in zip(names, ours, strict=True):
        yield throughput(f"plain: hits/s, serve ({name}) to floor", samples, floor)


@scenario("connections")
def connections(bench: Bench) -> Iterator[Figure]:
    """1, 16 and 128 connections (in HTTP/2: requests in flight), each protocol."""
    subjects = [bench.stage.floor(), bench.stage.serve()]
    for protocol in ("plain", "tls", "h2"):
        for number in (1, 16, 128):
            floor, serve = bench.hits(subjects, SMALL, protocol, number)
            yield throughput(f"{protocol}: hits/s at {number} connections, serve to floor", serve, floor)


@scenario("requests")
def requests(bench: Bench) -> Iterator[Figure]:
    """Requests of 2 kB, 100 kB and 1 MB."""
    subjects = [bench.stage.floor(), bench.stage.serve()]
    for name, size in {"2 kB": 2 * KB, "100 kB": 100 * KB, "1 MB": MB}.items():
        floor, serve = bench.hits(subjects, chat(size), "tls")
        yield throughput(f"tls: hits/s, requests of {name}, serve to floor", serve, floor)


@scenario("answers")
def answers(bench: Bench) -> Iterator[Figure]:
    """Answers of 2 kB JSON, 100 kB SSE and 5 MB."""
    for name, answer in {"2 kB JSON": "json-2k", "100 kB SSE": "sse-100k", "5 MB": "json-5m"}.items():
        body = chat(2 * KB, answer, stream=answer.startswith("sse"))
        floor, serve = bench.hits([bench.stage.floor(answer), bench.stage.serve()], body, "tls")
        yield throughput(f"tls: hits/s, answers of {name}, serve to floor", serve, floor)
