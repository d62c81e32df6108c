"""The calls of `ai-cache demo`, and what its provider answers: made up, in the shapes of the real ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ...wire.framing import eventstream
from ...wire.messages import Request
from .provider import Chunk, Reply

_PAUSE = 0.05
_WORDS = "Every answer you paid for once is yours to keep .".split(" ")


@dataclass(frozen=True, slots=True)
class DemoCall:
    title: str
    host: str
    path: str
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


_MESSAGES = [{"role": "user", "content": "Why cache?"}]

CALLS: tuple[DemoCall, ...] = (
    DemoCall(
        "OpenAI chat, JSON", "api.openai.com", "/v1/chat/completions", {"model": "gpt-demo", "messages": _MESSAGES}
    ),
    DemoCall(
        "OpenAI chat, SSE stream",
        "api.openai.com",
        "/v1/chat/completions",
        {"model": "gpt-demo", "messages": _MESSAGES, "stream": True},
    ),
    DemoCall(
        "Anthropic Messages, SSE stream",
        "api.anthropic.com",
        "/v1/messages",
        {"model": "claude-demo", "max_tokens": 99, "messages": _MESSAGES, "stream": True},
    ),
    DemoCall(
        "Bedrock ConverseStream, binary event stream",
        "bedrock-runtime.us-east-1.amazonaws.com",
        "/model/demo.model-v1/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "Why cache?"}]}]},
    ),
)


def answer(request: Request) -> Reply:
    """What the provider says."""
    wanted = orjson.loads(request.body or b"{}")
    if request.path.endswith("/converse-stream"):
        return _stream("application/vnd.amazon.eventstream", _converse())
    if request.path == "/v1/messages":
        return _stream("text/event-stream", _messages())
    if wanted.get("stream"):
        return _stream("text/event-stream; charset=utf-8", _chat())
    message = {"role": "assistant", "content": " ".join(_WORDS)}
    body = {"id": "demo", "object": "chat.completion", "model": "gpt-demo"}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]  # type: ignore[assignment]
    return Reply([_PAUSE * len(_WORDS), orjson.dumps(body)])


def _stream(content_type: str, chunks: Iterable[bytes]) -> Reply:
    paced: list[Chunk] = [part for chunk in chunks for part in (_PAUSE, chunk)]
    return Reply(paced, headers=(("content-type", content_type),), framing="chunked")


def _chat() -> Iterable[bytes]:
    for word in _WORDS:
        yield _data({"choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]})
    yield _data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"


def _messages() -> Iterable[bytes]:
    yield _event({"type": "message_start", "message": {"id": "demo", "role": "assistant", "content": []}})
    yield _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in _WORDS:
        yield _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word + " "}})
    yield _event({"type": "content_block_stop", "index": 0})
    yield _event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 11}})
    yield _event({"type": "message_stop"})


def _converse() -> Iterable[bytes]:
    yield eventstream.frame("messageStart", b'{"role":"assistant"}')
    for word in _WORDS:
        delta = {"contentBlockIndex": 0, "delta": {"text": word + " "}}
        yield eventstream.frame("contentBlockDelta", orjson.dumps(delta))
    yield eventstream.frame("messageStop", b'{"stopReason":"end_turn"}')
    yield eventstream.frame("metadata", b'{"usage":{"inputTokens":3,"outputTokens":11,"totalTokens":14}}')


def _data(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    name: str = value["type"]
    return f"event: {name}\n".encode() + _data(value)
