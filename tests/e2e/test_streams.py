"""What a client sees of a stream, and what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire import zstd
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = pytest.mark.patches

OPENAI = "https://api.openai.com/v1/chat/completions"
SSE = (("content-type", "text/event-stream"),)

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}).encode()


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = chunk("", "stop") + b"data: [DONE]\n\n"
COMPLETION = json.dumps({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()


class _PreferH2(ssl.SSLContext):
    """httpx offers HTTP/1.1 first, and mitmproxy takes the first it knows."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(sorted(alpn_protocols))


def trusting(proxy: Process) -> ssl.SSLContext:
    context = _PreferH2(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(proxy.ca)
    return context


@pytest.mark.each_store
def test_a_streamed_miss_is_not_delayed(providers: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    """Each event reaches the client before the provider sends the next one."""
    arrived: list[threading.Event] = [threading.Event() for _ in range(5)]
    late: list[int] = []

    async def events() -> AsyncIterator[bytes]:
        for number in range(5):
            yield chunk(str(number))
            if not await asyncio.to_thread(arrived[number].wait, 30):
                late.append(number)
        yield DONE

    providers.answer = lambda request: Reply(events(), headers=SSE, framing="chunked")
    seen = b""

    def on_chunk(data: bytes) -> None:
        nonlocal seen
        seen += data
        for number in range(5):
            if chunk(str(number)) in seen:
                arrived[number].set()

    client = client_of(start())
    first = client.request(OPENAI, chat(stream=True), on_chunk=on_chunk)
    assert not late
    assert first.cache == "MISS"
    second = client.request(OPENAI, chat(stream=True))
    assert (second.cache, second.body, second.headers["content-type"]) == ("HIT", first.body, "text/event-stream")


@pytest.mark.each_store
def test_a_client_that_leaves_mid_stream_leaves_nothing_behind(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    sent: list[bytes] = []

    async def endless() -> AsyncIterator[bytes]:
        for number in range(1000):
            sent.append(chunk(str(number)))
            yield sent[-1]
            await asyncio.sleep(0.01)

    providers.answer = lambda request: Reply(endless(), headers=SSE, framing="chunked")
    proxy = start()
    client = client_of(proxy)

    class Leave(Exception):
        pass

    def leave(data: bytes) -> None:
        raise Leave

    with pytest.raises(Leave):
        client.request(OPENAI, chat(stream=True), on_chunk=leave)
    client._connection("https", "api.openai.com", 443).sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    client.close()
    proxy.wait_for(re.compile(r"not stored: truncated"))
    providers.answer = lambda request: Reply([chunk("x"), DONE], headers=SSE)
    assert client_of(proxy).request(OPENAI, chat(stream=True)).cache == "MISS"
    count = 0
    while count < len(sent) < 1000:
        count = len(sent)
        time.sleep(0.2)
    assert len(sent) < 1000, "the provider still streams to nobody"


@pytest.mark.each_store
def test_a_client_that_leaves_after_done_leaves_a_whole_answer(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    """Some SDKs close the connection on [DONE] without waiting for the end of the message."""
    gone = threading.Event()

    async def lingering() -> AsyncIterator[bytes]:
        yield chunk("x") + DONE
        await asyncio.to_thread(gone.wait, 30)

    providers.answer = lambda request: Reply(lingering(), headers=SSE, framing="chunked")
    proxy = start()
    client = client_of(proxy)

    def leave(data: bytes) -> None:
        if b"[DONE]" in data:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        client.request(OPENAI, chat(stream=True), on_chunk=leave)
    client._connection("https", "api.openai.com", 443).sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    client.close()
    proxy.wait_for(re.compile(r"MISS .* stored$"))
    gone.set()
    again = client_of(proxy).request(OPENAI, chat(stream=True))
    assert (again.cache, again.body) == ("HIT", chunk("x") + DONE)


BROKEN = {
    "reset in a stream": Reply([chunk("x")], headers=SSE, framing="chunked", reset=True),
    "closed before [DONE]": Reply([chunk("x"), chunk("", "stop")], headers=SSE, framing="close"),
    "clean end before [DONE]": Reply([chunk("x"), chunk("", "stop")], headers=SSE, framing="chunked"),
    "an error event": Reply([chunk("x"), b'data: {"error":{"message":"overloaded"}}\n\n', DONE], headers=SSE),
    "429": Reply(
        [b'{"error":{"message":"slow down"}}'], 429, (("content-type", "application/json"), ("retry-after", "1"))
    ),
    "500": Reply([b"oops"], 500, (("content-type", "text/plain"),)),
    "200 with an error": Reply([b'{"error":{"message":"no"}}']),
    "over the cap": Reply([b'{"choices":[{"message":{"content":"' + b"x" * 300_000 + b'"}}]}']),
    "no body": Reply([b""]),
    "204": Reply([], 204, ()),
    "unknown coding": Reply(
        [COMPLETION], headers=(("content-type", "application/json"), ("content-encoding", "rot13"))
    ),
}

SMOKE = ("closed before [DONE]", "429", "over the cap")
"""What is tried at each save."""


@pytest.mark.each_store
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in SMOKE else pytest.mark.thorough) for kind in BROKEN]
)
def test_the_client_sees_what_it_would_have_seen_and_nothing_is_kept(
    kind: str, providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    providers.answer = lambda request: BROKEN[kind]
    streaming = tmp_path / "streaming.py"
    streaming.write_text("def responseheaders(flow): flow.response.stream = True")
    body = chat(stream=BROKEN[kind].headers == SSE)
    seen: list[tuple[Any, ...]] = []
    for option, scripts in (("ai_cache_mode=off", (streaming,)), ("ai_cache_max_body=200k", ())):
        proxy = start(option, before=scripts)
        for _ in range(2):
            seen.append(_seen(client_of(proxy), body))
    plain, *others = seen
    assert all(other == plain for other in others), seen
    assert len(providers.calls) == 4


def _seen(client: Client, body: bytes) -> tuple[Any, ...]:
    """Status, body and headers as the client got them, or how it failed."""
    received = b""

    def on_chunk(data: bytes) -> None:
        nonlocal received
        received += data

    try:
        got = client.request(OPENAI, body, on_chunk=on_chunk)
    except (http.client.IncompleteRead, ConnectionError, OSError) as error:
        return type(error).__name__, received + getattr(error, "partial", b"")
    ours = {name: value for name, value in got.headers.items() if not name.startswith(("x-ai-cache", "cache-status"))}
    return got.status, ours, got.body


def test_an_upstream_reset_is_an_error_to_every_client(providers: FakeProviders, start: StartProxy) -> None:
    providers.answer = lambda request: Reply([chunk("x"), 0.1], headers=SSE, framing="chunked", reset=True)
    proxy = start()
    for http2 in (False, True):
        with (
            httpx.Client(proxy=proxy.url, verify=trusting(proxy), http2=http2, timeout=60) as client,
            pytest.raises(httpx.RemoteProtocolError),
            client.stream("POST", OPENAI, content=chat(stream=True, h2=http2)) as response,
        ):
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            for _ in response.iter_bytes():
                pass


@pytest.mark.each_store
@pytest.mark.thorough
def test_twenty_parallel_h2_calls_to_an_h1_provider_take_the_time_of_one(
    providers: FakeProviders, start: StartProxy
) -> None:
    together = asyncio.Event()
    waiting = 0

    async def answer(request: Request) -> Reply:
        """Answers only once all twenty are here at once."""
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            together.set()
        await asyncio.wait_for(together.wait(), 60)
        return Reply([COMPLETION])

    providers.answer = answer
    proxy = start()

    async def calls() -> list[httpx.Response]:
        async with httpx.AsyncClient(proxy=proxy.url, verify=trusting(proxy), http2=True, timeout=60) as client:
            return await asyncio.gather(*(client.post(OPENAI, content=chat(seed=n)) for n in range(20)))

    answers = asyncio.run(calls())
    assert {(answer.http_version, answer.status_code, answer.content) for answer in answers} == {
        ("HTTP/2", 200, COMPLETION)
    }


@pytest.mark.each_store
def test_http2_clients_get_hits_too(providers: FakeProviders, start: StartProxy) -> None:
    providers.answer = lambda request: Reply([chunk("x"), DONE], headers=SSE, framing="chunked")
    proxy = start()
    with httpx.Client(proxy=proxy.url, verify=trusting(proxy), http2=True) as client:
        answers = [client.post(OPENAI, content=chat(stream=True)) for _ in range(3)]
    assert [answer.headers["x-ai-cache-status"] for answer in answers] == ["MISS", "HIT", "HIT"]
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert len({answer.content for answer in answers}) == 1


def test_a_script_that_raises_hangs_nobody(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    script = tmp_path / "raises.py"
    hooks = "\n".join(
        f"def {name}(flow): raise RuntimeError('{name}')" for name in ("requestheaders", "request", "response")
    )
    script.write_text(hooks)
    providers.answer = lambda request: Reply([COMPLETION])
    client = client_of(start(before=(script,)))
    assert [client.request(OPENAI, chat()).status for _ in range(2)] == [200, 200]


@pytest.mark.each_store
def test_with_stream_large_bodies_large_requests_pass_and_large_answers_are_kept(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    providers.answer = lambda request: Reply([COMPLETION + b" " * 5000])
    proxy = start("stream_large_bodies=1k")
    proxy.wait_for(re.compile("larger than stream_large_bodies"))
    client = client_of(proxy)
    assert [client.request(OPENAI, chat()).cache for _ in range(2)] == ["MISS", "HIT"]
    large = client.request(OPENAI, chat(padding="x" * 5000))
    assert (large.status, large.cache, large.reason) == (200, "BYPASS", "request-streamed")


def test_head_and_get_on_an_ai_host_pass(providers: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    providers.answer = lambda request: Reply([b'{"data":[]}'])
    client = client_of(start())
    for method in ("HEAD", "GET", "HEAD", "GET"):
        got = client.request("https://api.openai.com/v1/models", method=method)
        assert (got.status, got.cache, got.reason) == (200, "BYPASS", "get")
    assert len(providers.calls) == 4


def test_a_rewritten_request_is_not_stored_under_the_old_key(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    providers.answer = lambda request: Reply([COMPLETION])
    proxy = start("modify_body=/hi/HO")
    client = client_of(proxy)
    assert [client.request(OPENAI, chat()).cache for _ in range(2)] == ["MISS", "MISS"]
    proxy.wait_for(re.compile("not stored: rewritten"))
    assert all(b"HO" in (call.body or b"") for call in providers.calls)


@pytest.mark.each_store
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_coded_answers_pass_untouched_and_hit_decoded(
    coding: str, providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    import gzip

    import brotli

    coders = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}
    coded = coders[coding](COMPLETION)
    fields = (("content-type", "application/json"), ("content-encoding", coding))
    providers.answer = lambda request: Reply([coded], headers=fields)
    client = client_of(start())
    first, second = (client.request(OPENAI, chat(), {"Accept-Encoding": coding}) for _ in range(2))
    assert (first.cache, first.body, first.headers["content-encoding"]) == ("MISS", coded, coding)
    assert (second.cache, second.body, "content-encoding" in second.headers) == ("HIT", COMPLETION, False)


def test_a_dead_provider_is_said_and_not_stored(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    proxy = start()
    providers.stop()
    client = client_of(proxy)
    assert client.request(OPENAI, chat()).status == 502
    proxy.wait_for(re.compile("not stored: no-answer"))
    with contextlib.suppress(Exception):
        client.close()
