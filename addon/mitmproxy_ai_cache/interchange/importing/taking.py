"""A recorded exchange into entries, by the very steps of a proxy in record mode: recognise, key, judge, keep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...calls.cache import Cache
from ...calls.exchange import Exchange
from ...calls.outcomes import Outcomes
from ...calls.reasons import Reason, Status
from ...configuration.settings import Settings
from ...entries.entry import Entry
from ...identity.isolation import Isolation
from ...stores import Store
from ...stores.filtering import Packed
from .exchanges import Recorded

_JUDGED_IN = 60.0
"""Seconds. Judging takes milliseconds; whatever fails there must not hang an import."""


def settings_for(values: Mapping[str, Any]) -> Settings:
    """The user's settings as an import needs them. Raises `SettingsError`."""
    return Settings.parse({**values, "ai_cache_mode": "record", "ai_cache_fail_mode": "skip", "ai_cache_samples": 1})


@dataclass(frozen=True, slots=True)
class Taken:
    """`entry`, or the reason why there is none."""

    entry: Entry | None = None
    reason: str = ""
    replaces: bool = False
    """An earlier answer of this import, one that its client asked again after."""


class Taker:
    """Takes one import's exchanges in, in their order.

    Identical requests become a sequence. As in record mode a later answer replaces one that a client asks again after
    (429, 5xx).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = _ImportStore()
        self._outcome = _Outcome()
        self._cache = Cache(settings, self._store, settings.isolate or Isolation("none"), self._outcome)

    async def take(self, recorded: Recorded) -> Taken:
        exchange = await self._cache.begin(Exchange(recorded.request))
        if not exchange.status:
            return Taken(reason=f"not an AI call: {recorded.request.host}")
        if exchange.status is Status.BYPASS:
            return Taken(reason=f"cannot be cached: {exchange.reason}")
        entry, reason = await self._judged(exchange, recorded)
        if entry is None:
            return Taken(reason=f"not complete: {reason}")
        when = recorded.when if recorded.when is not None and recorded.when > 0 else time.time()
        replaces = exchange.reason == Reason.RECORDED_ANEW
        self._store.last[entry.key] = replace(entry, body=b"", request=b"")
        return Taken(replace(entry, created=when, first_byte=0.0, total=recorded.seconds), replaces=replaces)

    async def _judged(self, exchange: Exchange, recorded: Recorded) -> tuple[Entry | None, str]:
        self._store.kept = None
        judged = self._outcome.expected()
        watched = self._cache.storing.watch(exchange, recorded.status, recorded.headers) is not None
        large = len(recorded.body) > self._settings.max_body
        body = recorded.body if watched and not large else None
        self._cache.storing.finish(exchange, recorded.headers, body, recorded.ending, Reason.TOO_LARGE if large else "")
        try:
            reason = await asyncio.wait_for(judged, _JUDGED_IN)
        except TimeoutError:
            reason = Reason.UNJUDGEABLE
        return self._store.kept, reason


class _Outcome(Outcomes):
    """Tells when an exchange was judged, and what of it was kept."""

    _judged: asyncio.Future[str]

    def expected(self) -> asyncio.Future[str]:
        self._judged = asyncio.get_running_loop().create_future()
        return self._judged

    def forwarded(self, exchange: Exchange, kept: str, entry: Entry | None = None) -> None:
        if not self._judged.done():
            self._judged.set_result(kept)


class _ImportStore(Store):
    """Holds the entry that was just made, and of every key the last one without its bodies."""

    url = "import:"
    packs = False

    def __init__(self) -> None:
        self.kept: Entry | None = None
        self.last: dict[str, Entry] = {}

    async def open(self) -> None:
        pass

    async def get(self, key: str, namespace: str = "") -> Entry | None:
        return self.last.get(key)

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        return None

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        self.kept = entry
        return True

    def remove(self, key: str, namespace: str = "") -> None:
        pass

    def remove_issuer(self, issued: str) -> None:
        """A recording is what it is: what its provider forgot since does not matter."""

    async def count(self) -> int:
        return len(self.last)

    async def close(self, deadline: float = 5.0) -> None:
        pass
