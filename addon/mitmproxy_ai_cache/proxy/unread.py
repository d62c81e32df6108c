"""Requests that are decided on by their head alone: their body is too large to hold."""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import http

from ..calls.refusals import too_large
from ..counts.counted import CountedCache
from ..wire.messages import Response
from . import bridge
from .flow_call import FlowCall
from .patches import arrival


def settle(
    flow: http.HTTPFlow,
    reason: str,
    cache: CountedCache | None,
    mode: str,
    admit: Callable[[http.HTTPFlow, CountedCache], Response | FlowCall],
    take: Callable[[http.HTTPFlow], object],
) -> http.Response | None:
    """The answer that refuses the request, or None: it streams, and the answer of its provider is waited for.

    `admit` gives its call, or what refuses whoever makes it; `take` ends a call that is not waited for.
    """
    method = flow.request.method
    note = arrival.of(flow)
    if note.refusal is not None:
        return bridge.response_to(note.refusal, method)
    if note.ours or (cache is None and mode == "replay"):
        return bridge.response_to(too_large(), method)
    if cache is None:
        return None
    admitted = admit(flow, cache)
    if isinstance(admitted, Response):
        return bridge.response_to(admitted, method)
    exchange = cache.begin_unread(admitted.exchange, reason)
    admitted.address = bridge.address_of(flow)
    if exchange.response is not None or not exchange.status:
        take(flow)
    if exchange.response is not None:
        return bridge.response_to(exchange.response, method)
    bridge.strip_our_headers(flow.request)
    return None
