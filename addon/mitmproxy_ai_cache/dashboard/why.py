"""Why a call missed: what was stored then that is nearest to it, and where it differs."""

from __future__ import annotations

import asyncio
import glob
from dataclasses import replace

from ..counts.counted import CountedCache
from ..counts.recent_calls import MissedRequest
from ..entries.entry import Entry
from ..entries.selection import Selection
from ..explain import Explanation, Miss
from ..redact import redact
from .shown import Raw, raw

_ENTRIES, _BYTES = 1000, 64 << 20
"""The newest entries that a request is compared with, and what they may take together."""
_AT_ONCE = 50
_TIME = 2.0
"""Seconds that reading them may take."""


async def explanation(
    cache: CountedCache, asked: MissedRequest, key: str, reason: str, at: float
) -> tuple[Explanation, int]:
    """Of the call that asked for `key` at `at` (Unix time), and with how many entries it was compared.

    Shows parts of what others asked: not where entries are kept apart. Raises `StoreError`.
    """
    entries = await _entries(cache, key, Selection(host=glob.escape(asked.request.host), before=at))
    if not entries:
        entries = await _entries(cache, key, Selection(before=at))
    miss = Miss(asked.request, None, asked.namespace, key, reason)
    recordings = cache.off_loop.recordings(entries)
    try:
        return await recordings.explain(miss), len(entries)
    finally:
        await recordings.close()


def shown_request(cache: CountedCache, asked: MissedRequest) -> Raw:
    """The body of a request as a page shows it."""
    return raw("request", redact(asked.request.body or b"", cache.settings.redact).data)


async def _entries(cache: CountedCache, key: str, selection: Selection) -> list[Entry]:
    """Without their answers, which are not compared. What has the key of a call that found none came later."""
    found: list[Entry] = []
    size, after = 0, ""
    ends = asyncio.get_running_loop().time() + _TIME
    while len(found) < _ENTRIES and size < _BYTES and (left := ends - asyncio.get_running_loop().time()) > 0:
        page = await cache.store.browse(selection, after, _AT_ONCE, left)
        found += [replace(entry, body=b"") for entry in page.entries if entry.key != key]
        size += sum(len(entry.request) for entry in page.entries)
        after = page.next
        if not after:
            break
    return found
