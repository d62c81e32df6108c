"""Explains misses from what a store holds: read once, when the first call misses."""

from __future__ import annotations

import asyncio
import logging

from ..explain import Miss, lines
from ..identity.isolation import Isolation
from ..protocols.base import Call
from ..stores import Store
from .exchange import Exchange
from .workers import OffLoop, Recordings

logger = logging.getLogger("ai-cache")

_TIME = 30.0
"""Seconds that explaining a miss may take: the first one reads all recordings."""


class Explainer:
    """Says what is recorded that is nearest to a request that missed, and where it differs."""

    def __init__(self, store: Store, work: OffLoop) -> None:
        self._store = store
        self._work = work
        self._recorded: Recordings | None = None
        self._one_at_a_time = asyncio.Lock()

    async def lines(self, exchange: Exchange, call: Call, isolation: Isolation) -> list[str]:
        """Nothing where entries are kept apart: an explanation shows parts of recorded requests, and an entry does not
        say whose it is."""
        if isolation.kind != "none":
            return []
        try:
            async with asyncio.timeout(_TIME), self._one_at_a_time:
                if self._recorded is None:
                    self._recorded = self._work.recordings([entry async for entry in self._store.entries()])
                miss = Miss(exchange.request, call, exchange.namespace, exchange.key, exchange.reason)
                return lines(await self._recorded.explain(miss))
        except Exception as error:
            # An explanation is a courtesy: without it the miss is a miss all the same.
            logger.warning("ai-cache: a miss could not be explained", exc_info=error)
            return []
