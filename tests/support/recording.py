"""A call through the cache as the proxy makes it, recorded or replayed, without a proxy."""

from __future__ import annotations

import json
from pathlib import Path

from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.configuration.store_of import store_of
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.wire.messages import Headers, Request

JSON, SSE = Headers([("content-type", "application/json")]), Headers([("content-type", "text/event-stream")])


def settings_for(store: Path | str, mode: str, **more: object) -> Settings:
    """`store`: a directory of cassettes, or the URL of another store."""
    url = store if isinstance(store, str) else f"cassettes:{store}"
    return Settings.parse({"ai_cache_store": url, "ai_cache_mode": mode, **more})


def chat(content: str, system: str = "", query: str = "", **more: object) -> Request:
    messages = [{"role": "system", "content": system}] if system else []
    body = {"model": "gpt-4o", "messages": [*messages, {"role": "user", "content": content}], **more}
    return chat_of(json.dumps(body).encode(), query)


def chat_of(body: bytes, query: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Request:
    fields = Headers([("host", "api.openai.com"), ("content-type", "application/json"), *headers])
    return Request("POST", "https", "api.openai.com", 443, "/v1/chat/completions", query, fields, body)


def answer_of(content: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode()


async def call(cache: CountedCache, request: Request, answer: bytes = b"", headers: Headers = JSON) -> Exchange:
    """The call as it ended. `answer` is what the provider says where it is asked."""
    exchange = await cache.begin(Exchange(request))
    if exchange.response is None:
        cache.storing.watch(exchange, 200, headers)
        cache.storing.finish(exchange, headers, answer, Ending.CLEAN)
        await cache.storing.finished()
    return exchange


async def opened(settings: Settings) -> CountedCache:
    """Close it."""
    cache = CountedCache(settings, store_of(settings), Isolation("none"))
    await cache.store.open()
    return cache
