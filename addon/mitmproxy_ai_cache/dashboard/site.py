"""The status page: a visit -> a response. One for each proxy, whichever door it is entered by."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from .. import __version__, conversation
from ..calls import reasons
from ..calls.exchange import Exchange
from ..counts import metrics
from ..counts.counted import CountedCache
from ..entries.entry import Entry
from ..entries.selection import host_of
from ..redact.entries import hidden, hidden_url
from ..stores import StoreError
from ..stores.pages import NoSuchPage
from ..wire.messages import Headers, Response
from . import browsing, guard, overview, purging, rendering, shown, why
from .guard import Access
from .visit import Door, NotShown, Visit

logger = logging.getLogger("ai-cache")

_ASSETS = {
    "/style.css": "text/css; charset=utf-8",
    "/live.js": "text/javascript; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}
_KEY = re.compile(r"[0-9a-f]{6,64}(-\d{1,9})?")
_COUNTED_FOR = 2.0
"""Seconds that the number of entries is believed."""


class Site:
    """`cache` gives the cache of the proxy, while there is one; `under_way` the calls that are not over."""

    def __init__(self, cache: Callable[[], CountedCache | None], under_way: Callable[[], list[Exchange]]) -> None:
        self._cache = cache
        self._under_way = under_way
        self._token = secrets.token_urlsafe(32)
        self._counted: tuple[float, int | None] = (float("-inf"), None)
        self._one_explanation = asyncio.Lock()

    async def visit(self, method: str, target: str, headers: Headers, body: bytes, door: Door) -> Response:
        """Never raises."""
        try:
            response = await self._answer(Visit.read(method, target, headers, body, door))
        except NotShown as error:
            response = _problem(error.status, str(error))
        except NoSuchPage as error:
            response = _problem(400, f"{str(error).capitalize()}.")
        except StoreError as error:
            response = _problem(503, f"The store cannot be read: {error}")
        except Exception as error:
            logger.error("ai-cache: the status page stumbled", exc_info=error)
            response = _problem(500, "The page stumbled over this; the log says how.")
        return guard.secured(response)

    async def _answer(self, visit: Visit) -> Response:
        cache = self._cache()
        if cache is None:
            raise NotShown(503, "The proxy is starting or ending.")
        access = guard.access(visit, cache.settings.dashboard_password, cache.isolation.kind != "none")
        if visit.method not in ("GET", "HEAD", "POST"):
            raise NotShown(405, "The page knows GET and POST.")
        if visit.method == "POST":
            guard.check_change(visit, self._token)
            if not cache.settings.stores:
                raise NotShown(403, f"Nothing is removed in mode {cache.settings.mode}; ai-cache rm does it.")
        if visit.path in _ASSETS:
            return Response(200, Headers([("content-type", _ASSETS[visit.path])]), rendering.asset(visit.path[1:]))
        if visit.path in ("/", "/live"):
            return await self._overview(visit, cache, access)
        if visit.path == metrics.PATH:
            kind, text = await metrics.answer(cache, self._under_way(), visit.headers.get("accept"))
            return Response(200, Headers([("content-type", kind)]), text)
        if access is not Access.ALL:
            raise NotShown(403, "Only totals are shown here: entries are kept apart.")
        return await self._whole(visit, cache)

    async def _whole(self, visit: Visit, cache: CountedCache) -> Response:
        """Pages for who may see everything."""
        match visit.method, visit.path.strip("/").split("/"):
            case "POST", ["purge"]:
                return await self._purge(visit, cache)
            case "POST", ["entries", key, "delete"]:
                return await self._delete(cache, await _entry(cache, key))
            case "GET" | "HEAD", ["entries"]:
                return await self._entries(visit, cache)
            case "GET" | "HEAD", ["entries", key]:
                return await self._entry(visit, cache, await _entry(cache, key))
            case "GET" | "HEAD", ["entries", key, ("request" | "answer") as name]:
                kept = await _entry(cache, key)
                return shown.download(await asyncio.to_thread(hidden, kept, cache.settings.redact), name)
            case "GET" | "HEAD", ["calls", number] if number.isascii() and number.isdecimal() and len(number) < 16:
                return await self._call(cache, int(number))
            case "GET" | "HEAD", ["purge"]:
                return await self._purging(visit, cache)
        raise NotShown(404, "There is no such page.")

    async def _overview(self, visit: Visit, cache: CountedCache, access: Access) -> Response:
        now, span = time.time(), visit.query.get("span", "10m")
        if visit.path == "/live" and visit.query.get("have") == overview.version_of(cache, span, now):
            return Response(204, Headers([]), b"")
        totals = await asyncio.to_thread(cache.stats.totals)  # may read the prices first
        values = overview.live_values(cache, totals, access, span, now)
        if visit.path == "/live":
            return rendering.page("live.html", values)
        state = await self._state(cache)
        return self._page("overview.html", cache, {**values, "state": state, "access": access.name})

    async def _state(self, cache: CountedCache) -> list[tuple[str, str]]:
        if time.monotonic() - self._counted[0] > _COUNTED_FOR:
            self._counted = (time.monotonic(), await _count(cache))
        return overview.state(cache, self._counted[1])

    async def _entries(self, visit: Visit, cache: CountedCache) -> Response:
        selection, complaint = browsing.selection_of(visit.query, time.time())
        page = await cache.store.browse(selection, visit.query.get("after", ""), browsing.ON_A_PAGE)
        values = {
            "query": {name: visit.query.get(name, "") for name in browsing.FIELDS},
            "complaint": complaint,
            "rows": await _listed(page.entries),
            "next": browsing.next_link(visit.query, page),
            "complete": page.complete,
            "first": not visit.query.get("after"),
            "removed": visit.query.get("removed", "")[:12],
        }
        return self._page("entries.html", cache, values)

    async def _entry(self, visit: Visit, cache: CountedCache, kept: Entry) -> Response:
        entry = await asyncio.to_thread(hidden, kept, cache.settings.redact)
        view = "raw" if visit.query.get("view") == "raw" else "conversation"
        said = await asyncio.to_thread(conversation.of, entry) if view == "conversation" else None
        calls = [overview.row(seen) for seen in reversed(cache.stats.recent.calls) if seen.key == entry.key]
        values = {
            "entry": entry,
            "host": host_of(entry),
            "facts": shown.facts(entry, time.time()),
            "view": view,
            "said": said,
            "raws": [shown.raw("request", entry.request), shown.raw("answer", entry.body)] if view == "raw" else [],
            "curl": shown.curl(entry),
            "calls": calls[:10],
            "removes": cache.settings.stores,
        }
        return self._page("entry.html", cache, values)

    async def _call(self, cache: CountedCache, number: int) -> Response:
        recent = cache.stats.recent
        seen, asked = recent.call(number), recent.missed_request(number)
        if seen is None:
            raise NotShown(404, "This call is no longer remembered: only the last 200 are.")
        found, compared, trouble = None, 0, ""
        if asked is not None and reasons.is_compared(seen.reason) and cache.isolation.kind == "none":
            try:
                async with self._one_explanation:
                    found, compared = await why.explanation(cache, asked, seen.key, seen.reason, seen.at)
            except StoreError as error:
                trouble = str(error)
        values = {
            "row": overview.row(seen),
            "sentence": reasons.sentence(seen.status, seen.reason),
            "found": found,
            "compared": compared,
            "trouble": trouble,
            "asked": await asyncio.to_thread(why.shown_request, cache, asked) if asked is not None else None,
            "url": hidden_url(asked.request.url) if asked is not None else "",
            "apart": cache.isolation.kind != "none",
        }
        return self._page("call.html", cache, values)

    async def _purging(self, visit: Visit, cache: CountedCache) -> Response:
        wanted = purging.meant(visit.query)
        page = await cache.store.browse(wanted.selection, "", 101) if wanted is not None else None
        values = {
            "wanted": wanted,
            "kinds": purging.KINDS,
            "rows": await _listed(page.entries[:10]) if page else [],
            "count": len(page.entries) if page else 0,
            "more": page is not None and (len(page.entries) > 100 or not page.complete),
            "removes": cache.settings.stores,
            "done": visit.query.get("done", "")[:200],
        }
        return self._page("purge.html", cache, values)

    async def _purge(self, visit: Visit, cache: CountedCache) -> Response:
        wanted = purging.meant(visit.form)
        if wanted is None:
            raise NotShown(400, "Say what to remove.")
        removed, all_of_it = await purging.purge(cache.store, wanted)
        self._counted = (float("-inf"), None)
        what = "All of it was" if removed < 0 else "1 entry was" if removed == 1 else f"{removed:,} entries were"
        done = f"{what} removed." + ("" if all_of_it else " There is more: remove again.")
        logger.warning("ai-cache: removed through the status page: %s", rendering.visible(wanted.words)[:100])
        return _see(f"/purge?{urlencode({'done': done})}")

    async def _delete(self, cache: CountedCache, entry: Entry) -> Response:
        cache.store.remove(entry.key, entry.namespace)
        await cache.store.flushed()
        self._counted = (float("-inf"), None)
        logger.warning("ai-cache: entry %s was removed through the status page", entry.key[:12])
        return _see(f"/entries?removed={quote(entry.key[:12])}")

    def _page(self, template: str, cache: CountedCache, values: dict[str, Any]) -> Response:
        common = {"product": __version__, "token": self._token, "mode": cache.settings.mode, "access": "ALL"}
        return rendering.page(template, common | values)


async def _listed(entries: list[Entry]) -> list[browsing.Listed]:
    return await asyncio.to_thread(lambda: [browsing.listed(entry) for entry in entries])


async def _count(cache: CountedCache) -> int | None:
    """Entries in the store, where it says so at once."""
    try:
        async with asyncio.timeout(1):
            return await cache.store.count()
    except (StoreError, TimeoutError):
        return None


async def _entry(cache: CountedCache, key: str) -> Entry:
    """Raises `NotShown` where there is none."""
    found = await cache.store.find(key, 1) if _KEY.fullmatch(key) else []
    if not found:
        raise NotShown(404, "There is no entry of this key; it may have been removed.")
    return found[0]


def _problem(status: int, line: str) -> Response:
    headers = (("www-authenticate", 'Basic realm="ai-cache", charset="UTF-8"'),) if status == 401 else ()
    values = {"status": status, "line": line, "product": __version__, "mode": "", "access": "COUNTS"}
    return rendering.page("problem.html", values, status, headers)


def _see(path: str) -> Response:
    return Response(303, Headers([("location", path)]), b"")
