"""An HTTP/1.1 provider's informational answers are skipped, and its final answer is the answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client
from mitmproxy.test import tflow, tutils

from mitmproxy_ai_cache.proxy.patches import informational
from mitmproxy_ai_cache.proxy.patches.table import INFORMATIONAL
from unit.proxy.patches.stock import below_ours

pytestmark = pytest.mark.patches

FINAL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100\r\n\r\n"


@pytest.fixture(autouse=True)
def _installed(_stock: None) -> None:
    informational.install()


def asked() -> Http1Client:
    """A connection to a provider that has been asked something."""
    flow = tflow.tflow()
    client = Http1Client(Context(flow.client_conn, options.Options()))
    client.conn = flow.server_conn
    list(client.handle_event(events.Start()))
    list(client.handle_event(RequestHeaders(1, flow.request, True)))
    list(client.handle_event(RequestEndOfMessage(1)))
    return client


def received(client: Http1Client, *pieces: bytes) -> list[HttpEvent | commands.Command]:
    found: list[HttpEvent | commands.Command] = []
    for piece in pieces:
        for command in client.handle_event(events.DataReceived(client.conn, piece)):
            found.append(command.event if isinstance(command, ReceiveHttp) else command)
    return found


def answers(found: list[HttpEvent | commands.Command]) -> list[int]:
    return [event.response.status_code for event in found if isinstance(event, ResponseHeaders)]


def body(found: list[HttpEvent | commands.Command]) -> bytes:
    return b"".join(event.data for event in found if isinstance(event, ResponseData))


def test_mitmproxy_itself_takes_the_first_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http1Client, "read_headers", below_ours(INFORMATIONAL.replaces[0]))
    assert answers(received(asked(), HINTS + FINAL)) == [103]


@pytest.mark.parametrize(("status", "cut"), [(100, True), (103, True), (101, False), (200, False)])
def test_an_informational_answer_that_nobody_skips_is_cut(
    monkeypatch: pytest.MonkeyPatch, status: int, cut: bool
) -> None:
    response = tutils.tresp(status_code=status)
    assert not informational.must_be_cut(response)
    monkeypatch.setattr(Http1Client, "read_headers", lambda self: None)
    assert informational.must_be_cut(response) is cut


@pytest.mark.parametrize("before", [[CONTINUE], [PROCESSING], [HINTS], [CONTINUE, PROCESSING, HINTS, HINTS]])
def test_the_answer_after_informational_ones_is_the_answer(before: list[bytes]) -> None:
    found = received(asked(), b"".join(before) + FINAL)
    assert answers(found) == [200]
    assert body(found) == b"hi"


@pytest.mark.parametrize("status", [b"1_03", b"+103", b"0103", b"199"])
def test_what_mitmproxy_reads_as_1xx_is_skipped(status: bytes) -> None:
    assert answers(received(asked(), b"HTTP/1.1 " + status + b" x\r\n\r\n" + FINAL)) == [200]


@given(st.lists(st.integers(0, len(CONTINUE + HINTS + FINAL)), max_size=8).map(sorted))
def test_it_does_not_matter_how_the_bytes_arrive(cuts: list[int]) -> None:
    data = CONTINUE + HINTS + FINAL
    edges = [0, *cuts, len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges) if a < b]
    found = received(asked(), *pieces)
    assert answers(found) == [200]
    assert body(found) == b"hi"


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK", b"HTTP/1.1 500 No", b"HTTP/1.1 101 Switching", b"HTTP/1.1 1000 x"]
)
def test_a_final_answer_is_left_alone(head: bytes) -> None:
    found = received(asked(), head + b"\r\ncontent-length: 0\r\n\r\n")
    assert answers(found) == [int(head.split()[1])]


def test_each_request_of_a_connection_has_its_own_count() -> None:
    client = asked()
    for stream in range(3, 9, 2):
        assert answers(received(client, CONTINUE * 50 + FINAL)) == [200]
        request = tflow.tflow().request
        list(client.handle_event(RequestHeaders(stream, request, True)))
        list(client.handle_event(RequestEndOfMessage(stream)))


def test_a_provider_that_sends_nothing_else_is_given_up() -> None:
    found = received(asked(), HINTS * 1000)
    (error,) = [event for event in found if isinstance(event, ResponseProtocolError)]
    assert "informational" in error.message
    assert any(isinstance(command, commands.CloseConnection) for command in found)
