"""Answers of an HTTP/1.1 provider before and behind the one that counts.

Informational ones (100, 102, 103) are skipped; the final answer follows. mitmproxy takes the first of them for the
answer: the client gets a bare `103 Early Hints`, and waits for the rest in vain. On HTTP/2 mitmproxy skips them itself.
A client need not have them (RFC 9110 section 15.2): a `100 Continue` that it asked for comes from mitmproxy.

What a provider sends behind the end of its answer belongs to no request. mitmproxy closes the connection over it, and
the client has its answer; a provider that does not know what it says is not believed, and nothing is kept.
"""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseEndOfMessage, ResponseProtocolError

_STATUS_LINE = 40
"""Bytes in which version and status stand."""
_SWITCHING = 101
"""Another protocol follows: to mitmproxy that is a final answer."""
_MOST = 64
"""Informational answers to one request. Real providers send one or two; one that never stops is broken."""
_FOLLOWED = "ai_cache_followed"
"""Attribute of an answer."""


def is_followed(response: http.Response | None) -> bool:
    """Whether more came with the end of `response` than belongs to it."""
    return response is not None and _FOLLOWED in response.__dict__


def is_cut(response: http.Response | None, size: int) -> bool:
    """Whether an answer that broke off after `size` bytes of its body had said that there are more.

    Events may be whole without the end of their chunks: a client that has read `[DONE]` leaves. A JSON value has no
    such end, and a client that is told of more bytes takes the answer for a failure.
    """
    if response is None:
        return False
    length = response.headers.get("content-length", "").strip()
    if length.isascii() and length.isdecimal():
        return len(length) > 18 or size < int(length)
    chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
    media_type = response.headers.get("content-type", "").lower().partition(";")[0].strip()
    return chunked and media_type.endswith(("/json", "+json"))


def install() -> None:
    """Let connections to providers skip informational answers, and notice what follows an answer."""
    original = _http1.Http1Client.read_headers
    if getattr(original, "skips_informational", False):
        return

    def read_headers(self: _http1.Http1Client, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and self.request and _skip(self):
            yield commands.CloseConnection(self.conn)
            says = f"the provider sent {_MOST} informational answers and no other"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id or 1, says, ErrorCode.GENERIC_SERVER_ERROR))
            self.state = self.done
            return
        yield from original(self, event)

    read_body_of_mitmproxy = _http1.Http1Client.read_body

    def read_body(self: _http1.Http1Client, event: events.Event) -> layer.CommandGenerator[None]:
        for command in read_body_of_mitmproxy(self, event):
            ended = isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseEndOfMessage)
            if ended and self.response is not None and bytes(self.buf._data[:4]).strip(b"\r\n"):
                self.response.__dict__[_FOLLOWED] = True
            yield command

    read_headers.skips_informational = True  # type: ignore[attr-defined]
    _http1.Http1Client.read_headers = read_headers  # type: ignore[method-assign]
    _http1.Http1Client.read_body = read_body  # type: ignore[method-assign, assignment]


def _skip(connection: _http1.Http1Client) -> bool:
    """Take the informational answers that begin the buffer out of it. Whether they are too many."""
    while 100 <= _status(connection) <= 199:
        if connection.buf.maybe_extract_lines() is None:
            return False  # its end has not come yet
        stream, skipped = connection.__dict__.get("skipped", (None, 0))
        skipped = skipped + 1 if stream == connection.stream_id else 1
        connection.__dict__["skipped"] = connection.stream_id, skipped
        if skipped > _MOST:
            return True
    return False


def _status(connection: _http1.Http1Client) -> int:
    """The status at the start of the buffer as mitmproxy reads it, 0 where there is none to skip."""
    line = bytes(connection.buf._data[:_STATUS_LINE]).partition(b"\n")[0].split(None, 2)
    try:
        status = int(line[1]) if line[0].startswith(b"HTTP/") else 0
    except (IndexError, ValueError):
        return 0
    return 0 if status == _SWITCHING else status
