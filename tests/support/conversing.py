"""Entries to be read as conversations, and what is said in them."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.conversation import Conversation
from mitmproxy_ai_cache.entries.entry import Entry

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 22).decode()
MP3 = base64.b64encode(b"ID3" + b"0" * 27).decode()


def entry(
    request: Any = b"", answer: Any = b"{}", form: str = "json", media: str = "application/json", **more: Any
) -> Entry:
    def data(value: Any) -> bytes:
        return value if isinstance(value, bytes) else orjson.dumps(value)

    fields: dict[str, Any] = {
        "request_headers": (("content-type", "application/json"),),
        "model": "m",
        "url": "https://api.example.com/v1/x",
        "status": 200,
        **more,
    }
    return Entry(
        key="0" * 64,
        created=0.0,
        ttl=0.0,
        headers=(("content-type", media),),
        format=form,
        body=data(answer),
        request=data(request),
        **fields,
    )


def of(*arguments: Any, **more: Any) -> Conversation:
    return conversation.of(entry(*arguments, **more))


def said(told: Conversation) -> tuple[Any, ...]:
    return tuple(part for message in told.messages for part in message.parts)


def got(told: Conversation) -> tuple[Any, ...]:
    return tuple(part for message in told.answer for part in message.parts)
