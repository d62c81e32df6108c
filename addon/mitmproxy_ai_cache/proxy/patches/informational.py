"""Informational answers (100, 102, 103) of a provider that speaks HTTP/1.1 are skipped; the final answer follows.

mitmproxy takes the first of them for the answer: the client gets a bare `103 Early Hints`, and waits for the rest in
vain. On HTTP/2 mitmproxy skips them itself. A client need not have them (RFC 9110 section 15.2): a `100 Continue` that
it asked for comes from mitmproxy.
"""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError

from .base import replace
from .table import INFORMATIONAL

_STATUS_LINE = 40
"""Bytes in which version and status stand."""
_SWITCHING = 101
"""Another protocol follows: to mitmproxy that is a final answer."""
_MOST = 64
"""Informational answers to one request. Real providers send one or two; one that never stops is broken."""


def install() -> None:
    """Let connections to providers skip informational answers."""
    if not INFORMATIONAL.may_install():
        return
    original = _http1.Http1Client.read_headers

    def read_headers(self: _http1.Http1Client, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and self.request and _skip(self):
            yield commands.CloseConnection(self.conn)
            says = f"the provider sent {_MOST} informational answers and no other"
            yield ReceiveHttp(ResponseProtocolError(self.stream_id or 1, says, ErrorCode.GENERIC_SERVER_ERROR))
            self.state = self.done
            return
        yield from original(self, event)

    replace(INFORMATIONAL, INFORMATIONAL.replaces[0], read_headers)


def must_be_cut(response: http.Response) -> bool:
    """Whether `response` is informational, and its client would wait for the answer in vain: nobody skips it."""
    return 100 <= response.status_code <= 199 and response.status_code != _SWITCHING and not INFORMATIONAL.is_known()


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
