"""What makes mitmproxy quicker leaves all it does as it was."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http, options
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server, make_body_reader
from mitmproxy.test import tflow

from mitmproxy_ai_cache.calls.capture import Capture
from mitmproxy_ai_cache.proxy.patches import tuning

pytestmark = pytest.mark.patches


@pytest.fixture
def _at_once(_stock: None) -> None:
    tuning.send_whole_answers()


def written(*events: HttpEvent) -> list[bytes]:
    """What each write to a client holds, of an HTTP/1 connection that has asked."""
    server = Http1Server(Context(tflow.tclient_conn(), options.Options()))
    server.request = tflow.tflow().request
    found = (command for event in events for command in server.send(event))
    return [command.data for command in found if isinstance(command, commands.SendData)]


def answer(content: bytes | None, **headers: str) -> http.Response:
    return http.Response(b"HTTP/1.1", 200, b"OK", http.Headers(**headers), content, None, 0.0, None)


@pytest.mark.usefixtures("_at_once")
def test_head_and_body_of_a_complete_answer_are_one_write() -> None:
    whole = answer(b"body", content_length="4")
    assert written(ResponseHeaders(1, whole), ResponseData(1, b"body"), ResponseEndOfMessage(1)) == [
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"
    ]


def test_mitmproxy_itself_sends_head_and_body_apart() -> None:
    whole = answer(b"body", content_length="4")
    assert len(written(ResponseHeaders(1, whole), ResponseData(1, b"body"), ResponseEndOfMessage(1))) == 2


@pytest.mark.usefixtures("_at_once")
def test_a_large_body_is_not_copied_to_go_with_its_head() -> None:
    body = b"x" * 1_000_000
    head, sent = written(ResponseHeaders(1, answer(body, content_length="1000000")), ResponseData(1, body))
    assert head.endswith(b"\r\n\r\n")
    assert sent is body


@pytest.mark.usefixtures("_at_once")
def test_a_complete_answer_in_chunks_ends_as_it_should() -> None:
    whole = answer(b"body", transfer_encoding="chunked")
    assert b"".join(written(ResponseHeaders(1, whole), ResponseData(1, b"body"), ResponseEndOfMessage(1))) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    )


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("streams", [True, lambda chunk: chunk])
def test_the_head_of_a_stream_does_not_wait_for_its_body(streams: object) -> None:
    for content in (None, b"another script's"):
        stream = answer(content, transfer_encoding="chunked")
        stream.stream = streams  # type: ignore[assignment]
        assert written(ResponseHeaders(1, stream)) == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]


@pytest.mark.usefixtures("_at_once")
def test_the_head_of_an_answer_without_a_body_is_sent() -> None:
    assert written(ResponseHeaders(1, answer(b"", content_length="0"), True)) == [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    ]


@pytest.mark.usefixtures("_at_once")
def test_a_head_whose_body_does_not_come_is_sent_all_the_same() -> None:
    whole = answer(b"body", content_length="4")
    for after in (ResponseEndOfMessage(1), ResponseProtocolError(1, "oops", ErrorCode.GENERIC_SERVER_ERROR)):
        assert written(ResponseHeaders(1, whole), after) == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"]


def test_types_are_checked_unless_that_is_turned_off() -> None:
    def wrong() -> http.Response:
        return http.Response(b"HTTP/1.1", "200", b"OK", http.Headers(), b"", None, 0.0, None)  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        wrong()
    tuning.trust_messages()
    assert wrong().status_code == "200"  # type: ignore[comparison-overlap]


def test_what_is_there_is_forgotten_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and scripts that are there when a script is loaded again must be collected one day."""
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    tuning.forget_what_stays.cache_clear()
    for _ in range(3):
        tuning.forget_what_stays()
    assert frozen == [1]


@pytest.fixture
def _together(_stock: None) -> None:
    tuning.pass_on_together()


def read(*pieces: bytes, size: int | None = None, closed: bool = True, stream: Any = True) -> list[object]:
    """What goes on of a body of `size` (None: in chunks, -1: until the end) that arrives in `pieces`."""
    client = Http1Client(Context(tflow.tclient_conn(), options.Options()))
    client.conn.state = ConnectionState.OPEN
    client.stream_id, client.request, client.response = 1, tflow.tflow().request, answer(None)
    client.response.stream = stream
    client.body_reader, client.state = make_body_reader(size), client.read_body
    arriving: list[events.Event] = [events.DataReceived(client.conn, piece) for piece in pieces]
    if closed:
        arriving.append(events.ConnectionClosed(client.conn))
    seen: list[object] = []
    for event in arriving:
        if client.state != client.read_body:
            break
        seen += [_told(command) for command in client._handle_event(event)]
    return seen


def _told(command: commands.Command) -> object:
    if not isinstance(command, ReceiveHttp):
        return type(command).__name__
    event = command.event
    return event.data if isinstance(event, ResponseData) else (type(event).__name__, getattr(event, "message", ""))


def joined(seen: list[object]) -> list[object]:
    """The same with neighbouring pieces of the body as one."""
    found: list[object] = []
    for each in seen:
        if isinstance(each, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += each
        else:
            found.append(each)
    return found


@pytest.mark.usefixtures("_together")
def test_chunks_that_arrive_in_one_read_go_on_as_one() -> None:
    assert read(b"3\r\none\r\n3\r\ntwo\r\n2\r\nth", b"\r\n1\r\nx\r\n", b"0\r\n\r\n", closed=False) == [
        b"onetwoth", b"x", ("ResponseEndOfMessage", ""),
    ]  # fmt: skip


def test_mitmproxy_itself_passes_chunks_on_one_by_one() -> None:
    assert read(b"3\r\none\r\n3\r\ntwo\r\n", closed=False) == [b"one", b"two"]


@pytest.mark.usefixtures("_together")
def test_chunks_that_only_we_read_go_on_as_one() -> None:
    pieces = b"3\r\none\r\n3\r\ntwo\r\n", b"0\r\n\r\n"
    assert read(*pieces, stream=Capture(1000), closed=False) == [b"onetwo", ("ResponseEndOfMessage", "")]


@pytest.mark.usefixtures("_together")
@pytest.mark.parametrize("stream", [lambda chunk: chunk, False])
def test_another_script_gets_chunk_after_chunk(stream: object) -> None:
    """Where it does not stream, a script may yet say so in `responseheaders`."""
    assert read(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", stream=stream, closed=False) == [
        b"one", b"two", ("ResponseEndOfMessage", ""),
    ]  # fmt: skip


@pytest.mark.usefixtures("_together")
def test_what_came_before_a_fault_goes_on() -> None:
    seen = read(b"3\r\none\r\n3\r\ntwo\r\nnonsense\r\n")
    assert seen[:2] == [b"onetwo", "CloseConnection"]
    assert seen[2][0] == "ResponseProtocolError"  # type: ignore[index]


BODIES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=6).map(lambda data: b"%x\r\n%s\r\n" % (len(data), data)),
        st.just(b"0\r\n\r\n"),
        st.binary(max_size=4),
    ),
    max_size=8,
)


@given(BODIES, st.lists(st.integers(0, 60), max_size=6), st.sampled_from([None, -1, 20]), st.booleans())
def test_nothing_but_the_pieces_of_the_body_changes(
    chunks: list[bytes], cuts: list[int], size: int | None, closed: bool
) -> None:
    body = b"".join(chunks)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in pairwise(places)]
    as_it_was = Http1Client.read_body
    theirs = read(*pieces, size=size, closed=closed)
    try:
        tuning.pass_on_together()
        ours = read(*pieces, size=size, closed=closed)
    finally:
        Http1Client.read_body = as_it_was  # type: ignore[method-assign]
    assert joined(ours) == joined(theirs)
    assert len(ours) <= len(theirs)
