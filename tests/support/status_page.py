"""A cache on memory with its status page, for tests of the page as a function."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from typing import Any

import orjson

from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.calls.own_address import MAGIC_HOST
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.dashboard.site import Site
from mitmproxy_ai_cache.dashboard.visit import Door
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.stores import for_url
from mitmproxy_ai_cache.wire.messages import Headers, Request, Response

PORT = Door("127.0.0.1")
MAGIC = Door(MAGIC_HOST, through_proxy=True)
MAGIC_FROM_AFAR = Door(MAGIC_HOST, through_proxy=True, local=False)


class Page:
    """A cache on memory with its page. Calls are answered by nobody in particular."""

    def __init__(self, isolation: str = "none", **options: Any) -> None:
        values = {f"ai_cache_{name}": value for name, value in options.items()}
        self.settings = Settings.parse({"ai_cache_store": "memory:", **values}, {})
        self.store = for_url("memory:", 1 << 30)
        self.cache: CountedCache | None = CountedCache(self.settings, self.store, Isolation(isolation))
        self.site = Site(lambda: self.cache, list)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.store.open())

    def call(self, text: str, answer: str = "an answer", **members: Any) -> Exchange:
        return self.loop.run_until_complete(self._call(text, answer, members))

    async def _call(self, text: str, answer: str, members: dict[str, Any]) -> Exchange:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **members}
        fields = [("host", "api.openai.com"), ("authorization", "Bearer sk-of-somebody"), ("x-stainless-os", "Linux")]
        request = Request(
            "POST",
            "https",
            "api.openai.com",
            443,
            "/v1/chat/completions",
            headers=Headers(fields),
            body=orjson.dumps(body),
        )
        cache = self.cache
        assert cache is not None
        exchange = await cache.begin(Exchange(request))
        if exchange.response is None:
            headers = Headers([("content-type", "application/json")])
            cache.storing.watch(exchange, 200, headers)
            message = {"role": "assistant", "content": answer}
            usage = {"prompt_tokens": 11, "completion_tokens": 4}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            cache.storing.finish(exchange, headers, orjson.dumps({"choices": choices, "usage": usage}), Ending.CLEAN)
            await cache.storing.finished()
        return exchange

    def get(self, path: str, door: Door = PORT, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        host = {"host": MAGIC_HOST if door.host == MAGIC_HOST else "127.0.0.1:8485"}
        fields = {name.replace("_", "-"): value for name, value in (host | headers).items()}
        return self.loop.run_until_complete(self.site.visit(method, path, Headers(fields.items()), body, door))

    def text(self, path: str, door: Door = PORT) -> str:
        response = self.get(path, door)
        assert response.status == 200, response
        return unescape(response.body.decode())

    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.text("/purge?what=all"))
        assert found is not None
        return found[1]

    def post(self, path: str, form: str, **headers: str) -> Response:
        return self.get(path, method="POST", body=form.encode(), **headers)

    def entries(self) -> int:
        return self.loop.run_until_complete(self.store.count())
