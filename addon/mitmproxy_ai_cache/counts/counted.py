"""The cache with counts of what became of its calls."""

from __future__ import annotations

from ..calls.cache import Cache
from ..calls.workers import Pool
from ..configuration.settings import Settings
from ..identity.isolation import Isolation
from ..stores import Store
from .recent_calls import missed_request_of
from .stats import Stats


class CountedCache(Cache):
    """What a proxy runs. `stats` go on counting where settings change."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        isolation: Isolation,
        stats: Stats | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.stats = stats or Stats(store.failures, lambda: store.dropped)
        self.stats.json_lines = settings.log_format == "json"
        self.stats.recent.keep = lambda exchange: missed_request_of(exchange, settings, self.isolation)
        super().__init__(settings, store, isolation, self.stats, pool)
