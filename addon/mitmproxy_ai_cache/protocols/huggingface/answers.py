"""When an answer is whole, and is one. Source: TGI's OpenAPI, and the corpus."""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error


class GenerationAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not value or has_error(value):
            found.problem = "error-in-body"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            found.terminal = found.terminal or event.object.get("generated_text") is not None
