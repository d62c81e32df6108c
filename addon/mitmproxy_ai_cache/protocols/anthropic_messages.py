"""Anthropic Messages, direct and on Vertex, and count_tokens.

Source: Anthropic API reference "Messages", "Streaming".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..wire.body import Body
from ..wire.framing import Event, Stream
from ..wire.messages import Request, Response
from .base import Call, Finding, Protocol, has_error, index_of, json_response, text

_VERTEX_MODEL = re.compile(r"/models/([^/:]+)")


class AnthropicMessages(Protocol):
    name = "anthropic-messages"
    tokens: tuple[str, ...] = ("messages", "rawPredict", "streamRawPredict")
    ignored: tuple[str, ...] = ("metadata",)
    key_headers: frozenset[str] = frozenset({"anthropic-version", "anthropic-beta"})

    def recognise(self, request: Request, body: Body) -> Call | None:
        vertex = "/publishers/anthropic/" in request.path or "anthropic_version" in body.object
        if not (vertex or request.path.endswith("/v1/messages")) or not isinstance(body.object.get("messages"), list):
            return None
        if not vertex and "max_tokens" not in body.object and "anthropic-version" not in request.headers:
            return None  # a thread's messages, a chat application's own API
        return anthropic_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        judge_message(value, found)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        judge_message_events(stream.events, found)

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        return message_usage(value)

    def error(self, status: int, code: str, message: str) -> Response:
        return anthropic_error(status, code, message)


class AnthropicCountTokens(AnthropicMessages):
    name = "anthropic-count-tokens"
    tokens: tuple[str, ...] = ("count_tokens", "rawPredict")

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(("/messages/count_tokens", "/count-tokens:rawPredict")) or not body.object:
            return None
        return anthropic_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("input_tokens"), int):
            found.problem = "error-in-body"


class AnthropicComplete(AnthropicMessages):
    """The legacy Text Completions API: the last `completion` event has a `stop_reason`."""

    name = "anthropic-complete"
    tokens: tuple[str, ...] = ("complete",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith("/v1/complete") or "max_tokens_to_sample" not in body.object:
            return None
        return anthropic_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("completion"), str):
            found.problem = "error-in-body"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if event.name == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            found.terminal = found.terminal or bool(event.object.get("stop_reason"))


def anthropic_call(protocol: Protocol, request: Request, body: Body) -> Call:
    named = _VERTEX_MODEL.search(request.path)
    return Call(
        protocol=protocol,
        model=text(body.object.get("model")) or (named[1] if named else ""),
        stream=body.object.get("stream") is True or request.path.endswith(":streamRawPredict"),
        body=body,
        host=request.host,
        path=request.path,
    )


def anthropic_error(status: int, code: str, message: str) -> Response:
    return json_response(status, {"type": "error", "error": {"type": code, "message": message}})


def message_usage(value: dict[str, Any]) -> Iterable[Any]:
    """`message_start` counts the input, `message_delta` the output so far."""
    message = value.get("message")
    return (message.get("usage") if isinstance(message, dict) else None, value.get("usage"))


def judge_message(value: Any, found: Finding) -> None:
    """A message as JSON. Content may be empty (the model had nothing to add), its stop reason may not."""
    if not isinstance(value, dict) or has_error(value) or value.get("type") == "error":
        found.problem = "error-in-body"
    elif not isinstance(value.get("content"), list):
        found.problem = "no-content"
    elif not text(value.get("stop_reason")):
        found.problem = "no-stop-reason"
    else:
        found.stop.append(text(value.get("stop_reason")))


def judge_message_events(events: list[Event], found: Finding) -> None:
    """`message_stop` after balanced content blocks (also inside Bedrock's frames)."""
    open_blocks: set[str] = set()
    started = False
    for event in events:
        kind = text(event.object.get("type")) or event.name
        if kind == "error":
            found.problem, found.needs_framing = "error-in-stream", True
        elif event.value is None and event.data.strip():
            found.problem = found.problem or "malformed"
        elif kind == "message_start":
            started = True
        elif kind == "content_block_start":
            open_blocks.add(index_of(event.object))
        elif kind == "content_block_stop":
            open_blocks.discard(index_of(event.object))
        elif kind == "message_delta":
            delta = event.object.get("delta")
            found.stop.append(text(delta.get("stop_reason")) if isinstance(delta, dict) else "")
        elif kind == "message_stop":
            found.terminal = started and not open_blocks
