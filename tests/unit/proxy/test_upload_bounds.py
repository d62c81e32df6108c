"""What is held of request bodies, and what of mitmproxy the mends for them rely on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._http2 import Http2Connection
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.utils import ReceiveBuffer
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy import uploads
from mitmproxy_ai_cache.proxy.patches import request_bodies
from mitmproxy_ai_cache.proxy.uploads import NO_ROOM, TOO_LARGE, Uploads, declared_length


def flow(*fields: tuple[str, str], version: str = "HTTP/1.1") -> http.HTTPFlow:
    made = tflow.tflow()
    made.request.http_version = version
    made.request.headers = http.Headers([(name.encode(), value.encode()) for name, value in fields])
    return made


def chunked() -> http.HTTPFlow:
    return flow(("Transfer-Encoding", "chunked"))


def watching(max_pending: int) -> tuple[Uploads, list[str]]:
    watched, settled = Uploads(), []
    watched.max_pending = max_pending
    watched.of_reason = settled  # type: ignore[attr-defined]
    return watched, settled


def begin(watched: Uploads, sent: http.HTTPFlow, limit: int = 100, answer: http.Response | None = None) -> Any:
    def settle(_: http.HTTPFlow, reason: str) -> http.Response | None:
        watched.of_reason.append(reason)  # type: ignore[attr-defined]
        return answer

    watched.begin(sent, limit, settle)
    return watched.of(sent)


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        (flow(), 0),
        (flow(("Content-Length", "0")), 0),
        (flow(("content-length", "17")), 17),
        (flow(("Content-Length", "17, 17")), 17),
        (flow(("Content-Length", "x")), 0),
        (flow(("Content-Length", "17"), ("Transfer-Encoding", "chunked")), None),
        (flow(("transfer-encoding", "Chunked")), None),
        (flow(version="HTTP/2.0"), None),
        (flow(("content-length", "17"), version="HTTP/2.0"), 17),
    ],
)
def test_the_length_that_a_head_declares(sent: http.HTTPFlow, length: int | None) -> None:
    assert declared_length(sent.request) == length


def test_a_declared_length_above_the_limit_is_settled_by_the_head() -> None:
    watched, settled = watching(1000)
    sent = flow(("Content-Length", "101"))
    assert begin(watched, sent).settled
    assert settled == [TOO_LARGE]
    assert sent.request.stream is True
    fits = flow(("Content-Length", "100"))
    assert not begin(watched, fits).settled
    assert not fits.request.stream


def test_a_refused_upload_is_not_asked_to_go_on() -> None:
    watched, _ = watching(1000)
    sent = flow(("Content-Length", "101"), ("Expect", "100-continue"))
    refused = begin(watched, sent, answer=http.Response.make(424))
    assert refused.refusal.status_code == 424
    assert "expect" not in sent.request.headers


def test_an_answer_that_is_there_already_refuses() -> None:
    watched, settled = watching(1000)
    sent = chunked()
    sent.response = http.Response.make(407)
    upload = begin(watched, sent)
    assert not upload.holds(101)
    assert (upload.refusal, settled) == (sent.response, [])


def test_what_is_held_of_all_is_bounded() -> None:
    watched, settled = watching(250)
    first, second, third = (begin(watched, chunked()) for _ in range(3))
    assert first.holds(100)
    assert second.holds(60)
    assert second.holds(100)
    assert not third.holds(51)
    assert settled == [NO_ROOM]
    assert watched.held == 200
    second.release()
    second.release()
    assert watched.held == 100


def test_an_upload_that_stands_still_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, settled = watching(150)
    cut: list[Any] = []
    watched.cut = cut.append
    still = begin(watched, chunked())
    assert still.holds(100)
    clock = uploads.time.monotonic() + uploads.STANDS_STILL + 1
    monkeypatch.setattr(uploads.time, "monotonic", lambda: clock)
    lively = begin(watched, chunked())
    assert lively.holds(50)
    assert not cut, "there was room"
    assert lively.holds(90)
    assert (cut, settled, watched.held) == ([still.client], [], 90)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60), st.sampled_from(["grow", "end", "leave"]))))
def test_what_is_held_is_the_sum_of_what_each_holds(steps: list[tuple[int, int, str]]) -> None:
    watched, _ = watching(200)
    flows = [chunked() for _ in range(6)]
    sizes = [0] * 6
    for sent in flows:
        begin(watched, sent)
    for place, more, what in steps:
        upload = watched.of(flows[place])
        if what == "grow" and upload is not None and not upload.settled:
            if upload.holds(sizes[place] + more):
                sizes[place] += more
        elif what == "end":
            watched.end(flows[place])
            sizes[place] = 0
        elif what == "leave":
            watched.end_of_client(flows[place].client_conn.id)
            sizes[place] = 0
        assert watched.held == sum(sizes) <= 200
    for sent in flows:
        watched.end(sent)
    assert (watched.held, len(watched)) == (0, 0)


@given(st.lists(st.integers(1, 3000), max_size=4000))
def test_a_body_in_small_chunks_is_held_in_few_pieces(sizes: list[int]) -> None:
    watched, _ = watching(1 << 30)
    upload = begin(watched, chunked(), 1 << 30)
    buffer = ReceiveBuffer()  # type: ignore[no-untyped-call]
    sent = b""
    for number, size in enumerate(sizes):
        data = bytes([number % 251]) * size
        buffer += data
        sent += data
        request_bodies._merge(buffer._chunks, upload)
    assert bytes(buffer) == sent
    assert len(buffer._chunks) <= request_bodies._MANY + 1 + len(sent) // request_bodies._PIECE + len(sizes) // 1000


# What mitmproxy must go on doing. Where one of these fails, look at request_bodies.py.


def source(of: Any) -> str:
    return inspect.getsource(inspect.unwrap(of))


def test_mitmproxy_asks_for_the_size_with_each_piece_it_holds() -> None:
    held = source(HttpStream.state_consume_request_body)
    assert "self.request_body_buf += event.data\n            yield from self.check_body_size(True)" in held


def test_mitmproxy_streams_after_the_hook_for_the_head() -> None:
    begun = source(HttpStream.state_wait_for_request_headers)
    hook, start = begun.index("HttpRequestHeadersHook(self.flow)"), begun.index("self.start_request_stream()")
    assert hook < begun.index('"expect"') < start
    assert "if self.flow.request.stream and not event.end_stream" in begun


def test_mitmproxy_lets_a_stream_see_each_piece_of_a_request() -> None:
    streamed = source(HttpStream.state_stream_request_body)
    assert "self.flow.request.stream(event.data)" in streamed
    assert 'self.flow.request.stream(b"")' in streamed


def test_mitmproxy_drains_after_each_read() -> None:
    read = source(ConnectionHandler.handle_connection)
    assert read.index("self.server_event(events.DataReceived") < read.index("await self.drain_writers()")
    assert "except asyncio.CancelledError" in read[read.index("await self.drain_writers()") :]


def test_mitmproxy_keeps_what_does_not_fit_the_window_of_h2() -> None:
    assert "stream_buffers" in BufferedH2Connection.__annotations__
    assert "h2_conn" in Http2Connection.__annotations__


def test_the_buffer_of_mitmproxy_is_a_list_of_chunks() -> None:
    buffer = ReceiveBuffer()  # type: ignore[no-untyped-call]
    buffer += b"a"
    buffer += b"b"
    assert buffer._chunks == [b"a", b"b"]
    buffer.clear()  # type: ignore[no-untyped-call]
    assert not buffer
