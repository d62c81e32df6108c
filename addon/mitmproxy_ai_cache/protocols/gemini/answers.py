"""When an answer of Gemini's is whole, and is an answer.

Source: Gemini API reference; the absence of a terminal event and the CRLF line ends were measured on the corpus.
"""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error, index_of, members, status_problem, text, word


class GenerateAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        blocked = _blocked(value)
        if has_error(value):
            found.problem = "error-in-body"
        elif not members(value, "candidates") and not blocked:
            found.problem = "no-candidates"
        found.stop += [_finish(item) for item in members(value, "candidates")] or [blocked]

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        """Every candidate must have a `finishReason`, the last event must carry one."""
        finished: dict[str, str] = {}
        last = False
        for event in stream.events:
            if has_error(event.object) or event.name == "error":
                found.problem, found.needs_framing = "error-in-stream", True
                return
            blocked = _blocked(event.object)
            last = bool(blocked)
            if blocked:
                finished["blocked"] = blocked
            for candidate in members(event.value, "candidates"):
                reason = _finish(candidate)
                index = index_of(candidate)
                finished[index] = reason or finished.get(index, "")
                last = last or bool(reason)
        found.stop += finished.values()
        complete = bool(finished) and all(finished.values()) and last and stream.at_boundary
        if not finished:
            found.problem = "no-candidates"
        found.terminal = complete


class NamedAnswers(GenerateAnswers):
    """A JSON object with one of `results`."""

    results: tuple[str, ...]

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not any(name in value for name in self.results):
            found.problem = "error-in-body"


class InteractionAnswers(Protocol):
    """They end with `event: done`, `data: [DONE]`."""

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        status = text(value.get("status")) if isinstance(value, dict) else ""
        if has_error(value):
            found.problem = "error-in-body"
        else:
            answers = ("completed", "requires_action", "incomplete")
            found.problem = found.problem or status_problem(value, answers, ("failed", "cancelled", "in_progress"))
        found.stop.append(status)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            kind = text(event.object.get("event_type")) or event.name
            if kind == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            elif kind in ("interaction.completed", "interaction.complete"):
                self.judge_json(call, event.object.get("interaction"), found)
            elif event.data.strip() == b"[DONE]":
                found.terminal = True
        if not found.stop and not found.problem:
            found.problem = "no-output"


def _finish(candidate: dict[str, Any]) -> str:
    """The finish reason; a number where the client asked for `enum-encoding=int`."""
    return word(candidate.get("finishReason"))


def _blocked(value: Any) -> str:
    feedback = value.get("promptFeedback") if isinstance(value, dict) else None
    return word(feedback.get("blockReason")) if isinstance(feedback, dict) else ""
