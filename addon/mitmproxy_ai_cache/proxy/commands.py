"""What mitmproxy's own interfaces show of the cache: marks and comments on flows, streamed bodies, commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from mitmproxy import addonmanager, ctx, exceptions, flow, http
from mitmproxy.log import ALERT

from ..calls.exchange import Exchange
from ..calls.reasons import Status
from ..counts import log_line
from ..counts.counted import CountedCache
from ..explain import lines
from ..stores import StoreError
from ..wire.safe_text import one_line
from . import bridge

logger = logging.getLogger("ai-cache")

METADATA = "ai_cache"
"""Of a flow: its status, reason, key and namespace, for other scripts too. It is written to files with the flow."""

_MARKS = {
    Status.HIT: ":green_circle:",
    Status.STALE: ":orange_circle:",
    Status.MISS: ":large_blue_circle:",
    Status.REFRESH: ":large_blue_circle:",
    Status.BYPASS: ":white_circle:",
}


class Commands:
    """`ai_cache.*` for the command prompt, key bindings and other scripts. `cache` is None where none runs."""

    def __init__(self, cache: Callable[[], CountedCache | None]) -> None:
        self._cache_now = cache
        self._tasks: set[asyncio.Task[None]] = set()
        self._somebody_looks = False

    def configure(self) -> None:
        """See whether flows are kept after they are over: in mitmproxy, in mitmweb, in a file."""
        written = "save_stream_file" in ctx.options and ctx.options.save_stream_file
        self._somebody_looks = bool(written or ctx.master.addons.get("view"))

    def note(self, flow: http.HTTPFlow, exchange: Exchange, cache: CountedCache) -> None:
        """Tell other scripts, and those who look at `flow`, what became of it."""
        flow.metadata[METADATA] = {
            "status": exchange.status.value,
            "reason": str(exchange.reason),
            "key": exchange.key,
            "namespace": exchange.namespace,
        }
        if self._somebody_looks:
            flow.marked = flow.marked or _MARKS.get(exchange.status, "")
            flow.comment = flow.comment or log_line.text(exchange, "")

    def show_body(self, flow: http.HTTPFlow, body: bytes | None) -> None:
        """The body of an answer that was streamed. It was sent: nobody gets it twice."""
        if (
            self._somebody_looks
            and body is not None
            and flow.response is not None
            and flow.response.raw_content is None
        ):
            flow.response.data.content = body

    def add_to(self, loader: addonmanager.Loader) -> None:
        loader.add_command("ai_cache.stats", self.stats)
        loader.add_command("ai_cache.purge", self.purge)
        loader.add_command("ai_cache.why", self.why)

    def stats(self) -> Sequence[str]:
        """What the cache did since the proxy started: calls, hits, savings."""
        return self._cache.stats.summary()

    def purge(self, flows: Sequence[flow.Flow]) -> None:
        """Forget the answers of these flows: the next calls like them go to the provider."""
        found = [each.metadata[METADATA] for each in flows if each.metadata.get(METADATA, {}).get("key")]
        for seen in found:
            self._cache.store.remove(seen["key"], seen["namespace"])
        logger.log(ALERT, "ai-cache: %d of %d flows forgotten", len(found), len(flows))

    def why(self, flow: flow.Flow) -> None:
        """Say why this flow was a hit, a miss or passed by; of a miss, what differs from the nearest stored request."""
        if not isinstance(flow, http.HTTPFlow) or METADATA not in flow.metadata:
            raise exceptions.CommandError("this flow is no AI call; ai-cache passed it untouched")
        task = asyncio.create_task(_say(_reasons(self._cache, flow)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _cache(self) -> CountedCache:
        cache = self._cache_now()
        if cache is None:
            raise exceptions.CommandError("no cache runs; see the first lines of the log")
        return cache


async def _reasons(cache: CountedCache, flow: http.HTTPFlow) -> list[str]:
    from ..calls import reasons
    from ..counts.recent_calls import MissedRequest
    from ..dashboard import why  # with what the status page is made of: only where somebody asks

    seen = flow.metadata[METADATA]
    found = [f"{seen['status']}: {reasons.sentence(seen['status'], seen['reason'])}"]
    if reasons.is_compared(seen["reason"]) and cache.isolation.kind == "none":
        asked = MissedRequest(bridge.request_from(flow, ""), seen["namespace"])
        at = flow.request.timestamp_start
        try:
            explanation, _ = await why.explanation(cache, asked, seen["key"], seen["reason"], at)
            found += lines(explanation)
        except StoreError as error:
            found.append(str(error))
    return found


async def _say(lines: Awaitable[list[str]]) -> None:
    for line in await lines:
        logger.log(ALERT, "ai-cache: %s", one_line(line, 400))
