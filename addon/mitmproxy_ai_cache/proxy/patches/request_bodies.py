"""Where mitmproxy's own handling of request bodies is mended: it holds a body whole, or not at all.

- A body that is being held may go on as a stream at any time; what was held is sent first.
- A request may be refused before its body is read; its connection is closed then.
- Who sends to a provider that does not take it waits, also while the connection to it is being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, ctx, http
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook, HttpResponseHook
from mitmproxy.proxy.layers.http._http2 import Http2Connection
from mitmproxy.proxy.server import ConnectionHandler

from ..uploads import Upload, Uploads
from .base import replace
from .table import UPLOADS

_CHECK, _START, _DRAIN = UPLOADS.replaces

_PIECE, _MANY = 1 << 20, 1024
"""A held body is kept in pieces of so many bytes, or of so many chunks as they came: small ones take more room than
what is in them."""

_WAITING = 262144
"""Bytes that may wait for the flow control window of an h2 provider before its client is read on."""

_GRACE = 1.0
"""Seconds in which a refused client can read its answer before its connection is cut. Nothing is read meanwhile."""

_LOOK_AGAIN = 0.02

_uploads: list[Uploads] = []
"""Those of the addons that are loaded; one as a rule."""

_not_read: dict[str, asyncio.Event] = {}
"""Clients that are not read at present, by id, each with what ends that."""


def install(uploads: Uploads) -> None:
    """Let `uploads` decide on every request body from now on."""
    uploads.cut, uploads.abort = _cut_client, _abort
    uploads.only_declared = not UPLOADS.is_known()
    if uploads not in _uploads:
        _uploads.append(uploads)
    if UPLOADS.may_install():
        _mend_streams()
        _mend_reading()


def remove(uploads: Uploads) -> None:
    if uploads in _uploads:
        _uploads.remove(uploads)


def _upload_of(flow: http.HTTPFlow) -> Upload | None:
    for uploads in _uploads:
        if upload := uploads.of(flow):
            return upload
    return None


def _mend_streams() -> None:
    original_check, original_start = HttpStream.check_body_size, HttpStream.start_request_stream

    def check_body_size(self: HttpStream, request: bool) -> layer.CommandGenerator[bool]:
        """mitmproxy calls this with each piece of a body it holds."""
        if (yield from original_check(self, request)):
            return True
        if request and self.request_body_buf and (upload := _upload_of(self.flow)) is not None:
            if self.flow.request.stream:
                upload.release()  # it streams by a wish of the user
            elif not upload.holds(len(self.request_body_buf)):
                yield from _stop_holding(self, upload)
            else:
                upload.buffer = self.request_body_buf
                _merge(self.request_body_buf._chunks, upload)
        return False

    def start_request_stream(self: HttpStream) -> layer.CommandGenerator[None]:
        upload = _upload_of(self.flow)
        if upload is None or not upload.settled:
            yield from original_start(self)
        elif upload.refusal is not None:
            yield from _refuse(self, upload.refusal)
        else:
            yield from _start(self)

    replace(UPLOADS, _CHECK, check_body_size)
    replace(UPLOADS, _START, start_request_stream)


def _merge(chunks: list[bytes], upload: Upload) -> None:
    """Let what came since the last piece be one."""
    upload.size += len(chunks[-1])
    if upload.size >= _PIECE or len(chunks) - upload.pieces >= _MANY:
        chunks[upload.pieces :] = [b"".join(chunks[upload.pieces :])]
        upload.pieces, upload.size = upload.pieces + 1, 0


def _stop_holding(stream: HttpStream, upload: Upload) -> layer.CommandGenerator[None]:
    """What was held goes first."""
    held = stream.request_body_buf._chunks[::-1]
    stream.request_body_buf.clear()
    stream.flow.request.stream = True
    yield from stream.start_request_stream()
    if stream.client_state != stream.state_stream_request_body:
        upload.release()
        return
    while held:
        yield from stream.state_stream_request_body(RequestData(stream.stream_id, held.pop()))

    def release_when_sent(data: bytes) -> bytes:
        upload.release()  # more is read only when what was held is on its way
        return pass_on(data)

    pass_on: Callable[[bytes], bytes] = stream.flow.request.stream  # type: ignore[assignment]
    stream.flow.request.stream = release_when_sent


def _start(stream: HttpStream) -> layer.CommandGenerator[None]:
    """As mitmproxy does it, but its client is not read meanwhile, and an h2 body without a length is chunked on h1."""
    client = stream.context.client
    _stop_reading(client)
    try:
        connected = yield from stream.make_server_connection()
    finally:
        _read_on(client)
    if not connected:
        stream.client_state = stream.state_errored
        return
    request = stream.flow.request
    if stream.context.server.alpn != b"h2" and "content-length" not in request.headers:
        request.headers["transfer-encoding"] = "chunked"
    yield SendHttp(RequestHeaders(stream.stream_id, request, end_stream=False), stream.context.server)
    stream.client_state = stream.state_stream_request_body
    if request.stream is True:
        request.stream = _paced(stream)


def _paced(stream: HttpStream) -> Callable[[bytes], bytes]:
    """Passes on what comes, and lets its client wait for an h2 provider: mitmproxy keeps what does not fit its flow
    control window, without bound."""
    provider = _http_connection(stream, stream.context.server)
    client = stream.context.client
    if not isinstance(provider, Http2Connection):
        return lambda data: data

    def waiting() -> int:
        buffers = provider.h2_conn.stream_buffers.values()
        return sum(len(each.data) for buffer in buffers for each in buffer)

    def wait() -> None:
        if stream.context.server.connected and waiting() > _WAITING:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, wait)
        else:
            _read_on(client)

    def pass_on(data: bytes) -> bytes:
        if client.id not in _not_read and waiting() > _WAITING:
            _stop_reading(client)
            wait()
        return data

    return pass_on


def _http_connection(stream: HttpStream, conn: connection.Connection) -> Any:
    """Whoever speaks HTTP there for `stream`."""
    layers = stream.context.layers
    found: Any = layers[layers.index(stream) - 1]
    return found.connections[conn].context.layers[-1]


def _refuse(stream: HttpStream, answer: http.Response) -> layer.CommandGenerator[None]:
    """Answer before the body is read, and close the connection."""
    flow, client, number = stream.flow, stream.context.client, stream.stream_id
    if not (flow.request.is_http2 or flow.request.is_http3):
        answer.headers["connection"] = "close"
    flow.response = answer
    stream.client_state = stream.server_state = stream.state_errored  # what still comes is dropped
    yield HttpResponseHeadersHook(flow)
    yield HttpResponseHook(flow)
    content = answer.raw_content
    yield SendHttp(ResponseHeaders(number, answer, not content), client)
    if content:
        yield SendHttp(ResponseData(number, content), client)
    yield SendHttp(ResponseEndOfMessage(number), client)
    flow.live = False
    others = len(getattr(stream.context.layers[stream.context.layers.index(stream) - 1], "streams", ())) > 1
    speaker = _http_connection(stream, client)
    if isinstance(speaker, Http2Connection) and not speaker.is_closed(number):
        speaker.h2_conn.reset_stream(number, 0)  # RFC 9113 section 8.1: the answer is whole, stop sending
        yield commands.SendData(client, speaker.h2_conn.data_to_send())
    if not others:
        _close_soon(client)
    yield DropStream(number)


# Reading


def _mend_reading() -> None:
    original = ConnectionHandler.drain_writers

    async def drain_writers(self: ConnectionHandler) -> None:
        """mitmproxy calls this after each read."""
        await original(self)  # type: ignore[no-untyped-call]
        while _not_read and (until := _not_read.get(self.client.id)) is not None:
            io = self.transports.get(self.client)
            if io is None or io.handler is not asyncio.current_task():
                return  # a provider's connection
            await until.wait()

    replace(UPLOADS, _DRAIN, drain_writers)


def _stop_reading(client: connection.Client) -> None:
    _not_read.setdefault(client.id, asyncio.Event())


def _read_on(client: connection.Client) -> None:
    if (until := _not_read.pop(client.id, None)) is not None:
        until.set()


def forget(client: connection.Client) -> None:
    """Its connection is over."""
    _read_on(client)


def _close_soon(client: connection.Client) -> None:
    """Say that nothing more will be sent, and cut the connection a moment later. At once the client would be reset, and
    may not see its answer."""
    io = _io_of(client)
    if io is None:
        return
    _stop_reading(client)
    if io.writer is not None and not io.writer.is_closing() and hasattr(io.writer, "write_eof"):
        io.writer.write_eof()
    asyncio.get_running_loop().call_later(_GRACE, _cut, io, "its request was refused")


def _cut_client(client: connection.Client) -> None:
    if (io := _io_of(client)) is not None:
        _cut(io, "its request stands still, and others need the room")


def _abort(flow: http.HTTPFlow) -> None:
    """A transport of asyncio that is closed goes on sending, for ever where nobody reads."""
    io = _io_of(flow.client_conn, flow.server_conn)
    transport = getattr(io.writer, "transport", None) if io is not None else None
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()


def _cut(io: Any, why: str) -> None:
    if io.handler is not None:
        io.handler.cancel(why)


def _io_of(client: connection.Client, other: connection.Connection | None = None) -> Any:
    """The socket of `client`, or of its `other` end, and the task that reads it; or None."""
    servers: Any = ctx.master.addons.get("proxyserver")
    handler = next((each for each in servers.connections.values() if each.client is client), None)
    return handler.transports.get(other or client) if handler is not None else None
