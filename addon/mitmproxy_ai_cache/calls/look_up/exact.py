"""The entry that is stored under the key of the call, where it is fresh enough."""

from __future__ import annotations

import asyncio
import logging
import time

from ...configuration.settings import Settings
from ...entries.entry import Entry
from ...entries.key_numbers import base, number
from ...stores import Store, StoreError
from ..exchange import Exchange
from ..reasons import Reason
from ..storing import Storing, is_refusal
from .found import Found, Missed

logger = logging.getLogger("ai-cache")


class Exact:
    def __init__(self, settings: Settings, store: Store, storing: Storing) -> None:
        self._settings = settings
        self._store = store
        self._storing = storing
        self._store_works = True

    async def find(self, exchange: Exchange) -> Found | Missed:
        settings = self._settings
        entry, reason = await self._stored(exchange)
        if entry is None and settings.mode == "replay":
            entry, reason = await self._repeated(exchange, reason)
        if entry is None or not (entry.cacheable or settings.everything):
            return Missed(reason)
        if settings.mode == "record" and is_refusal(entry.status) and not settings.keep_retries:
            return Missed(Reason.RECORDED_ANEW)
        if settings.sequences:
            self._storing.sequences_of(exchange).found(base(exchange.key), number(exchange.key))
        too_old = self.too_old(exchange, entry)
        if not too_old:
            return Found.stored(entry)
        if too_old != Reason.EXPIRED or time.time() > entry.answers_until(settings.stale_if_error):
            return Missed(too_old)
        self._store.keep_stale(entry, settings.stale_if_error)
        return Missed(too_old, stale=entry)

    def too_old(self, exchange: Exchange, entry: Entry) -> str:
        """Why `entry` is not fresh enough for this request, or nothing."""
        max_age = exchange.decided.control.max_age
        if max_age is not None and time.time() - entry.created > max_age and self._settings.mode != "replay":
            return Reason.OLDER_THAN_MAX_AGE
        return "" if entry.is_fresh(time.time()) else Reason.EXPIRED

    async def _repeated(self, exchange: Exchange, reason: str) -> tuple[Entry | None, str]:
        """What a replay answers after the last answer of a sequence."""
        last = self._storing.sequences_of(exchange).last(base(exchange.key))
        if not last:
            return None, reason
        if self._settings.repeat == "error":
            return None, Reason.SEQUENCE_EXHAUSTED
        exchange.take_number(last if self._settings.repeat == "last" else 1)
        return await self._stored(exchange)

    async def _stored(self, exchange: Exchange) -> tuple[Entry | None, str]:
        """The entry of the exchange's key, within the time budget, or why there is none."""
        began = time.monotonic()
        unfinished = self._storing.unfinished(exchange.key)
        waits = self._store.waits or unfinished is not None
        try:
            async with asyncio.timeout(self._settings.lookup_timeout if waits else None):
                if unfinished is not None:
                    await asyncio.wait([unfinished])
                entry = await self._store.get(exchange.key, exchange.namespace)
            self._store_state(True)
            return entry, Reason.NO_ENTRY
        except TimeoutError:
            self._store.failures["timeout"] += 1
            return None, Reason.STORE_TIMEOUT
        except StoreError as error:
            if not error.said:
                self._store_state(False, str(error))
            return None, Reason.STORE_ERROR
        finally:
            exchange.store_seconds += time.monotonic() - began

    def _store_state(self, works: bool, why: str = "") -> None:
        """One log line per change of state, not per request."""
        if works != self._store_works:
            self._store_works = works
            if works:
                logger.info("ai-cache: the store answers again")
            else:
                logger.warning("ai-cache: the store fails (%s); calls go on as misses", why)
