"""What is asked and answered: bodies of given sizes, the same in every run."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

HOST = "api.openai.com"
PATH = "/v1/chat/completions"
NONCE = "nonce-00000000"
"""Stands in every request; the load generator counts it up where requests are to differ."""

KB, MB = 1000, 1_000_000
EVENTS = 500
"""In a streamed answer."""

_WORDS = (
    "the cache answers what it has seen before and streams what it has not while nobody waits for the store".split()
)


def text(size: int, seed: int = 1) -> str:
    """Words, some of them random letters: no gift to a compressor."""
    chosen = random.Random(seed)
    words: list[str] = []
    length = 0
    while length < size:
        words.append(chosen.choice(_WORDS) if chosen.random() < 0.7 else f"{chosen.getrandbits(40):x}")
        length += len(words[-1]) + 1
    return " ".join(words)[:size]


def chat(size: int, model: str = "json-2k", spaced: bool = False, stream: bool = False) -> bytes:
    """A chat request of about `size` bytes in messages of about 1 kB; `model` names the answer the provider gives."""
    body: dict[str, Any] = {"model": model, "temperature": 0.2, "user": NONCE, "messages": []}
    body["messages"].append({"role": "system", "content": NONCE})
    if stream:
        body["stream"] = True
    if size > 50 * KB:
        body["tools"] = [_tool(number) for number in range(20)]
    left = size - len(json.dumps(body))
    while left > 0:
        role = "assistant" if len(body["messages"]) % 2 == 0 else "user"
        message = {"role": role, "content": text(min(left, 1000), seed=left)}
        body["messages"].append(message)
        left -= len(json.dumps(message))
    return json.dumps(body, separators=None if spaced else (",", ":")).encode()


def _tool(number: int) -> dict[str, Any]:
    names = [f"argument_{index}" for index in range(5)]
    properties = {name: {"type": "string", "description": text(60, seed=number)} for name in names}
    schema = {"type": "object", "properties": properties, "required": names}
    return {"type": "function", "function": {"name": f"tool_{number}", "parameters": schema}}


ANSWERS = ("json-2k", "json-20k", "sse-100k", "json-5m", "sse-500", "sse-500-paced", "sse-slow")


def answer(name: str) -> tuple[str, Iterator[bytes | float]]:
    """Content type and chunks (seconds are pauses) of an answer by its name."""
    kind, _, size = name.partition("-")
    if kind == "json":
        return "application/json", iter([_whole({"2k": 2 * KB, "20k": 20 * KB, "5m": 5 * MB}[size])])
    if size == "100k":
        return "text/event-stream", iter([b"".join(_event(text(130, seed=number)) for number in range(EVENTS)) + _END])
    return "text/event-stream", _stamped(*{"500": (EVENTS, 0.0), "500-paced": (EVENTS, 0.001), "slow": (40, 0.1)}[size])


def _whole(size: int) -> bytes:
    content = text(size - 150)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def _event(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


_END = _event("", "stop") + b"data: [DONE]\n\n"


def _stamped(events: int, pause: float) -> Iterator[bytes | float]:
    """Each event says when it left: all processes of a machine have one monotonic clock."""
    for _ in range(events):
        yield _event(str(time.monotonic_ns()))
        if pause:
            yield pause
    yield _END
