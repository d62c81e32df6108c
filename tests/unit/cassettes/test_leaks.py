"""A recording that holds a secret is not written, however the answer spells it; and it is said where."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from mitmproxy_ai_cache.cassettes.leaks import HoldsSecret, compose, in_entry, place_of
from mitmproxy_ai_cache.cli.replaying import unrecorded
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.wire.framing.eventstream import frame
from mitmproxy_ai_cache.wire.messages import Headers
from recording import JSON, SSE, answer_of, call, chat, opened, settings_for
from secret_values import ALNUM, draw
from unit.cassettes.test_cassette_file import PLAIN

KEY = "gs" + "k_" + draw("leaks", ALNUM, 52)
OTHER = "sk-" + "proj-" + draw("leaks too", ALNUM, 60)


def pieces(text: str, size: int = 4) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def stream(chunks: list[dict[str, object]]) -> bytes:
    return b"".join(b"data: " + json.dumps({"id": "c", **chunk}).encode() + b"\n\n" for chunk in chunks) + (
        b"data: [DONE]\n\n"
    )


def choice(index: int, **more: object) -> dict[str, object]:
    return {"index": index, "delta": {}, **more}


def said(text: str, index: int = 0) -> list[dict[str, object]]:
    return [choice(index, delta={"content": piece}) for piece in pieces(text)]


def in_turns(*texts: str) -> bytes:
    """n answers that take turns, an event for each."""
    rows = [said(f"The key is {text}, keep it.", index) for index, text in enumerate(texts)]
    chunks = [{"choices": [row[at]]} for at in range(max(map(len, rows))) for row in rows if at < len(row)]
    ends = [{"choices": [choice(index, finish_reason="stop")]} for index in range(len(texts))]
    return stream([*chunks, *ends])


def side_by_side(*texts: str) -> bytes:
    """n answers in every event."""
    rows = [said(f"The key is {text}, keep it.", index) for index, text in enumerate(texts)]
    chunks = [{"choices": [row[at] for row in rows if at < len(row)]} for at in range(max(map(len, rows)))]
    ends = [choice(index, finish_reason="stop") for index in range(len(texts))]
    return stream([*chunks, {"choices": ends}])


def calls_in_turns(*texts: str) -> bytes:
    """Tool calls whose arguments take turns."""
    rows = [pieces(json.dumps({"key": text})) for text in texts]
    begun = [{"index": at, "id": f"call_{at}", "function": {"name": "set", "arguments": ""}} for at in range(len(rows))]
    chunks = [
        {"choices": [choice(0, delta={"tool_calls": [{"index": number, "function": {"arguments": row[at]}}]})]}
        for at in range(max(map(len, rows)))
        for number, row in enumerate(rows)
        if at < len(row)
    ]
    first = {"choices": [choice(0, delta={"tool_calls": begun})]}
    return stream([first, *chunks, {"choices": [choice(0, finish_reason="tool_calls")]}])


def tokens(text: str) -> list[dict[str, object]]:
    """As log probabilities list them, with what was less likely."""
    found = []
    for piece in pieces(text, 3):
        likely = {"token": piece, "logprob": -0.1, "bytes": list(piece.encode())}
        other = {"token": piece.upper(), "logprob": -4.5, "bytes": list(piece.upper().encode())}
        found.append({**likely, "top_logprobs": [likely, other]})
    return found


def with_logprobs(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    logprobs = {"content": tokens(text), "refusal": None}
    body = {"choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}]}
    return json.dumps({"id": "c", "object": "chat.completion", **body}).encode()


def streamed_logprobs(text: str) -> bytes:
    chunks = [
        {"choices": [choice(0, delta={"content": token["token"]}, logprobs={"content": [token]})]}
        for token in tokens(text)
    ]
    return stream([*chunks, {"choices": [choice(0, finish_reason="stop")]}])


SPELLED = {
    "two choices in turns": (in_turns(KEY, OTHER), SSE),
    "five choices in turns": (in_turns("none", KEY, "none", OTHER, KEY), SSE),
    "two choices side by side": (side_by_side(KEY, OTHER), SSE),
    "two tool calls in turns": (calls_in_turns(KEY, OTHER), SSE),
    "log probabilities": (with_logprobs(f"It is {KEY}."), JSON),
    "log probabilities of a stream": (streamed_logprobs(f"It is {KEY}."), SSE),
}
"""Ways of providers to say something in pieces, which are taken apart."""


def reversed_pieces() -> bytes:
    """A member that nobody knows, with a piece in each event."""
    chunks = [{"choices": [choice(0, delta={"novelty": piece})]} for piece in pieces(f" {KEY} ")]
    return stream([*chunks, {"choices": [choice(0, delta={"content": "ok"}, finish_reason="stop")]}])


def old_logprobs() -> bytes:
    found = pieces(f"It is {KEY}.", 3)
    one = {"index": 0, "text": "It is so.", "logprobs": {"tokens": found}, "finish_reason": "stop"}
    message = {"message": {"role": "assistant", "content": "It is so."}}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [{**one, **message}]}).encode()


def signed() -> bytes:
    message = {"role": "assistant", "content": "Hi", "reasoning": {"encrypted_content": f"Ab/{KEY}/c"}}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return json.dumps({"id": "c", "object": "chat.completion", **body}).encode()


UNKNOWN = {
    "a member nobody knows": (reversed_pieces(), SSE, "novelty"),
    "a list of tokens": (old_logprobs(), JSON, "logprobs.tokens"),
    "a signed field": (signed(), JSON, "encrypted_content"),
}
"""What cannot be replaced: it is spelled in a way that nobody expects, or must come back as it was."""


async def everything(store: Path | str) -> list[bytes]:
    """The files of a directory of cassettes; of another store what its entries hold."""
    if isinstance(store, Path):
        return [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    cache = await opened(settings_for(store, "replay"))
    found = [repr(entry).encode() + entry.body + entry.request async for entry in cache.store.entries()]
    await cache.close()
    return found


async def recorded(folder: Path | str, answer: bytes, headers: Headers) -> list[str]:
    """Why the recording fails its run."""
    cache = await opened(settings_for(folder, "record"))
    streamed = headers is SSE
    exchange = await call(cache, chat("Which key?", stream=streamed, n=2), answer, headers)
    assert exchange.status == "MISS"
    await cache.store.flushed()
    problems = unrecorded(cache.stats, cache.store)
    await cache.close()
    return problems


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize("sqlite", [False, True])
def test_a_secret_in_pieces_is_taken_out_and_the_rest_is_recorded(name: str, sqlite: bool, tmp_path: Path) -> None:
    answer, headers = SPELLED[name]
    store = f"sqlite:///{tmp_path}/x.db" if sqlite else tmp_path
    assert asyncio.run(recorded(store, answer, headers)) == []
    written = asyncio.run(everything(store))
    assert any(b"REDACTED-groq-key" in data for data in written)
    for secret in (KEY, OTHER):
        assert not any(secret.encode() in data for data in written)
        for piece in pieces(secret, 9):
            assert not any(piece.encode() in data for data in written)


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("sqlite", [False, True])
def test_what_cannot_be_replaced_is_not_written_and_named_with_its_place(
    name: str, sqlite: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer, headers, place = UNKNOWN[name]
    store = f"sqlite:///{tmp_path}/x.db" if sqlite else tmp_path
    with caplog.at_level(logging.INFO):
        [problem] = asyncio.run(recorded(store, answer, headers))
    assert "the answer to POST https://api.openai.com/v1/chat/completions holds a secret" in problem
    assert "groq-key" in problem
    if not (sqlite and name == "a signed field"):
        assert place in problem
    assert problem.endswith("record it with ai-cache record -- COMMAND")
    assert problem in caplog.text
    assert KEY not in caplog.text + problem
    assert not any(b"Which key?" in data for data in asyncio.run(everything(store)))


def agent_says(text: str) -> Entry:
    """As an agent of Bedrock streams it: each piece in base64 in a frame of its own."""
    chunks = [json.dumps({"bytes": base64.b64encode(piece.encode()).decode()}) for piece in pieces(text)]
    body = b"".join(frame("chunk", chunk.encode()) for chunk in chunks)
    return replace(PLAIN, protocol="exchange", format="eventstream", body=body)


def test_a_secret_that_only_the_readable_answer_puts_together_is_found() -> None:
    entry = agent_says(f"The key is {KEY}, keep it.")
    with pytest.raises(HoldsSecret) as found:
        compose(entry)
    assert [str(leak) for leak in found.value.leaks] == ["groq-key in answer.text"]
    assert [str(leak) for leak in in_entry(entry)] == ["groq-key in answer"]
    assert '"text": "The key is lost."' in compose(agent_says("The key is lost."))[0]


def test_an_answer_without_a_secret_is_recorded_beside_it(tmp_path: Path) -> None:
    async def main() -> None:
        cache = await opened(settings_for(tmp_path, "record"))
        await call(cache, chat("one"), old_logprobs())
        await call(cache, chat("two"), answer_of("fine"))
        await cache.store.flushed()
        assert len(unrecorded(cache.stats, cache.store)) == 1
        assert cache.stats.kept()[0] == 1
        assert (await call(cache, chat("one"), answer_of("asked again"))).status == "MISS"
        await cache.close()

    asyncio.run(main())


def test_a_place_is_a_path() -> None:
    text = json.dumps({"a": [{"b": "x"}, {"c": ["é", "it is here"]}], "d": "there"}, indent=1, ensure_ascii=False)
    data = text.encode()
    assert place_of(text, data.index(b"it is here")) == "a[1].c[1]"
    assert place_of(text, data.index(b"there")) == "d"
    assert place_of("no json", 3) == "the file"
