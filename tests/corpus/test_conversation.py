"""Every recorded call reads as a conversation; streams say what an independent look at their bytes finds."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import orjson
import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache import conversation, gate, replay
from mitmproxy_ai_cache.conversation import Audio, Conversation, File, Image, Other, Text, ToolCall, Vectors
from mitmproxy_ai_cache.entry import Entry
from mitmproxy_ai_cache.framing import eventstream, sse
from mitmproxy_ai_cache.messages import Headers
from mitmproxy_ai_cache.protocols.base import Call

pytestmark = needs_corpus


def entry_of(exchange: Recorded, call: Call, form: str) -> Entry:
    request = exchange.request
    return Entry(
        key=exchange.id * 4,
        created=0.0,
        ttl=0.0,
        status=exchange.status,
        headers=replay.kept_headers(Headers(exchange.response_headers)),
        format=form,
        body=exchange.response_body,
        request=call.body.raw,
        request_headers=(("content-type", request.headers.get("content-type")),),
        protocol=call.protocol.name,
        model=call.model,
        url=request.url,
        stream=call.stream,
    )


@functools.cache
def read() -> tuple[tuple[Recorded, Entry, Conversation], ...]:
    """All answers that the cache would keep."""
    found = []
    for exchange in exchanges():
        call = exchange.call
        if call is None or exchange.status != 200:
            continue
        verdict = gate.verdict(call, exchange.answer)
        if verdict.whole and verdict.cacheable:
            entry = entry_of(exchange, call, verdict.format)
            found.append((exchange, entry, conversation.of(entry)))
    return tuple(found)


def kinds(told: Conversation) -> set[str]:
    return {type(part).__name__ for message in told.answer for part in message.parts}


def test_every_kept_call_has_a_question_and_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    unanswered, unasked = [], []
    for exchange, entry, told in read():
        row = table[entry.protocol, entry.format]
        row["calls"] += 1
        parts = [part for message in told.answer for part in message.parts]
        counted = {
            "text": any(isinstance(part, Text) and part.text for part in parts),
            "tools": any(isinstance(part, ToolCall) for part in parts),
            "vectors": any(isinstance(part, Vectors) and part.count and part.size for part in parts),
            "media": any(isinstance(part, Image | Audio | File) for part in parts),
        }
        row.update(name for name, is_there in counted.items() if is_there)
        if not any(counted.values()):
            row["empty"] += 1
            unanswered.append((exchange.id, entry.protocol, parts))
        row["question"] += any(message.role == "user" and message.parts for message in told.messages)
        if not told.question:
            unasked.append((exchange.id, entry.protocol))
    columns = ("calls", "question", "text", "tools", "vectors", "media", "empty")
    with capsys.disabled():
        print("\n" + " | ".join(f"{name:>8}" for name in columns))
        for (protocol, form), row in sorted(table.items()):
            print(" | ".join(f"{row[name] or '':>8}" for name in columns) + f" | {protocol} {form}")
        for each in unanswered: print(each)
        print(unasked)
