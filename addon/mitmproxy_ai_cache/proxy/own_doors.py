"""What the proxy answers about itself where `proxyauth` lets in only users of the proxy."""

from __future__ import annotations

import base64
import binascii

from mitmproxy import ctx, http

from ..counts import metrics
from ..wire.messages import Headers, Response
from . import bridge

_HEALTH = "/healthz"


def let_in(flow: http.HTTPFlow, page_password: str) -> None:
    """Take back mitmproxy's refusal (407) of a request to the proxy itself, where its path has a rule of its own.

    A health check has no credentials, and `/healthz` tells nothing of anybody. Prometheus sends Authorization, not
    Proxy-Authorization: `/metrics` takes the password of the status page there (`guard` checks it), or, where that page
    has none, a user of the proxy.
    """
    if flow.response is None or flow.response.status_code != 407:
        return
    path = flow.request.path.partition("?")[0]
    if path == _HEALTH or (path == metrics.PATH and (page_password or _is_user(flow))):
        flow.response = None
    elif path == metrics.PATH:
        asked = Headers([("www-authenticate", 'Basic realm="ai-cache"'), ("content-type", "text/plain")])
        flow.response = bridge.response_to(
            Response(401, asked, b"A user of the proxy is needed.\n"), flow.request.method
        )


def _is_user(flow: http.HTTPFlow) -> bool:
    """Whether Authorization names a user that `proxyauth` knows (RFC 7617)."""
    scheme, _, encoded = flow.request.headers.get("authorization", "").partition(" ")
    proxyauth = ctx.master.addons.get("proxyauth")
    if scheme.lower() != "basic" or proxyauth is None or proxyauth.validator is None:
        return False
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon) and bool(proxyauth.validator(user, password))
