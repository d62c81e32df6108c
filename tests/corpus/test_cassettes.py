"""Every recorded exchange becomes a cassette and comes back byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.cassettes import file
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores.cassettes.store import CassetteStore
from mitmproxy_ai_cache.wire import framing

pytestmark = pytest.mark.slow

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


@needs_corpus
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


@needs_corpus
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


SESSIONS, TURNS = 250, 20


def agent_turn(session: int, turn: int) -> Entry:
    """As a coding agent sends it: 12 kB of instructions, 20 kB of tools, and all that was said and done before."""
    chance = random.Random(session)
    tools = [
        {"name": f"tool_{n}", "description": f"Does thing {n}. " * 30, "input_schema": {"type": "object"}}
        for n in range(40)
    ]
    messages: list[dict[str, object]] = [{"role": "user", "content": f"Mend issue {session} of the repository."}]
    for n in range(turn):
        text = " ".join(chance.choices(WORDS, k=200))
        used = {"type": "tool_use", "name": f"tool_{n}", "input": {"n": n}}
        messages.append({"role": "assistant", "content": [used]})
        messages.append({"role": "user", "content": [{"type": "tool_result", "content": text}]})
    request = {"model": "claude-sonnet-5", "system": RULES, "tools": tools, "messages": messages, "stream": True}
    deltas = [{"type": "text_delta", "text": f"{n} "} for n in range(40)]
    events = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n" for event in events)
    data = json.dumps(request, separators=(",", ":")).encode()
    return Entry(
        key=hashlib.sha256(data).hexdigest(),
        created=1_790_000_000.0,
        ttl=0.0,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        format="sse",
        body=body.encode(),
        request=data,
        protocol="anthropic-messages",
        model="claude-sonnet-5",
        url="https://api.anthropic.com/v1/messages",
        stream=True,
        namespace=f"tests/test_agent.py::test_issue[{session}]",
    )


WORDS = [f"word{n}" for n in range(3000)]
RULES = "\n".join(f"Rule {n}: be careful with the thing that is called {n}." for n in range(240))


@pytest.mark.slow
def test_5000_exchanges_of_agents_load_fast_from_few_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = 0
    numbers: dict[str, float] = {}

    def key_of(entry: Entry) -> str:
        return hashlib.sha256(entry.request).hexdigest()

    async def timed(what: str, index: bool = True) -> None:
        if not index:
            (tmp_path / ".index").unlink()
        begun = time.perf_counter()
        store = CassetteStore(f"cassettes:{tmp_path}", tmp_path, key_of, "1")
        await store.open()
        numbers[f"{what}, s"] = time.perf_counter() - begun
        wanted = agent_turn(SESSIONS // 2, TURNS - 1)
        asked = time.perf_counter()
        found = await store.get(wanted.key)
        numbers[f"first hit ({what}), ms"] = 1000 * (time.perf_counter() - asked)
        assert found is not None
        assert found.body == wanted.body
        assert await store.count() == SESSIONS * TURNS
        await store.close()

    async def record() -> None:
        nonlocal sent
        store = CassetteStore(f"cassettes:{tmp_path}", tmp_path, key_of, "1")
        await store.open()
        for session in range(SESSIONS):
            for turn in range(TURNS):
                entry = agent_turn(session, turn)
                sent += len(entry.request) + len(entry.body)
                assert store.put(entry)
            await store.flushed(60)
        await store.close()

    begun = time.perf_counter()
    asyncio.run(record())
    numbers["recorded, s"] = time.perf_counter() - begun
    asyncio.run(timed("cold", index=False))
    asyncio.run(timed("with index"))
    numbers["sent and received, MB"] = sent / 1e6
    numbers["on disk, MB"] = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) / 1e6
    with capsys.disabled():
        print("\n" + "\n".join(f"{name}: {value:.3f}" for name, value in numbers.items()))
    assert numbers["on disk, MB"] < numbers["sent and received, MB"] * 0.6
    assert numbers["with index, s"] < 5
