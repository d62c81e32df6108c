"""The protocol that docs/extending.md shows keeps the rules that the page names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from documented import files_of
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.protocols import Answer, Call, Ending, Registry, Request
from mitmproxy_ai_cache.protocols.base import Verdict
from mitmproxy_ai_cache.protocols.foreign import wrong
from mitmproxy_ai_cache.wire import body

STREAM = (
    b'event: word\ndata: {"text": "Hello "}\n\nevent: word\ndata: {"text": "world."}\n\n'
    b'event: fin\ndata: {"why": "done", "spent": {"in": 4, "out": 2}}\n\n'
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    module: dict[str, Any] = {}
    exec(files_of("extending.md")["src/acme_ai_cache/__init__.py"], module)
    protocol = module["AcmeTalk"]()
    assert wrong(protocol) == ""
    return Registry([protocol])


@pytest.fixture(scope="module")
def call(registry: Registry) -> Call:
    sent = json.dumps({"engine": "acme-1", "prompt": "Say hello.", "stream": True}).encode()
    request = Request("POST", "https", "api.acme.example", 443, "/v1/talk", body=sent)
    found = registry.recognise(request, body.read(request, 1 << 20))
    assert found is not None
    return found


def judged(call: Call, data: bytes, content_type: str = "text/event-stream") -> Verdict:
    return gate.verdict(call, Answer(200, content_type, data, Ending.CLEAN))


def test_its_stream_is_an_answer_with_its_tokens(call: Call) -> None:
    assert judged(call, STREAM) == Verdict(True, True, "sse", "complete", ("done",), Usage(4, 2))


def test_its_stream_cut_at_any_byte_is_never_kept(call: Call) -> None:
    assert not any(judged(call, STREAM[:cut]).cacheable for cut in range(len(STREAM)))


def test_an_error_is_no_answer(call: Call) -> None:
    assert judged(call, b'{"fault": {"code": "busy"}}', "application/json").reason == "error-in-body"
    assert judged(call, b"event: fault\ndata: {}\n\n").reason == "error-in-stream"


def test_the_page_shows_a_package_that_can_be_built() -> None:
    assert files_of("extending.md").keys() == {
        "pyproject.toml",
        "src/acme_ai_cache/__init__.py",
        "src/acme_ai_cache/provider.py",
    }
