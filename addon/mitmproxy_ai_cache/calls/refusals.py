"""What is said to a client that is refused: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import protocols
from ..configuration.settings import Settings
from ..entries.entry import short_key
from ..protocols.base import Call, json_response
from ..protocols.providers import error_for_host
from ..redact.entries import hidden_url
from ..wire.messages import Request, Response
from .exchange import Exchange
from .reasons import Reason

MISS_STATUS = 424
"""Failed Dependency. SDKs do not retry it, and applications do not take it for a missing model."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`reason` is for the log, `code` and `message` are for the client."""

    reason: str
    code: str
    message: str


def of_no_call(settings: Settings, request: Request, on_ai_host: bool, allowed: bool) -> Refusal | None:
    """Why a request that is no AI call is not let through, or None."""
    if settings.mode == "replay" and allowed:
        return None
    if settings.mode == "replay" and on_ai_host:
        message = "ai-cache replay: this is no AI call, and nothing leaves the machine."
        return Refusal(Reason.SIDE_TRAFFIC, "ai_cache_replay", message)
    if settings.mode == "replay":
        message = (
            f"ai-cache replay: {request.host} is no AI host, and the network is not touched. "
            f"If it is one, add ai_cache_hosts={request.host} and record again; to let it through add "
            f"--allow-host {request.host}."
        )
        return Refusal(Reason.NOT_AN_AI_HOST, "ai_cache_replay", message)
    if settings.fail_mode == "error" and not on_ai_host:
        message = (
            f"ai-cache: {request.method} {hidden_url(request.url)} is no AI call, and ai_cache_fail_mode is error."
        )
        return Refusal(Reason.NOT_AN_AI_CALL, "ai_cache_not_an_ai_call", message)
    return None


def miss_message(settings: Settings, exchange: Exchange, call: Call, explanation: Sequence[str] = ()) -> str:
    """What an SDK shows; it begins with what changed, where that is known."""
    if explanation:
        record = f"to record it (key {short_key(exchange.key)}): ai-cache record -- COMMAND, or ai_cache_mode=record"
        return "\n".join([f"ai-cache replay: {explanation[0]}", *explanation[1:], record])
    request = exchange.request
    model = f" {call.model}" if call.model else ""
    why = "only-if-cached" if settings.mode != "replay" else "replay"
    return (
        f"ai-cache {why}: no stored answer for this {call.protocol.name}{model} request "
        f"(key {short_key(exchange.key)}, {request.method} {hidden_url(request.url)}, {exchange.reason}). "
        + ("Record it with ai_cache_mode=record." if why == "replay" else "")
    ).strip()


def error(exchange: Exchange, code: str, message: str) -> Response:
    """In the shape of the client's own provider, so that its SDK shows it."""
    call = exchange.call
    if call is None or call.protocol is protocols.ANYTHING:
        return error_for_host(exchange.request.host, MISS_STATUS, code, message)
    return call.protocol.error(MISS_STATUS, code, message)


def proxy_user_required() -> Response:
    """RFC 9110 section 15.5.8: whose entries may answer cannot be known."""
    return json_response(
        407,
        {"error": {"message": "ai-cache isolates by proxy user; set HTTPS_PROXY=http://USER:x@host:port", "code": 407}},
        [("proxy-authenticate", 'Basic realm="ai-cache"')],
    )


def too_large() -> Response:
    """To a request that is for the proxy itself, or comes before its store is open."""
    message = "ai-cache: this request is larger than ai_cache_max_body; send less, or raise that option"
    return json_response(413, {"error": {"message": message, "code": "ai_cache_too_large"}})


def bypass_message(mode: str, reason: str) -> str:
    """Why a call that is not looked up cannot be answered."""
    message = f"ai-cache {mode}: this request cannot be answered from the store ({reason})."
    mend: dict[str, str] = {
        Reason.REQUEST_TOO_LARGE: " It is larger than ai_cache_max_body; raise that option, and record again.",
        Reason.UPLOADS_TOO_LARGE: " Requests that are being sent hold all of ai_cache_max_pending; raise it, or send "
        "fewer.",
        Reason.NO_CREDENTIAL: " It does not say whose it is (ai_cache_isolate); send a key, or see "
        "ai_cache_keyless_hosts.",
    }
    return message + mend.get(reason, "")
