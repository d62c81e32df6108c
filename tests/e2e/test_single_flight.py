"""Identical calls in flight: one call to the provider, every client its whole answer, nothing stitched."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crowd import Client, Crowd, Seen
from harness import FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from valkey import Valkey

pytestmark = pytest.mark.patches

MODELS = "http://models.example/v1/chat/completions"
SSE = (("content-type", "text/event-stream"),)
StartProxy = Callable[..., Process]

WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}).encode()


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


EVENTS = [event(f"word {number} ") for number in range(8)]
DONE = event("", "stop") + b"data: [DONE]\n\n"
STREAM = b"".join(EVENTS) + DONE


class Gate:
    """Lets the provider go on when the test says so."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        assert await asyncio.to_thread(self._open.wait, 120)


COUNTING = """
seen = 0

def request(flow):
    global seen
    seen += 1
    print("request", seen, flush=True)
"""
"""A script that says how many requests have come to the proxy."""


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    script = tmp_path / "counting.py"
    script.write_text(COUNTING)
    return script


async def arrived(proxy: Process, number: int) -> None:
    """Till so many requests are there: clients that wait send nothing back that could be waited for."""
    await asyncio.to_thread(proxy.wait_for, re.compile(f"^request {number}$"))


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def answering(gate: Gate, after: int = 0) -> Callable[[Request], Any]:
    """JSON, or a stream of which `after` events come before the gate, as the request asks."""

    async def events() -> AsyncIterator[bytes]:
        for one in EVENTS[:after]:
            yield one
        await gate.passed()
        for one in EVENTS[after:]:
            yield one
        yield DONE

    async def answer(request: Request) -> Reply:
        if b'"stream": true' in (request.body or b""):
            return Reply(events(), headers=SSE, framing="chunked")
        await gate.passed()
        return Reply([WHOLE])

    return answer


async def everybody(clients: list[Client]) -> list[Seen]:
    return await asyncio.gather(*(client.all() for client in clients))


@pytest.mark.thorough
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_thousand_identical_calls_make_one(
    stream: bool, providers: FakeProviders, start: StartProxy, gate: Gate
) -> None:
    providers.answer = answering(gate, after=3)
    proxy = start()

    async def run() -> list[Seen]:
        crowd = Crowd(MODELS, chat(stream=stream))
        clients = [await crowd.send(proxy) for _ in range(1000)]
        gate.open()
        return await everybody(clients)

    seen = asyncio.run(run())
    assert len(providers.calls) == 1
    assert all(one.status == 200 and one.whole for one in seen)
    assert {one.body for one in seen} == {STREAM if stream else WHOLE}
    statuses = [one.cache for one in seen]
    assert statuses.count("MISS no-entry") == 1
    assert set(statuses) <= {"MISS no-entry", "HIT collapsed", "HIT"}


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("others", ["waiting", "none"])
def test_the_leaders_client_leaving_half_way_harms_nobody(
    stream: bool, others: str, providers: FakeProviders, start: StartProxy, gate: Gate, counting: Path
) -> None:
    providers.answer = answering(gate, after=3)
    proxy = start(before=(counting,))

    async def run() -> list[Seen]:
        crowd = Crowd(MODELS, chat(stream=stream))
        leader = await crowd.send(proxy)
        if stream:
            await leader.head()
            await leader.some()
        else:
            await upstream_calls(providers, 1)
        clients = [await crowd.send(proxy) for _ in range(100 if others == "waiting" else 0)]
        if stream:
            for client in clients:
                await client.head()
        else:
            await arrived(proxy, 1 + len(clients))
        leader.leave()
        await asyncio.sleep(0.2)
        gate.open()
        seen = await everybody(clients)
        return [*seen, await (await crowd.send(proxy)).all()]

    seen = asyncio.run(run())
    assert all(one.status == 200 and one.whole for one in seen)
    assert {one.body for one in seen} == {STREAM if stream else WHOLE}
    assert len(providers.calls) == (1 if others == "waiting" else 2)


def test_followers_see_a_stream_live(providers: FakeProviders, start: StartProxy, gate: Gate) -> None:
    providers.answer = answering(gate, after=3)
    proxy = start()

    async def run() -> list[Seen]:
        crowd = Crowd(MODELS, chat(stream=True))
        clients = [await crowd.send(proxy) for _ in range(12)]
        for client in clients:
            await client.head()
            while client.seen.body != b"".join(EVENTS[:3]):
                await client.some()
        gate.open()
        return await everybody(clients)

    seen = asyncio.run(run())
    assert {one.body for one in seen} == {STREAM}
    assert len(providers.calls) == 1


def test_a_stream_that_breaks_off_breaks_off_for_its_followers_and_the_waiting_go_on(
    providers: FakeProviders, start: StartProxy, gate: Gate
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield EVENTS[0]
        await gate.passed()

    answers = [Reply(broken(), headers=SSE, framing="chunked", reset=True), Reply([STREAM], headers=SSE)]
    providers.answer = lambda request: answers[min(1, len(providers.calls) - 1)]
    proxy = start()

    async def run() -> tuple[list[Seen], Seen]:
        crowd = Crowd(MODELS, chat(stream=True))
        clients = [await crowd.send(proxy) for _ in range(5)]
        for client in clients:
            await client.head()
            await client.some()
        gate.open()
        seen = await everybody(clients)
        return seen, await (await crowd.send(proxy)).all()

    seen, later = asyncio.run(run())
    assert [(one.body, one.whole) for one in seen] == [(EVENTS[0], False)] * 5
    assert (later.cache, later.body) == ("MISS no-entry", STREAM)


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["status", "reset"])
def test_the_next_in_line_leads_where_the_leader_fails(
    failure: str, providers: FakeProviders, start: StartProxy, gate: Gate, counting: Path
) -> None:
    async def answer(request: Request) -> Reply:
        first = len(providers.calls) == 1
        await gate.passed()
        if not first:
            return Reply([WHOLE])
        return Reply([b"{}"], status=500) if failure == "status" else Reply([], framing="chunked", reset=True)

    providers.answer = answer
    proxy = start(before=(counting,))

    async def run() -> list[Seen]:
        crowd = Crowd(MODELS, chat())
        leader = await crowd.send(proxy)
        await upstream_calls(providers, 1)
        clients = [await crowd.send(proxy) for _ in range(50)]
        await arrived(proxy, 51)
        gate.open()
        return await everybody([leader, *clients])

    leader, *seen = asyncio.run(run())
    assert leader.status == 500 if failure == "status" else not leader.whole
    assert {(one.status, one.body) for one in seen} == {(200, WHOLE)}
    assert len(providers.calls) == 2


@pytest.mark.slow
def test_a_provider_that_keeps_failing_is_not_asked_one_after_the_other(
    providers: FakeProviders, start: StartProxy, gate: Gate
) -> None:
    async def answer(request: Request) -> Reply:
        await gate.passed()
        await asyncio.sleep(0.3)
        return Reply([b"{}"], status=429)

    providers.answer = answer
    proxy = start()

    async def run() -> float:
        crowd = Crowd(MODELS, chat())
        clients = [await crowd.send(proxy) for _ in range(40)]
        gate.open()
        began = asyncio.get_running_loop().time()
        assert {one.status for one in await everybody(clients)} == {429}
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 10  # 40 x 0.3 s would be 12


@pytest.mark.slow
def test_a_waiting_client_that_leaves_makes_no_call(
    providers: FakeProviders, start: StartProxy, gate: Gate, counting: Path
) -> None:
    providers.answer = lambda request: failing(gate)
    proxy = start(before=(counting,))

    async def run() -> None:
        crowd = Crowd(MODELS, chat())
        leader = await crowd.send(proxy)
        await upstream_calls(providers, 1)
        waiting = [await crowd.send(proxy) for _ in range(20)]
        await arrived(proxy, 21)
        for client in waiting:
            client.leave()
        await asyncio.to_thread(proxy.wait_for, re.compile("client-left"))
        gate.open()
        assert (await leader.all()).status == 500
        assert (await (await crowd.send(proxy)).all()).status == 500

    asyncio.run(run())
    assert len(providers.calls) == 2


async def failing(gate: Gate) -> Reply:
    await gate.passed()
    return Reply([b"{}"], status=500)


@pytest.mark.slow
def test_a_compressed_stream_is_followed_only_by_who_accepts_it(
    providers: FakeProviders, start: StartProxy, gate: Gate
) -> None:
    packed = gzip.compress(STREAM)

    async def compressed() -> AsyncIterator[bytes]:
        yield packed[:20]
        await gate.passed()
        yield packed[20:]

    headers = (*SSE, ("content-encoding", "gzip"))
    providers.answer = lambda request: Reply(compressed(), headers=headers, framing="chunked")
    proxy = start()

    async def run() -> tuple[Seen, Seen]:
        accepting = Crowd(MODELS, chat(stream=True), {"Accept-Encoding": "br, gzip"})
        leader = await accepting.send(proxy)
        await leader.head()
        one, other = await accepting.send(proxy), await Crowd(MODELS, chat(stream=True)).send(proxy)
        await one.head()
        gate.open()
        await leader.all()
        return await one.all(), await other.all()

    one, other = asyncio.run(run())
    assert (one.headers["content-encoding"], one.body) == ("gzip", packed)
    assert (other.headers.get("content-encoding"), other.body) == (None, STREAM)
    assert one.cache == other.cache == "HIT collapsed"
    assert len(providers.calls) == 1


def test_it_can_be_switched_off(providers: FakeProviders, start: StartProxy, gate: Gate) -> None:
    providers.answer = answering(gate)
    proxy = start("ai_cache_single_flight=false")

    async def run() -> None:
        crowd = Crowd(MODELS, chat())
        clients = [await crowd.send(proxy) for _ in range(5)]
        await upstream_calls(providers, 5)
        gate.open()
        assert {one.cache for one in await everybody(clients)} == {"MISS no-entry"}

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_two_proxies_on_one_server_make_at_most_two_calls(
    stream: bool, providers: FakeProviders, start: StartProxy, gate: Gate, counting: Path, tmp_path: Path
) -> None:
    server = Valkey(tmp_path / "valkey").start()
    try:
        providers.answer = answering(gate, after=3)
        url = f"ai_cache_store={server.url}"
        proxies = [start(url, "ai_cache_near_size=0", before=(counting,)) for _ in range(2)]

        async def run() -> list[Seen]:
            crowd = Crowd(MODELS, chat(stream=stream))
            clients = [await crowd.send(proxies[number % 2]) for number in range(1000)]
            for proxy in proxies:
                await arrived(proxy, 500)
            gate.open()
            return await everybody(clients)

        seen = asyncio.run(run())
        assert all(one.status == 200 and one.whole for one in seen)
        assert {one.body for one in seen} == {STREAM if stream else WHOLE}
        assert len(providers.calls) <= 2
    finally:
        server.stop()


async def upstream_calls(providers: FakeProviders, number: int) -> None:
    async with asyncio.timeout(60):
        while len(providers.calls) < number:
            await asyncio.sleep(0.02)
