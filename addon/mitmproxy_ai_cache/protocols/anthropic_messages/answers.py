"""When an answer of Anthropic's is whole, and is an answer.

Source: Anthropic API reference "Messages", "Streaming".
"""

from __future__ import annotations

from typing import Any

from ...wire.framing import Event, Stream
from ..base import Call, Finding, Protocol, has_error, index_of, text


class MessageAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        judge_message(value, found)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        judge_message_events(stream.events, found)


class CountAnswers(MessageAnswers):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("input_tokens"), int):
            found.problem = "error-in-body"


class CompleteAnswers(MessageAnswers):
    """The last `completion` event has a `stop_reason`."""

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("completion"), str):
            found.problem = "error-in-body"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if event.name == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            found.terminal = found.terminal or bool(event.object.get("stop_reason"))


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
