"""What mitmproxy's own interfaces show: marks, comments and streamed bodies on flows, and the commands `ai_cache.*`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.io import FlowReader

from harness import Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply

pytestmark = pytest.mark.patches

OPENAI = "https://api.openai.com/v1/chat/completions"
WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
STREAM = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
SCRIPT = """
import logging
from mitmproxy import ctx, exceptions, http

def response(flow):
    for command in flow.request.headers.get("x-command", "").split():
        arguments = [] if command.endswith("stats") else [[flow]] if command.endswith("purge") else [flow]
        try:
            result = ctx.master.commands.call(command, *arguments)
        except exceptions.CommandError as error:
            result = [f"refused: {error}"]
        logging.info("result of %s: %s", command, result)
"""

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(text: str, **members: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **members}).encode()


def answer(request: Any) -> Reply:
    stream = b'"stream": true' in (request.body or b"")
    kind = "text/event-stream" if stream else "application/json"
    return Reply([STREAM if stream else WHOLE], headers=(("content-type", kind),))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "commands.py"
    path.write_text(SCRIPT)
    return path


def test_flows_tell_hits_from_misses_and_hold_what_was_streamed(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    providers.answer = answer
    proxy = start(f"save_stream_file={tmp_path / 'flows'}")
    client = client_of(proxy)
    asked = [chat("a"), chat("a"), chat("b", stream=True), chat("b", stream=True)]
    got = [client.request(OPENAI, body) for body in asked]
    client.request("https://api.openai.com/v1/files", b"{}")
    proxy.stop()
    with (tmp_path / "flows").open("rb") as file:
        flows = [flow for flow in FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]
    seen = [(flow.marked, flow.comment.split()[1], flow.response and flow.response.content) for flow in flows[:4]]
    assert seen == [
        (":large_blue_circle:", "MISS", WHOLE),
        (":green_circle:", "HIT", WHOLE),
        (":large_blue_circle:", "MISS", STREAM),
        (":green_circle:", "HIT", STREAM),
    ]
    assert [each.body for each in got] == [flow.response.content for flow in flows[:4] if flow.response]
    assert all(one.headers["x-ai-cache-key"] in flow.comment for one, flow in zip(got, flows, strict=False))
    assert flows[4].marked == ":white_circle:"


@pytest.mark.thorough
def test_a_purged_flow_is_asked_again(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, script: Path
) -> None:
    providers.answer = answer
    client = client_of(start(after=(script,)))
    purge = {"x-command": "ai_cache.purge"}
    first, again = client.request(OPENAI, chat("a")), client.request(OPENAI, chat("a"), purge)
    assert (first.cache, again.cache) == ("MISS", "HIT")
    assert client.request(OPENAI, chat("a")).cache == "MISS"


def test_the_counts_are_those_of_the_summary(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, script: Path
) -> None:
    providers.answer = answer
    proxy = start(after=(script,))
    client = client_of(proxy)
    for text in "aab":
        client.request(OPENAI, chat(text))
    client.request(OPENAI, chat("b"), {"x-command": "ai_cache.stats"})
    assert proxy.wait_for(re.compile(r"result of ai_cache.stats: \['4 AI calls: 2 HIT, 2 MISS; 2 stored"))


def test_a_flow_says_why_it_missed(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, script: Path
) -> None:
    providers.answer = answer
    proxy = start(after=(script,))
    client = client_of(proxy)
    client.request(OPENAI, chat("What is the weather in Paris today?"))
    proxy.wait_for(re.compile("stored$"))
    why = {"x-command": "ai_cache.why"}
    client.request(OPENAI, chat("What is the weather in Rome today?"), why)
    assert proxy.wait_for(re.compile(r"\[Paris\]"))
    client.request("https://example.com/", b"", why)
    assert proxy.wait_for(re.compile("refused: this flow is no AI call"))
