"""When an answer of Ollama's is whole, and is an answer. Streams are NDJSON."""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error, text


class ChatAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif value.get("done") is not True:
            found.problem = "not-done"
        else:
            found.stop.append(text(value.get("done_reason")))

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            elif event.object.get("done") is True:
                found.terminal = True
                found.stop.append(text(event.object.get("done_reason")))


class EmbedAnswers(ChatAnswers):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif not (value.get("embeddings") or value.get("embedding")):
            found.problem = "no-results"
