"""WebSocket upgrades. They cannot be cached; clients that can go on over HTTP are asked to."""

from __future__ import annotations

from ..configuration.settings import Settings
from ..protocols.base import json_response
from ..wire.messages import Request, Response

_TWINS = ("/responses",)
"""Paths whose WebSocket says what a POST to the same path says (OpenAI Responses, which Codex prefers over HTTP)."""


def refusal(request: Request, settings: Settings, ai_host: bool) -> Response | None:
    """The answer to an upgrade that is not let through, or None.

    426 Upgrade Required names the protocol to use instead (RFC 9110 section 15.5.22). Codex goes on over HTTP at once
    on 426; refused with any other status it reconnects five times first (measured).
    """
    if settings.mode == "off" or request.headers.get("upgrade").lower() != "websocket":
        return None
    twin = request.path.endswith(_TWINS)
    if not (ai_host or twin):
        return None
    passes = settings.websocket == "pass" or (settings.websocket == "auto" and not twin)
    if passes and settings.mode != "replay":
        return None
    message = "ai-cache: WebSockets cannot be cached; use HTTP (ai_cache_websocket=pass lets them through)"
    return json_response(
        426,
        {"error": {"message": message, "code": "ai_cache_websocket"}},
        [("upgrade", "HTTP/1.1"), ("connection", "upgrade")],
    )
