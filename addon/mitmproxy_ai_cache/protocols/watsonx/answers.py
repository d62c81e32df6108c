"""When an answer is whole, and is one. Source: watsonx "Text generation", and the corpus."""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error, members, text


class GenerationAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        results = members(value, "results")
        if not results or has_error(value):
            found.problem = "error-in-body"
        found.stop += [text(result.get("stop_reason")) for result in results]

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if event.name == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            for result in members(event.value, "results"):
                reason = text(result.get("stop_reason"))
                found.terminal = bool(reason) and reason.lower() != "not_finished"
                found.stop += [reason] if found.terminal else []
