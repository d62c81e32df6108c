"""What is kept is packed where nobody waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mitmproxy_ai_cache.calls.sequences import Sequences
from mitmproxy_ai_cache.calls.storing import Storing
from mitmproxy_ai_cache.calls.workers import OffLoop, Pool
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.counts.stats import Stats
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import Identifier
from mitmproxy_ai_cache.stores import MemoryStore
from mitmproxy_ai_cache.stores.filtering import Packed


class Watched(MemoryStore):
    """Writes down whether it packed on the event loop."""

    on_the_loop: bool | None = None

    def pack(self, entry: Entry) -> Packed:
        assert self.on_the_loop is None  # once
        self.on_the_loop = threading.current_thread() is threading.main_thread()
        return super().pack(entry)


@pytest.mark.parametrize(("body", "request_body", "on_the_loop"), [
    (b"{}", b"{}", True), (b"x" * 300_000, b"", False), (b"", b"x" * 300_000, False),
])  # fmt: skip
def test_what_is_large_is_packed_away_from_the_event_loop(body: bytes, request_body: bytes, on_the_loop: bool) -> None:
    async def main() -> None:
        store, settings = Watched("memory:", 1 << 30), Settings()
        work = OffLoop(settings, Identifier(settings.identity), Pool())
        storing = Storing(settings, store, Stats(), Sequences(), "run", work)
        entry = Entry("a" * 64, 1.0, 0, 200, (), "json", body, request=request_body)
        assert await storing._put(entry)
        assert store.on_the_loop is on_the_loop
        found = await store.get("a" * 64)
        assert found is not None
        assert found.body == body

    asyncio.run(main())
