"""Answers of an HTTP/1.1 provider that contradict themselves are passed on and not kept.

What a provider sends behind the end of its answer belongs to no request. mitmproxy closes the connection over it, and
the client has its answer; but a provider that sends two answers may have mixed them up.
"""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ResponseEndOfMessage
from mitmproxy.proxy.layers.http._http1 import Http1Client

from .base import replace
from .table import ODD_ANSWERS

_FOLLOWED = "ai_cache_followed"
"""Attribute of an answer."""


def is_followed(response: http.Response | None) -> bool:
    """Whether more came with the end of `response` than belongs to it. Empty lines are forgiven."""
    return response is not None and _FOLLOWED in response.__dict__


def is_cut(response: http.Response | None) -> bool:
    """Whether an answer that broke off had promised an end that its client waits for.

    Events may be whole without the end of their chunks: a client that has read `[DONE]` leaves. A JSON value has no
    such sign.
    """
    if response is None or "chunked" not in response.headers.get("transfer-encoding", "").lower():
        return False
    media_type = response.headers.get("content-type", "").lower().partition(";")[0].strip()
    return bool(media_type.endswith(("/json", "+json")))


def install() -> None:
    """Let connections to providers notice what follows an answer."""
    if not ODD_ANSWERS.may_install():
        return
    original = Http1Client.read_body

    def read_body(self: Http1Client, event: events.Event) -> layer.CommandGenerator[None]:
        for command in original(self, event):
            ended = isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseEndOfMessage)
            if ended and self.response is not None and bytes(self.buf._data[:4]).strip(b"\r\n"):
                self.response.__dict__[_FOLLOWED] = True
            yield command

    replace(ODD_ANSWERS, ODD_ANSWERS.replaces[0], read_body)
