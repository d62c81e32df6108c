"""The answer that another proxy on the same store is fetching. Only for what is no stream: a stream would be held back
until its end."""

from __future__ import annotations

import asyncio

from ...stores import Store
from ..exchange import Exchange
from ..reasons import Reason
from ..storing import Storing
from .exact import Exact
from .found import ClientLeft, Found, Missed

_ASK_AGAIN = 0.1
"""Seconds between looks at what another process is fetching."""

_NO_ANSWER = (Reason.STORE_TIMEOUT, Reason.STORE_ERROR)
"""A store that has just used up its time for a call is not asked for a lease as well."""


class OtherProcess:
    def __init__(self, store: Store, exact: Exact, storing: Storing) -> None:
        self._store = store
        self._exact = exact
        self._storing = storing

    async def find(self, exchange: Exchange, missed: Missed) -> Found | Missed:
        """Wait while another proxy has the lease on this key. `missed` is what is known of it so far."""
        call = exchange.call
        if exchange.flight is None or call is None or call.stream or missed.reason in _NO_ANSWER:
            return missed
        while not await self._store.claim(exchange.key):
            await asyncio.sleep(_ASK_AGAIN)
            if exchange.left:
                self._storing.fail(exchange, left=True)
                raise ClientLeft
            found = await self._exact.find(exchange)
            if isinstance(found, Found) and found.entry is not None:
                self._storing.land(exchange, found.entry)
                return found
            if isinstance(found, Missed):
                missed = found
        return missed
