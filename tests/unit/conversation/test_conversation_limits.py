"""Entries that are too long, too deep or too many: cut in time, and said to be cut."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from conversing import entry, got, of, said
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.conversation import Other, entries
from mitmproxy_ai_cache.entries.entry import Entry


def _chunks(count: int, chunk: bytes) -> bytes:
    return (b"data: %s\n\n" % chunk) * count


def _numbered(chunk: bytes) -> bytes:
    return b"".join(_chunks(1, chunk % number) for number in range(20_000))


def _said(content: Any) -> Any:
    return {"messages": [{"role": "user", "content": content}]}


_CHOICE = b'{"choices":[{"index":%d,"delta":{"content":"a"}}]}'
_PART = b'{"type":"response.output_text.delta","output_index":0,"content_index":%d,"delta":"a"}'

HOSTILE: dict[str, Callable[[], Entry]] = {
    "nested deep": lambda: entry(b"[" * 400_000 + b"]" * 400_000, b'{"a":' * 90_000 + b"1" + b"}" * 90_000),
    "nested as deep as parsers go": lambda: entry(
        b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}",
        _chunks(50, b'{"choices":[{"delta":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}]}"),
        form="sse",
    ),
    "millions of numbers": lambda: entry(
        b'{"input":[' + b"1," * 1_000_000 + b"1]}", b'{"embedding":[' + b"1," * 3_900_000 + b"1]}"
    ),
    "millions of texts": lambda: entry(b'{"input":[' + b'"a",' * 1_500_000 + b'"b"]}', b"{}"),
    "many messages": lambda: entry(b'{"messages":[' + b'{"role":"user","content":"x"},' * 300_000 + b"{}]}"),
    "many parts": lambda: entry(b"{}", b'{"content":[' + b'{"text":"a"},' * 400_000 + b"{}]}"),
    "results in results": lambda: entry(
        _said([{"type": "tool_result", "content": [{"type": "tool_result", "content": [{}] * 90}] * 30}] * 400)
    ),
    "200,000 events": lambda: entry(b"{}", _chunks(200_000, b"{}"), form="sse"),
    "a choice in each event": lambda: entry(b"{}", _numbered(_CHOICE), form="sse"),
    "a part in each event": lambda: entry(b"{}", _numbered(_PART), form="sse"),
    "white space": lambda: entry(_said(" \n" * 4_000_000), b" " * 8_000_000),
    "base64 that is none": lambda: entry(
        _said([{"type": "image_url", "image_url": "data:image/png;base64," + " " * 8_000_000 + "!"}]),
        {"data": [{"b64_json": "a=" * 500_000}]},
    ),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_too_much_is_cut_in_time(name: str) -> None:
    hostile = HOSTILE[name]()
    begin = time.process_time()
    told = conversation.of(hostile)
    spent = time.process_time() - begin
    assert spent < 3, f"{spent:.1f} s of CPU"
    assert len(told.question) <= 200
    assert len(told.text) <= 200


@pytest.mark.thorough
def test_a_long_stream_of_small_deltas_takes_no_quadratic_time() -> None:
    """50,000 tokens: to add each to the text so far would copy 6 GB."""
    body = _chunks(50_000, b'{"choices":[{"index":0,"delta":{"content":"abcde"}}]}')
    begin = time.process_time()
    (text,) = got(of({}, body, form="sse"))
    assert text.text == "abcde" * 50_000
    assert time.process_time() - begin < 3


def test_messages_that_are_left_out_are_counted() -> None:
    told = of({"messages": [{"role": "user", "content": str(number)} for number in range(3000)]})
    assert [part.json for part in said(told) if isinstance(part, Other)] == ["1,000 more messages"]
    assert told.question == "2999"


def test_a_stream_of_too_many_events_says_where_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_MAX_LINES", 100)
    body = _chunks(60, b'{"choices":[{"index":0,"delta":{"content":"x"}}]}')
    text, note = got(of({}, body, form="sse"))
    assert text.text == "x" * 50
    assert (note.kind, note.json) == ("left-out", "the rest of 3,420 bytes: too many events")
