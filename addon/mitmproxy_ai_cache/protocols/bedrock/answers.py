"""When an answer of Bedrock's is whole, and is an answer. InvokeModel carries each vendor's own body, Anthropic's too.

Source: Amazon Bedrock API reference.
"""

from __future__ import annotations

import base64
from typing import Any

from ...wire.framing import Event, Stream
from ..anthropic_messages.answers import judge_message, judge_message_events
from ..base import Call, Finding, Protocol, has_error, members, text

_RESULTS = ("choices", "outputs", "results", "generations", "completions")
"""Lists in which vendors answer; an empty one is none."""

_STOPS = ("stop_reason", "stopReason", "completionReason", "finish_reason", "finishReason")
"""Where vendors' own chunks name their stop reason: Llama, Nova, Titan, Cohere and Mistral."""


class ConverseAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or not isinstance(value.get("output"), dict):
            found.problem = "error-in-body"
        else:
            found.stop.append(text(value.get("stopReason")))

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        stopped = False
        for event in stream.events:
            if event.name == "exception":
                found.problem, found.needs_framing = "error-in-stream", True
            elif event.name == "messageStop":
                stopped = True
                found.stop.append(text(event.object.get("stopReason")))
            elif event.name == "metadata":
                found.terminal = stopped


class InvokeAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict | list) or not value or has_error(value):
            found.problem = "error-in-body"
        elif isinstance(value, dict) and value.get("type") in ("message", "error"):
            judge_message(value, found)
        elif isinstance(value, dict) and value.keys() <= {"message", "Message", "__type"}:
            found.problem = "error-in-body"
        elif _is_empty(value):
            found.problem = "no-results"
        else:
            found.stop += _stops(value)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        chunks: list[Event] = []
        for event in stream.events:
            if event.name == "exception":
                found.problem, found.needs_framing = "error-in-stream", True
                return
            try:
                data = base64.b64decode(text(event.object.get("bytes")), validate=True)
            except ValueError:
                found.problem = "malformed"
                return
            chunks.append(Event("", data))
        if any(text(chunk.object.get("type")) == "message_start" for chunk in chunks):
            judge_message_events(chunks, found)
        elif any(has_error(chunk.object) for chunk in chunks):
            found.problem, found.needs_framing = "error-in-stream", True
        elif chunks:
            for chunk in chunks:
                found.stop += _stops(chunk.value)
            last = chunks[-1].object
            found.terminal = "amazon-bedrock-invocationMetrics" in last or bool(_stops(last))
            # A guardrail that intervenes answers without metrics.
            found.needs_framing = last.get("amazon-bedrock-guardrailAction") == "INTERVENED"


class GuardrailAnswers(ConverseAnswers):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or not value.get("action"):
            found.problem = "error-in-body"


def _is_empty(value: Any) -> bool:
    if isinstance(value, list):
        return not any(value)
    return any(name in value and not value[name] for name in _RESULTS)


def _stops(value: Any) -> list[str]:
    """Stop reasons wherever the vendors put them: at the top, or in the list of outputs, results or choices."""
    if not isinstance(value, dict):
        return []
    places = [value, *members(value, "outputs"), *members(value, "results"), *members(value, "choices")]
    stops = [text(place.get(name)) for place in places for name in _STOPS]
    finished = ["finished"] if value.get("is_finished") is True else []
    return [stop for stop in stops if stop] + finished
