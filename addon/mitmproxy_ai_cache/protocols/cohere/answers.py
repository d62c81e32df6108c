"""When an answer of Cohere's is whole, and is an answer.

Source: Cohere API reference "Chat", "Chat with streaming", "Migrating from v1"; v1 streams are NDJSON (measured).
"""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error, text


class ChatAnswers(Protocol):
    """v2 ends with `message-end` and `[DONE]`, v1 with `stream-end` and `is_finished: true`."""

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        reason = text(value.get("finish_reason")) if isinstance(value, dict) else ""
        if not isinstance(value, dict) or has_error(value) or reason.upper() in ("ERROR", "ERROR_TOXIC"):
            found.problem = "error-in-body"
        elif "text" not in value and not isinstance(value.get("message"), dict):
            found.problem = "no-output"
        found.stop.append(reason)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        ended = False
        for event in stream.events:
            kind = text(event.object.get("type")) or text(event.object.get("event_type")) or event.name
            if event.data.strip() == b"[DONE]":
                found.terminal = ended
            elif has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            elif kind == "message-end":
                ended = True
                delta = event.object.get("delta")
                _finish(delta if isinstance(delta, dict) else {}, found)
            elif kind == "stream-end" and event.object.get("is_finished") is True:
                found.terminal = True
                _finish(event.object, found)


class ListedAnswers(ChatAnswers):
    """A JSON object with a list of results."""

    results: tuple[str, ...]
    """Names of that list."""

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif not any(value.get(name) for name in self.results):
            found.problem = "no-results"


class GenerateAnswers(ListedAnswers):
    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if event.object.get("is_finished") is True:
                found.terminal = True
                _finish(event.object, found)


def _finish(value: dict[str, Any], found: Finding) -> None:
    reason = text(value.get("finish_reason"))
    found.stop.append(reason)
    if reason.upper().startswith("ERROR"):
        found.problem = "error-in-stream"
