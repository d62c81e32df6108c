"""In which form a request arrived. mitmproxy drops that before its first hook: a patch notes it before.

RFC 9112 section 3.2: a client sends a proxy the absolute form (`GET http://host/path`) or CONNECT, and a server the
origin form (`GET /path`). What comes in origin form outside a tunnel is meant for the proxy itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from mitmproxy import http
from mitmproxy.net.http import url
from mitmproxy.proxy import layer, mode_specs
from mitmproxy.proxy.layers.http import HTTPMode, HttpStream

from ...wire.messages import Response
from .base import replace
from .table import ARRIVAL

logger = logging.getLogger("ai-cache")

_NOTE = "ai_cache_arrival"
"""The attribute of a request. Not the flow's metadata: that is written to files."""

_NAMELESS = "nameless.invalid"
"""The host of a request in origin form whose Host is missing or wrong. mitmproxy would answer 400, also /healthz."""


class Form(Enum):
    ORIGIN = auto()
    ABSOLUTE = auto()
    CONNECT = auto()
    MULTIPLEXED = auto()
    """HTTP/2 and 3 outside a tunnel: there is an authority, and no form."""
    INSIDE = auto()
    """In a tunnel, or in a mode in which clients do not know of the proxy."""
    REPLAYED = auto()
    """No client sent it: mitmproxy replays a flow."""
    UNKNOWN = auto()


@dataclass(slots=True)
class Arrival:
    """What is known of a request since it arrived, and what was decided for it."""

    form: Form
    name: str = ""
    """What the client calls us: the host of a request in origin form."""
    ours: bool = False
    """It is answered here."""
    refusal: Response | None = None
    based: bool = False
    """It came by a base URL and goes where that says."""
    judged: bool = False
    """Its target is judged by the address that the connection is made to."""
    origin: str = ""
    """The page of a browser that may read the answer."""


def of(flow: http.HTTPFlow) -> Arrival:
    """The note on the request of `flow`; a new one that says unknown where there is none."""
    found: Arrival | None = getattr(flow.request, _NOTE, None)
    if found is None:
        found = Arrival(Form.UNKNOWN)
        setattr(flow.request, _NOTE, found)
    return found


def may_be_for_us(flow: http.HTTPFlow) -> bool:
    """Whether the form says so. Where it is unknown every request outside of TLS counts as ours: that is the safe
    mistake, and nothing that is meant for us is forwarded."""
    form = of(flow).form
    if form is Form.UNKNOWN:
        client = flow.client_conn
        return not client.tls_established and isinstance(
            client.proxy_mode, mode_specs.RegularMode | mode_specs.UpstreamMode
        )
    return form is Form.ORIGIN


def install() -> None:
    """Note the form of all requests from now on."""
    if not ARRIVAL.may_install():
        return
    original: Any = HttpStream.state_wait_for_request_headers

    def state_wait_for_request_headers(self: HttpStream, event: Any) -> layer.CommandGenerator[None]:
        _note(self, event)
        yield from original(self, event)

    replace(ARRIVAL, ARRIVAL.replaces[0], state_wait_for_request_headers)


def _note(stream: HttpStream, event: Any) -> None:
    try:
        request: http.Request = event.request
        form = _form(stream, event)
        name = _own_name(request) if form is Form.ORIGIN else ""
        setattr(request, _NOTE, Arrival(form, name))
    except Exception as error:  # the request stays without a note, which counts as ours
        logger.error("ai-cache: the form of a request could not be read", exc_info=error)


def _form(stream: HttpStream, event: Any) -> Form:
    request: http.Request = event.request
    if event.replay_flow:
        return Form.REPLAYED
    if stream.mode is HTTPMode.transparent:
        return Form.INSIDE
    if request.method == "CONNECT":
        return Form.CONNECT
    if request.is_http2 or request.is_http3:
        return Form.MULTIPLEXED
    return Form.ABSOLUTE if request.host else Form.ORIGIN


def _own_name(request: http.Request) -> str:
    """The host in the Host field; nothing, and a host that goes nowhere, where there is no usable one."""
    try:
        return url.parse_authority(request.host_header or "", check=True)[0]
    except ValueError:
        request.data.host, request.data.port, request.data.scheme = _NAMELESS, 80, b"http"
        return ""
