"""A flow and the exchange it carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy import http

from ..calls.exchange import Exchange


@dataclass(slots=True)
class FlowCall:
    """A flow that is ours, from its request to its end."""

    flow: http.HTTPFlow
    exchange: Exchange
    user: str | None = None
    content: bytes | None = None
    address: tuple[object, ...] = ()
    restore: Callable[[], None] | None = None
    """Gives a request that is sent to memory its own address back."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
