"""Where mitmproxy's own behaviour is mended for the proxy of `ai-cache run` and `serve`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from mitmproxy import http, options
from mitmproxy.log import LegacyLogEvents
from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.test import tflow

from mitmproxy_ai_cache import bridge, mends
from mitmproxy_ai_cache.messages import Headers, Response


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http1Server, "send", Http1Server.send)  # and back again
    mends.send_whole_answers()


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


def test_types_are_checked_unless_that_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> http.Response:
        return http.Response(b"HTTP/1.1", "200", b"OK", http.Headers(), b"", None, 0.0, None)  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        wrong()
    monkeypatch.setattr(http.MessageData, "__post_init__", http.MessageData.__post_init__)
    mends.trust_messages()
    assert wrong().status_code == "200"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("length", [[], [("Content-Length", "7")], [("transfer-encoding", "chunked")]])
def test_an_answer_says_its_length_once(method: str, length: list[tuple[str, str]]) -> None:
    sent = bridge.response_to(Response(203, Headers([("x-a", "\xe9"), *length, ("x-b", "\u20ac")]), b"body"), method)
    body = b"" if method == "HEAD" else b"body"
    fields = ((b"x-a", b"\xe9"), (b"x-b", b"?"), (b"content-length", b"%d" % len(body)))
    assert (sent.status_code, sent.reason, sent.raw_content, sent.headers.fields) == (
        203, "Non-Authoritative Information", body, fields,
    )  # fmt: skip
    assert not sent.stream


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, logger.handlers = logger.handlers, []
    yield logger
    logger.handlers = handlers


def test_lines_that_only_the_deprecated_event_would_tell_of_are_read_by_nobody(root: logging.Logger) -> None:
    quiet, loud = logging.NullHandler(logging.ERROR), logging.NullHandler(logging.INFO)
    legacy = LegacyLogEvents.__new__(LegacyLogEvents)
    logging.Handler.__init__(legacy)
    root.handlers = [legacy, quiet]
    assert bridge.level_read() == logging.ERROR
    root.handlers = [legacy, quiet, loud]
    assert bridge.level_read() == logging.INFO
    root.handlers = [legacy, quiet, logging.NullHandler()]  # somebody's own, which reads everything
    assert bridge.level_read() == logging.NOTSET
