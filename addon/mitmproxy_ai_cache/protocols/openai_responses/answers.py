"""When a response is whole, and is an answer.

Source: OpenAI API reference "Responses", "Streaming events".
"""

from __future__ import annotations

import re
from typing import Any

from ...wire.framing import Stream
from ..base import Answer, Call, Finding, Protocol, has_error, members, status_problem, text

_NO_ANSWER = ("failed", "cancelled", "in_progress", "queued")
_ISSUED = re.compile(rb'"id"\s*:\s*"(resp_[\w-]+)"')


class ResponseAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        _response(value, found)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        expected = None
        items = False
        for event in stream.events:
            kind = text(event.object.get("type")) or event.name
            number = event.object.get("sequence_number")
            if isinstance(number, int):
                if expected is not None and number != expected:
                    found.problem = "sequence-gap"
                expected = number + 1
            items = items or kind == "response.output_item.done"
            if kind == "error":
                found.problem, found.needs_framing = "error-in-stream", True
            elif kind in ("response.completed", "response.incomplete", "response.failed"):
                found.terminal = True
                _response(event.object.get("response"), found)
                if items and found.problem == "no-output":
                    found.problem = ""  # some backends send the items and leave the final list empty

    def issued(self, answer: Answer) -> str:
        match = _ISSUED.search(answer.body)
        return match[1].decode() if match else ""


class CountAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("input_tokens"), int):
            found.problem = "error-in-body"


def _response(value: Any, found: Finding) -> None:
    status = text(value.get("status")) if isinstance(value, dict) else ""
    details = value.get("incomplete_details") if isinstance(value, dict) else None
    if has_error(value):
        found.problem = "error-in-body"
    elif status and (problem := status_problem(value, ("completed", "incomplete"), _NO_ANSWER)):
        found.problem = problem
    elif not members(value, "output"):
        found.problem = found.problem or "no-output"
    found.stop.append(text(details.get("reason")) if isinstance(details, dict) else status)
