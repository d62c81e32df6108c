"""Unfinished uploads are bounded, and mitmproxy goes on doing what that relies on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook
from mitmproxy.proxy.layers.http._http2 import Http2Connection
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.utils import ReceiveBuffer
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy.patches import request_bodies
from mitmproxy_ai_cache.proxy.uploads import Upload, Uploads
from unit.proxy.patches.stock import Talk

pytestmark = pytest.mark.patches

CHUNKED = b"POST http://a.example/x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"3e8\r\n" + b"x" * 1000 + b"\r\n"


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setattr(request_bodies, "_close_soon", lambda client: None)  # there is no network
    made = Uploads()
    made.max_pending = 10_000
    yield made
    request_bodies.remove(made)


def talk_of(uploads: Uploads) -> Talk:
    """A client whose bodies may have 2500 bytes."""

    def hook(command: Any) -> None:
        if isinstance(command, HttpRequestHeadersHook):
            uploads.begin(command.flow, 2500, lambda flow, reason: http.Response.make(413))

    return Talk(hook)


def test_mitmproxy_itself_holds_a_body_whatever_its_size(uploads: Uploads) -> None:
    talk = talk_of(uploads)
    talk.send(CHUNKED + 5 * CHUNK)
    assert len(talk.stream.request_body_buf) == 5000
    assert talk.written == b""


def test_a_body_that_grows_too_large_is_refused_before_its_end(uploads: Uploads) -> None:
    request_bodies.install(uploads)
    talk = talk_of(uploads)
    talk.send(CHUNKED + 2 * CHUNK)
    assert talk.written == b""
    talk.send(CHUNK)
    assert talk.written.startswith(b"HTTP/1.1 413 ")
    assert not talk.layer.streams


def test_a_mitmproxy_that_is_not_known_lets_in_only_what_declares_a_length_that_fits(
    monkeypatch: pytest.MonkeyPatch, uploads: Uploads
) -> None:
    monkeypatch.setattr(HttpStream, "state_consume_request_body", lambda self, event: None)
    request_bodies.install(uploads)
    assert uploads.only_declared


@given(st.lists(st.integers(1, 3000), max_size=4000))
def test_a_body_in_small_chunks_is_held_in_few_pieces(sizes: list[int]) -> None:
    upload = Upload(Uploads(), tflow.tflow(), 1 << 30, lambda flow, reason: None)
    buffer = ReceiveBuffer()  # type: ignore[no-untyped-call]
    sent = b""
    for number, size in enumerate(sizes):
        data = bytes([number % 251]) * size
        buffer += data
        sent += data
        request_bodies._merge(buffer._chunks, upload)
    assert bytes(buffer) == sent
    assert len(buffer._chunks) <= request_bodies._MANY + 1 + len(sent) // request_bodies._PIECE + len(sizes) // 1000


# What mitmproxy must go on doing. Where one of these fails, look at patches/request_bodies.py.


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
