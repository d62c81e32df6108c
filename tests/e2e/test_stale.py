"""`ai_cache_stale_if_error`: an expired entry answers where the provider fails."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import FlowReader

from harness import Client, FakeProviders, Got, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = [pytest.mark.slow, pytest.mark.patches]

OPENAI = "https://api.openai.com/v1/chat/completions"
StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]
WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
STREAM = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [], **members}).encode()


def hang_up(request: Request) -> Reply:
    raise ConnectionResetError


def expired(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, stream: bool, *options: str
) -> tuple[Process, Client]:
    """A proxy with one entry that is no longer fresh."""
    kind = (("content-type", "text/event-stream" if stream else "application/json"),)
    providers.answer = lambda request: Reply([STREAM if stream else WHOLE], headers=kind)
    proxy = start("ai_cache_ttl=1s", *options)
    client = client_of(proxy)
    client.request(OPENAI, chat(stream=stream))
    proxy.wait_for(re.compile("stored$"))
    time.sleep(1.1)
    return proxy, client


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("failure", [429, 500, 503, "gone", "hangs up"])
def test_an_expired_entry_answers_where_the_provider_fails(
    failure: Any, stream: bool, providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    proxy, client = expired(providers, start, client_of, stream, "ai_cache_stale_if_error=1h")
    client = client_of(proxy)  # with a connection of its own to the provider
    if failure == "gone":
        providers.stop()
    elif failure == "hangs up":
        providers.answer = hang_up
    else:
        providers.answer = lambda request: Reply([b'{"error":1}'], status=failure)
    got = client.request(OPENAI, chat(stream=stream))
    assert (got.status, got.cache, got.body) == (200, "STALE", STREAM if stream else WHOLE)
    assert got.reason == (f"status-{failure}" if isinstance(failure, int) else "unreachable")
    assert int(got.headers["x-ai-cache-age"]) >= 1
    assert proxy.wait_for(re.compile("ai-cache: STALE"))


@pytest.mark.parametrize("case", ["off", "too old", "client asks for fresher", "a 400 is no failure"])
def test_it_answers_only_then(case: str, providers: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    option = {"off": "0", "too old": "10ms"}.get(case, "1h")
    _, client = expired(providers, start, client_of, False, f"ai_cache_stale_if_error={option}")
    status = 400 if "400" in case else 500
    providers.answer = lambda request: Reply([b'{"error":1}'], status=status)
    headers = {"Cache-Control": "max-age=0"} if "fresher" in case else {}
    got = client.request(OPENAI, chat(stream=False), headers)
    assert (got.status, got.cache) == (status, "MISS")


def test_it_may_be_switched_on_later(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, lasting_store: None
) -> None:
    proxy, _ = expired(providers, start, client_of, False, "ai_cache_stale_if_error=0")
    proxy.stop()
    providers.answer = lambda request: Reply([b'{"error":1}'], status=500)
    client = client_of(start("ai_cache_ttl=1s", "ai_cache_stale_if_error=1h"))
    got = client.request(OPENAI, chat(stream=False))
    assert (got.status, got.cache, got.body) == (200, "STALE", WHOLE)


def test_a_provider_that_is_well_again_replaces_it(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    _proxy, client = expired(providers, start, client_of, False, "ai_cache_stale_if_error=1h")
    providers.answer = lambda request: Reply([WHOLE])

    def ask() -> Got:
        return client.request(OPENAI, chat(stream=False))

    assert (ask().cache, ask().cache) == ("MISS", "HIT")


def test_flows_are_written_to_a_file_all_the_same(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    flows = tmp_path / "flows"
    options = "ai_cache_stale_if_error=1h", f"save_stream_file={flows}"
    proxy, client = expired(providers, start, client_of, False, *options)
    providers.answer = lambda request: Reply([b'{"error":1}'], status=500)
    assert client.request(OPENAI, chat(stream=False)).cache == "STALE"
    proxy.stop()
    with flows.open("rb") as file:
        written = list(FlowReader(file).stream())
    assert len(written) == 2
    assert not [line for line in proxy.lines if "Addon error" in line]
