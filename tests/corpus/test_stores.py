"""Every store gives back what it was given, byte for byte: all recorded exchanges that may be kept."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.calls.storing import entry_of, judge
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import Identified
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.stores import for_url
from mitmproxy_ai_cache.wire.messages import Headers
from valkey import Valkey, started

pytestmark = [needs_corpus, pytest.mark.slow]

PLENTY = 1 << 30
AT_ONCE = 200
"""Entries that are put before they are read: a queue of writes holds 1,000."""


@functools.cache
def kept() -> tuple[Entry, ...]:
    """What a proxy makes of them. The key is the number: identical calls have several answers in the corpus."""
    settings = Settings()
    entries = []
    for number, recorded in enumerate(exchanges()):
        if recorded.call is None:
            continue
        exchange = Exchange(recorded.request)
        exchange.identified = Identified(recorded.request, recorded.call, "", (), f"{number:064x}")
        headers = Headers(recorded.response_headers)
        answer, verdict, issued = judge(
            recorded.call, recorded.status, headers, recorded.response_body, Ending.CLEAN, settings.max_body
        )
        if verdict.cacheable:
            entries.append(
                entry_of(exchange, recorded.call, headers, answer, verdict, settings, "0123456789ab", issued)
            )
    return tuple(entries)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty store."""
    if request.param == "redis":
        with started(Valkey(tmp_path / "valkey")) as server:
            yield server.url
    else:
        yield "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'cache.sqlite3'}"


def test_every_exchange_comes_back_byte_for_byte(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = kept()

    async def run() -> None:
        store = for_url(url, PLENTY)
        await store.open()
        for first in range(0, len(entries), AT_ONCE):
            assert all(store.put(entry) for entry in entries[first : first + AT_ONCE])
            await store.flushed()
        if url != "memory:":
            await store.close()
            store = for_url(url, PLENTY)  # nothing is left in this process
            await store.open()
        assert await store.count() == len(entries)
        for entry in entries:
            found = await store.get(entry.key)
            assert found is not None, entry.url
            assert (found.body, found.headers, found.status) == (entry.body, entry.headers, entry.status), entry.url
        whole = {entry.key: entry async for entry in store.entries()}
        assert whole == {entry.key: entry for entry in entries}
        assert (store.dropped, dict(store.failures)) == (0, {})
        await store.close()

    asyncio.run(run())
    assert len(entries) > 1500
    with capsys.disabled():
        size = sum(len(entry.body) + len(entry.request) for entry in entries)
        print(f"\n{url.partition(':')[0]}: {len(entries)} answers and their requests, {size / 1e6:.0f} MB")
