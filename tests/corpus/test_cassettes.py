"""Every recorded exchange becomes a cassette and comes back byte for byte."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache import framing, gate
from mitmproxy_ai_cache.cassette import file
from mitmproxy_ai_cache.entry import Entry

pytestmark = needs_corpus

READABLE = 0.98
"""Share of the bodies that are no plain text or base64 in their file."""


def entry_of(exchange: Recorded, key: str = "ab" * 32, namespace: str = "") -> Entry:
    call = exchange.call
    verdict = gate.verdict(call, exchange.answer) if call else None
    return Entry(
        key=key,
        created=1_790_000_000.0,
        ttl=0.0,
        status=exchange.status,
        headers=exchange.response_headers,
        format=verdict.format if verdict else framing.tag_of(exchange.content_type, exchange.response_body),
        body=exchange.response_body,
        request=exchange.request_body,
        request_headers=exchange.request_headers,
        cacheable=bool(verdict and verdict.cacheable),
        protocol=call.protocol.name if call else "exchange",
        model=call.model if call else "",
        method=exchange.method,
        url=exchange.url,
        stream=bool(call and call.stream),
        live=bool(call and call.live),
        namespace=namespace,
        run="0123456789ab",
        input_tokens=verdict.usage.input if verdict else 0,
        output_tokens=verdict.usage.output if verdict else 0,
        first_byte=0.25,
        total=1.125,
    )


def test_every_exchange_comes_back_byte_for_byte(capsys: pytest.CaptureFixture[str]) -> None:
    encodings: dict[str, Counter[str]] = {"request": Counter(), "response": Counter()}
    for exchange in exchanges():
        entry = entry_of(exchange)
        text, contents = file.encode(entry)
        found = file.decode(text, contents.__getitem__).entry
        assert (found.body, found.request) == (entry.body, entry.request), exchange.id
        assert (found.headers, found.request_headers) == (entry.headers, entry.request_headers), exchange.id
        assert (found.status, found.url, found.model) == (entry.status, entry.url, entry.model), exchange.id
        document = json.loads(text)
        for side, counter in encodings.items():
            counter[document[side].get("encoding", "no body")] += 1
    with capsys.disabled():
        for side, counter in encodings.items():
            total = sum(counter.values()) - counter["no body"]
            shares = ", ".join(f"{name} {count / total:.1%}" for name, count in counter.most_common())
            print(f"\n{side}: {shares}")
    for counter in encodings.values():
        total = sum(counter.values()) - counter["no body"]
        assert counter["text"] + counter["base64"] < (1 - READABLE) * total


def test_answers_of_the_chat_protocols_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for exchange in exchanges():
        if exchange.call is None or exchange.status != 200:
            continue
        entry = entry_of(exchange)
        if not entry.cacheable:
            continue
        answer = json.loads(file.encode(entry)[0]).get("answer")
        kind = "nothing" if answer is None else "choices" if "choices" in answer else next(iter(answer), "empty")
        said[entry.protocol][kind] += 1
    with capsys.disabled():
        for protocol, kinds in sorted(said.items()):
            print(f"\n{protocol}: {dict(kinds)}", end="")
    for protocol in ("openai-chat", "openai-responses", "anthropic-messages", "gemini-generate", "bedrock-converse"):
        assert said[protocol]["nothing"] == 0, protocol
        assert said[protocol]["error"] == 0, protocol
