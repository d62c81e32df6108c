"""What a provider sends behind its answer, and an answer that breaks off, are noticed."""

from __future__ import annotations

import pytest
from mitmproxy import http
from mitmproxy.proxy.layers.http._events import ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client

from mitmproxy_ai_cache.proxy.patches import odd_answers
from mitmproxy_ai_cache.proxy.patches.table import ODD_ANSWERS
from unit.proxy.patches.stock import below_ours
from unit.proxy.patches.test_informational import FINAL, asked, body, received

pytestmark = pytest.mark.patches


@pytest.fixture(autouse=True)
def _noticing(_stock: None) -> None:
    odd_answers.install()


def test_mitmproxy_itself_says_nothing_of_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http1Client, "read_body", below_ours(ODD_ANSWERS.replaces[0]))
    plain, followed = (
        next(event.response for event in received(asked(), sent) if isinstance(event, ResponseHeaders))
        for sent in (FINAL, FINAL + FINAL)
    )
    for response in (plain, followed):
        response.timestamp_start = response.timestamp_end = 0.0
    assert plain.__dict__.keys() == followed.__dict__.keys()
    assert plain.get_state() == followed.get_state()


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
