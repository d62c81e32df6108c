"""May this request be looked up, and its answer kept? Every answer is a `Decision` with its reason."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..configuration.settings import Settings
from ..protocols.base import Call, Verdict
from ..wire import our_headers, units
from ..wire.body import Body
from ..wire.messages import Request
from .reasons import Reason

logger = logging.getLogger("ai-cache")


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The request directives of RFC 9111 section 5.2.1 that we act on."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float | None = None

    @classmethod
    def parse(cls, value: str) -> CacheControl:
        directives = {}
        for part in value.lower().split(","):
            name, _, argument = part.partition("=")
            directives[name.strip()] = argument.strip().strip('"')
        age = directives.get("max-age", "")
        return cls(
            no_cache="no-cache" in directives,
            no_store="no-store" in directives,
            only_if_cached="only-if-cached" in directives,
            max_age=float(age) if age.isdecimal() and len(age) < 12 else None,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """`bypass` is the reason why a call passes untouched, or nothing."""

    bypass: str = ""
    look_up: bool = False
    keep: bool = False
    reason: str = ""
    """Why a call that is no bypass is not looked up: `no-cache`, `refresh`."""


def decide(settings: Settings, request: Request, call: Call, control: CacheControl) -> Decision:
    """The decision on a recognised call, before its key is known."""
    if reason := _bypass(settings, request, call):
        return Decision(bypass=reason)
    refresh = settings.mode == "refresh"
    # A strict replay has nothing to forward to.
    no_cache = control.no_cache and settings.mode != "replay"
    return Decision(
        look_up=settings.looks_up and not no_cache,
        keep=settings.stores and not control.no_store,
        reason=Reason.REFRESH if refresh else Reason.NO_CACHE if no_cache else "",
    )


def may_collapse(settings: Settings, decision: Decision, control: CacheControl) -> bool:
    """Whether an answer that is on its way may be this call's answer, too."""
    return (
        settings.single_flight
        and settings.mode == "cache"
        and decision.look_up
        and decision.keep
        and not control.only_if_cached
        and control.max_age != 0
    )


def _bypass(settings: Settings, request: Request, call: Call) -> str:
    for name, value in settings.bypass_on:
        if name in request.headers and value in ("*", request.headers.get(name)):
            return Reason.BYPASS_RULE
    if mismatch(request):
        return Reason.HOST_MISMATCH
    if call.body.kind not in ("json", "multipart", "raw"):
        return why_unrecognised(call.body)
    if call.bypass and not settings.everything:
        return call.bypass
    return ""


def mismatch(request: Request) -> bool:
    """Whether address, Host and SNI name different hosts. A client could poison a shared store with such a request.

    In reverse mode the address is the operator's, whatever the client says.
    """
    if request.reverse:
        return False
    host = request.host.lower().rstrip(".")
    for claimed in (request.authority, request.headers.get("host")):
        if claimed and _host_of(claimed) != host:
            return True
    return bool(request.sni) and request.sni.lower().rstrip(".") != host


def _host_of(authority: str) -> str:
    host, colon, port = authority.lower().strip().rpartition(":")
    if not colon or not port.isdecimal():
        host = authority.lower().strip()
    return host.strip("[]").rstrip(".")


def why_unrecognised(body: Body) -> str:
    """Why a request to an AI host is no call we know."""
    return {
        "unseen": Reason.REQUEST_STREAMED,
        "duplicate-members": Reason.DUPLICATE_MEMBERS,
        "undecodable": Reason.UNDECODABLE,
        "too-large": Reason.REQUEST_TOO_LARGE,
    }.get(body.kind, Reason.NOT_INFERENCE)


def ttl_of(settings: Settings, request: Request, call: Call) -> float:
    """Seconds the answer may be served; 0 for ever."""
    if wanted := request.headers.get(our_headers.TTL):
        try:
            return units.duration(wanted)
        except ValueError as error:
            logger.warning("ai-cache: X-AI-Cache-TTL: %s; ai_cache_ttl counts instead", ascii(str(error))[1:-1][:200])
    if settings.records:
        return 0
    if call.live and settings.live_ttl:
        return min(settings.live_ttl, settings.ttl or settings.live_ttl)
    return settings.ttl


def not_kept(settings: Settings, verdict: Verdict) -> str:
    """Why an answer with this verdict is not stored, or nothing."""
    if settings.records:
        return "" if verdict.whole or settings.record_broken else verdict.reason
    if not (verdict.whole and verdict.cacheable):
        return verdict.reason
    stops = {reason.lower() for reason in verdict.stop}
    return Reason.STOP_REASON if stops & settings.skip_stop_reasons else ""
