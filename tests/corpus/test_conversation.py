"""Every recorded call reads as a conversation; streams say what an independent look at their bytes finds."""

from __future__ import annotations

import base64
import functools
import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

import orjson
import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.calls import gate, replay
from mitmproxy_ai_cache.conversation import Audio, Conversation, File, Image, Other, Text, Thinking, ToolCall, Vectors
from mitmproxy_ai_cache.entries import usage
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.protocols.base import Call
from mitmproxy_ai_cache.wire.framing import eventstream, sse
from mitmproxy_ai_cache.wire.messages import Headers

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


CUT_SHORT = {"length", "max_output_tokens", "content_filter", "2"}
"""Why an answer may have nothing in it; Google's 2 is MAX_TOKENS."""


@pytest.mark.thorough
def test_every_kept_call_has_a_question_and_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    empty: list[tuple[str, str]] = []
    for exchange, entry, told in read():
        row = table[entry.protocol, entry.format]
        parts = [part for message in told.answer for part in message.parts]
        counted = {
            "calls": True,
            "question": bool(told.question),
            "text": any(isinstance(part, Text) and part.text for part in parts),
            "tools": any(isinstance(part, ToolCall) for part in parts),
            "vectors": any(isinstance(part, Vectors) and part.count and part.size for part in parts),
            "media": any(isinstance(part, Image | Audio | File) for part in parts),
        }
        if not any(list(counted.values())[2:]):
            counted["empty"] = True
            empty.append((exchange.id, told.finish))
        row.update(name for name, is_there in counted.items() if is_there)
        assert parts, exchange.id
        assert told.question, exchange.id
        assert told.finish or entry.protocol not in ("openai-chat", "anthropic-messages", "bedrock-converse")
        unread = [part for message in (*told.messages, *told.answer) for part in message.parts if _is_unread(part)]
        assert not unread or exchange.request_body.startswith(b"[multipart"), (exchange.id, unread)
    with capsys.disabled():
        _print(table)
    assert all(finish in CUT_SHORT or finish == "completed" for _, finish in empty), empty
    assert len(empty) <= 20
    assert sum(row["calls"] for row in table.values()) > 2300


def _is_unread(part: object) -> bool:
    return isinstance(part, Other) and part.kind in ("unread", "left-out", "answer", "body", "value")


def _print(table: dict[tuple[str, str], Counter[str]]) -> None:
    columns = ("calls", "question", "text", "tools", "vectors", "media", "empty")
    print("\n" + " ".join(f"{name:>8}" for name in columns))
    for (protocol, form), row in sorted(table.items()):
        print(" ".join(f"{row[name] or '-':>8}" for name in columns) + f"  {protocol} {form}")
    total = sum(table.values(), Counter())
    print(" ".join(f"{total[name] or '-':>8}" for name in columns) + "  all")


STRING = r'("(?:[^"\\]|\\.)*")'
GROWN = {
    "openai-chat": (rf'"(?:content|refusal)": ?{STRING}', r'"arguments": ?' + STRING),
    "openai-completions": (rf'"text": ?{STRING}', None),
    "anthropic-messages": (rf'"text_delta", ?"text": ?{STRING}', r'"partial_json": ?' + STRING),
    "anthropic-complete": (rf'"completion": ?{STRING}', None),
    "bedrock-converse": (rf'"text": ?{STRING}', r'"input": ?' + STRING),
    "bedrock-invoke": (rf'(?:"generation"|"outputText"|"text"): ?{STRING}', r'"partial_json": ?' + STRING),
    "gemini-generate": (rf'"text": ?{STRING}', None),
    "gemini-interactions": (rf'"text": ?{STRING}', None),
    "ollama-chat": (rf'"(?:content|response)": ?{STRING}', None),
    "watsonx-generation": (rf'"generated_text": ?{STRING}', None),
}
"""By protocol: the strings that are pieces of text, and of arguments, wherever in the raw bytes."""


REPEATED = {
    # Perplexity has all so far beside each delta, Writer the same again.
    "openai-chat": re.compile(
        rf'"message": ?\{{.*?\}},(?="delta")|"message": ?\{{"role": ?"assistant", ?"content": ?{STRING}'
    ),
    "bedrock-converse": re.compile(r'"sourceContent": ?\[[^\[\]]*\]'),
    # What of the answer a source stands for.
    "gemini-generate": re.compile(r'"segment": ?\{[^{}]*\}'),
}
"""What a stream says twice."""


@pytest.mark.thorough
def test_streams_say_what_the_strings_in_their_bytes_say(capsys: pytest.CaptureFixture[str]) -> None:
    compared: Counter[str] = Counter()
    for exchange, entry, told in read():
        if entry.format == "json" or entry.protocol == "openai-responses":
            continue
        text, arguments = GROWN[entry.protocol]
        raw = _payloads(entry) if entry.format == "eventstream" else entry.body.decode()
        if repeated := REPEATED.get(entry.protocol):
            raw = repeated.sub("", raw)
        for pattern, kinds in ((text, (Text, Thinking)), (arguments, (ToolCall,))):
            if pattern is not None:
                said, written = _said(told, kinds, entry.protocol), _pieces(raw, pattern)
                if len(told.answer) > 1:  # several choices come interleaved
                    said, written = "".join(sorted(said)), "".join(sorted(written))
                assert said == written, exchange.id
        compared[f"{entry.protocol} {entry.format}"] += 1
    with capsys.disabled():
        print(f"\nstreams that agree: {dict(compared)}")
    assert sum(compared.values()) > 700


def _said(told: Conversation, kinds: tuple[type, ...], protocol: str) -> str:
    """All text, or all arguments. Thoughts have a name of their own but where a stream has them as text."""
    thoughts = protocol in ("gemini-generate", "bedrock-converse")
    said = [part for message in told.answer for part in message.parts if isinstance(part, kinds)]
    return "".join(
        part.arguments if isinstance(part, ToolCall) and part.arguments != "{}" else getattr(part, "text", "")
        for part in said
        if thoughts or not isinstance(part, Thinking)
    )


def _pieces(raw: str, pattern: str) -> str:
    found = "".join(json.loads(piece, strict=False) for piece in re.findall(pattern, raw))
    return "" if found == "{}" else found


def _payloads(entry: Entry) -> str:
    """What the frames carry, one after another."""
    payloads = []
    for event in eventstream.parse(entry.body).events:
        inner = re.fullmatch(rb'\{"bytes":"([^"]*)".*\}', event.data)
        payloads.append(base64.b64decode(inner[1]) if inner else event.data)
    return b"\n".join(payloads).decode()


@pytest.mark.thorough
def test_the_deltas_of_responses_add_up_to_the_response_that_ends_them() -> None:
    compared = 0
    for exchange, entry, told in read():
        if entry.protocol != "openai-responses" or entry.format != "sse":
            continue
        bare = conversation.of(replace(entry, body=_without_totals(entry.body)))
        assert _readable(bare) == _readable(told), exchange.id
        compared += 1
    assert compared > 140


def _readable(told: Conversation) -> list[object]:
    """Without what only totals have: thinking that is not shown, results of the provider's own tools."""
    parts = [part for message in told.answer for part in message.parts]
    return [
        (type(part), getattr(part, "text", ""), getattr(part, "arguments", ""))
        for part in parts
        if not (isinstance(part, Thinking) and not part.text)
    ]


def _without_totals(body: bytes) -> bytes:
    """The stream with its deltas alone: no item or text that is there whole."""
    kept = []
    for event in sse.parse(body).events:
        value = event.object
        if isinstance(value.get("response"), dict):
            value = {**value, "response": {**value["response"], "output": []}}
        if event.name.endswith(".done") and "web_search" not in str(value.get("item")):
            continue
        kept.append(b"event: %s\ndata: %s\n\n" % (event.name.encode(), orjson.dumps(value)))
    return b"".join(kept)


@pytest.mark.thorough
def test_the_counts_of_a_conversation_are_those_of_the_gate() -> None:
    compared: Counter[str] = Counter()
    for exchange, entry, told in read():
        assert exchange.call is not None
        counted = gate.verdict(exchange.call, exchange.answer).usage
        if entry.protocol.startswith(("cohere", "rerank")) or "count" in entry.protocol or not counted.total:
            continue  # `billed_units.input_tokens`; an answer that is a count itself
        again = {name: count for name, count in told.usage if name.endswith("TokenCount")}  # Bedrock counts twice
        read_again = usage.read([_nested(told.usage), again])
        assert (read_again.input, read_again.output) == (counted.input, counted.output), exchange.id
        compared[entry.protocol] += 1
    assert sum(compared.values()) > 2000, compared


def _nested(counts: tuple[tuple[str, int], ...]) -> dict[str, object]:
    """`("a.b", 1)` -> `{"a": {"b": 1}}`."""
    whole: dict[str, dict[str, int] | int] = {}
    for path, count in counts:
        outer, _, inner = path.partition(".")
        if inner:
            held = whole.setdefault(outer, {})
            assert isinstance(held, dict)
            held[inner] = count
        else:
            whole[path] = count
    return dict(whole)


@pytest.mark.thorough
def test_recorded_calls_that_were_mangled_are_understood_or_shown_as_they_are() -> None:
    chance = random.Random(7)
    for _, entry, _ in read():
        if len(entry.body) + len(entry.request) > 100_000 or not entry.body:
            continue
        body, request = bytearray(entry.body), bytearray(entry.request or b"{}")
        for data in (body, request):
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.choice(b'{}[]",:0n\\x')
        cut = chance.randint(1, len(body))
        told = conversation.of(replace(entry, body=bytes(body[:cut]), request=bytes(request)))
        parts = [part for message in (*told.messages, *told.answer) for part in message.parts]
        assert not [part for part in parts if isinstance(part, Other) and part.json.startswith("not understood")]
