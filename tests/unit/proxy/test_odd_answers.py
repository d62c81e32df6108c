"""What a provider sends behind its answer, and an answer that breaks off, are noticed."""

from __future__ import annotations

import pytest
from mitmproxy import http
from mitmproxy.proxy.layers.http._events import ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client

from mitmproxy_ai_cache.proxy.patches import odd_answers
from unit.proxy.test_informational import FINAL, asked, body, received

pytestmark = pytest.mark.patches


@pytest.fixture(autouse=True)
def _noticing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http1Client, "read_body", Http1Client.read_body)  # and back again
    monkeypatch.setattr(Http1Client, "notices_what_follows", False, raising=False)
    odd_answers.install()


@pytest.mark.parametrize(
    ("after", "followed"), [(FINAL, True), (b"x", True), (b"", False), (b"\r\n", False), (b"\r\n" + FINAL, True)]
)
def test_what_follows_an_answer_is_noticed(after: bytes, followed: bool) -> None:
    client = asked()
    found = received(client, FINAL + after)
    assert body(found) == b"hi"
    (response,) = [event.response for event in found if isinstance(event, ResponseHeaders)]
    assert odd_answers.is_followed(response) is followed


@pytest.mark.parametrize(
    ("fields", "cut"),
    [
        ({"transfer_encoding": "chunked", "content_type": "application/json; charset=utf-8"}, True),
        ({"transfer_encoding": "Chunked", "content_type": "application/problem+json"}, True),
        ({"transfer_encoding": "chunked", "content_type": "text/event-stream"}, False),
        ({"transfer_encoding": "chunked", "content_type": "application/x-ndjson"}, False),
        ({"content_type": "application/json"}, False),
    ],
)
def test_a_json_value_needs_the_end_of_its_chunks(fields: dict[str, str], cut: bool) -> None:
    response = http.Response(b"HTTP/1.1", 200, b"OK", http.Headers(**fields), None, None, 0.0, None)
    assert odd_answers.is_cut(response) is cut
