"""What a proxy holds in memory while many streams pass at once: its resident size, as the kernel counts it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crowd import Client, Crowd
from harness import FakeProviders, Process, mitmdump
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID/status")]

MODELS = "http://models.example/v1/chat/completions"
SSE = (("content-type", "text/event-stream"),)
MB = 1 << 20
CONNECTIONS = 70
"""MB that 200 connections may take, with their buffers and mitmproxy's flows. Any fault worth the name takes more."""
REMEMBERED = 16
"""MB of answers that landed a moment ago (flight.py)."""


def resident(proxy: Process, what: str = "VmRSS") -> float:
    """In MB; `VmHWM` is the most it ever was."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{proxy.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = event("", "stop") + b"data: [DONE]\n\n"


def stream(size: int) -> list[bytes]:
    """Some 1 kB an event and 16 kB a chunk; words that compress as words do."""
    chance = random.Random(size)
    words = [f"{chance.getrandbits(32):x}" for _ in range(5000)]
    events = [event(" ".join(chance.choices(words, k=110))) for _ in range(16)]
    chunk = b"".join(events)
    return [chunk] * (size // len(chunk)) + [DONE]


@dataclass
class Streams:
    """A provider whose streams all stand still, `last` chunks before their end, until `go_on`."""

    chunks: list[bytes]
    last: int
    _go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def standing(self) -> int:
        """How many bytes of the body a client has when its stream stands still."""
        return sum(map(len, self.chunks[: -self.last]))

    def answer(self, request: Request) -> Reply:
        return Reply(self._chunks(), headers=SSE, framing="chunked")

    async def _chunks(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks[: -self.last]:
            yield chunk
        assert await asyncio.to_thread(self._go_on.wait, 60)
        for chunk in self.chunks[-self.last :]:
            yield chunk

    def go_on(self) -> None:
        self._go_on.set()


def chat(number: int) -> bytes:
    return json.dumps({"model": "m", "messages": [], "stream": True, "seed": number}).encode()


@dataclass
class Reader:
    """Reads one answer, with `pause` seconds between two chunks, and holds nothing of it."""

    client: Client
    pause: float
    size: int = 0

    async def read(self) -> tuple[str, int, str]:
        """How the client was answered, the size of the body and its digest."""
        seen, digest = await self.client.head(), hashlib.sha256()
        while data := await self.client.some():
            digest.update(data)
            self.size += len(data)
            seen.body = b""
            if self.pause:
                await asyncio.sleep(self.pause)
        self.client.leave()
        return seen.cache, self.size, digest.hexdigest()


def whole(chunks: list[bytes]) -> tuple[int, str]:
    body = b"".join(chunks)
    return len(body), hashlib.sha256(body).hexdigest()


@pytest.fixture
def start(providers: FakeProviders, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts proxies that give back to the system at once what they free, so that what is resident is what is held.
    (As it comes glibc keeps most of it for the next streams.)"""
    running: list[Process] = []

    def start(*options: str) -> Process:
        process = mitmdump(providers, tmp_path, *options)
        process.environ |= {"MALLOC_MMAP_THRESHOLD_": "2048", "MALLOC_ARENA_MAX": "1"}
        running.append(process.start())
        return process

    yield start
    for process in running:
        process.stop()


@dataclass
class Held:
    """In MB, beyond what the proxy held before: `streaming`, `most`, and `after` it."""

    streaming: float
    most: float
    after: float
    answers: list[tuple[str, int, str]]


def measure(proxy: Process, streams: Streams, bodies: list[bytes], slow: int = 0, stored: int = 0) -> Held:
    """Send `bodies`, one client each; the first `slow` read 1 MB a second. Measure when all streams stand still, and
    when all is over and `stored` answers are kept."""
    before = resident(proxy)

    async def run() -> tuple[float, list[tuple[str, int, str]]]:
        clients = [await Crowd(MODELS, body).send(proxy) for body in bodies]
        readers = [Reader(client, pause=0.016 if number < slow else 0) for number, client in enumerate(clients)]
        reading = [asyncio.ensure_future(reader.read()) for reader in readers]
        async with asyncio.timeout(60):
            while any(reader.size < streams.standing for reader in readers):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # till the last chunks are where they stay
        streaming = resident(proxy)
        streams.go_on()
        answers = await asyncio.gather(*reading)
        async with asyncio.timeout(60):
            while sum(line.endswith(" stored") for line in proxy.lines) < stored:
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        return streaming, answers

    streaming, answers = asyncio.run(run())
    held = Held(streaming - before, resident(proxy, "VmHWM") - before, resident(proxy) - before, answers)
    print(
        f"MB: before {before:.0f}; streaming +{streaming - before:.0f}, most +{held.most:.0f}, after +{held.after:.0f}"
    )
    return held


def test_many_streams_at_once_are_held_once_and_let_go(providers: FakeProviders, start: Callable[..., Process]) -> None:
    """200 streams of 1 MB. Each is held once, in its capture of at most `ai_cache_max_body`; at its end the body takes
    the capture's place until it is judged, six at a time; then the answer waits to be written, compressed, and for that
    a store takes 256 MB at most and gives up what is more. Afterwards nothing is held but the last answers, and some kB
    of each connection until the garbage collector finds them. None of the bodies waits for that: it counts objects and
    not their size."""
    streams = Streams(stream(MB), last=1)
    providers.answer = streams.answer
    held = measure(start(), streams, [chat(number) for number in range(200)], stored=200)
    assert set(held.answers) == {("MISS no-entry", *whole(streams.chunks))}
    assert 150 < held.streaming < 200 + CONNECTIONS  # else this measures nothing
    assert held.most < 1.5 * 200 + CONNECTIONS
    assert held.after < REMEMBERED + CONNECTIONS


def test_followers_share_what_is_held_of_their_stream(providers: FakeProviders, start: Callable[..., Process]) -> None:
    """200 followers of one stream of 5 MB, 20 of them slow: 1 GB goes out. One capture is held for all; a slow one
    costs no more than what its connection buffers, because it is only handed the next 64 kB when it has taken these."""
    streams = Streams(stream(5 * MB), last=300)
    providers.answer = streams.answer
    held = measure(start(), streams, [chat(1)] * 201, slow=20, stored=1)
    assert len(providers.calls) == 1
    assert {answer[1:] for answer in held.answers} == {whole(streams.chunks)}
    assert sorted(answer[0] for answer in held.answers) == ["HIT collapsed"] * 200 + ["MISS no-entry"]
    assert held.most < 2 * 5 + CONNECTIONS
    assert held.after < REMEMBERED + CONNECTIONS


def test_nothing_is_held_of_streams_beyond_the_limit(providers: FakeProviders, start: Callable[..., Process]) -> None:
    """100 streams of 3 MB with `ai_cache_max_body` = 256 kB: at the limit a stream's capture is let go."""
    streams = Streams(stream(3 * MB), last=1)
    providers.answer = streams.answer
    proxy = start("ai_cache_max_body=256k")
    held = measure(proxy, streams, [chat(number) for number in range(100)])
    assert set(held.answers) == {("MISS no-entry", *whole(streams.chunks))}
    assert sum("not stored: too-large" in line for line in proxy.lines) == 100
    assert held.streaming < CONNECTIONS
    assert held.most < 100 / 4 + CONNECTIONS
