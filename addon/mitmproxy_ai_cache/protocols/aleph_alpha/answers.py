"""When an answer is whole, and is one. Source: Aleph Alpha "Complete", and the corpus."""

from __future__ import annotations

from typing import Any

from ..base import Call, Finding, Protocol, has_error, members, text


class CompleteAnswers(Protocol):
    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        completions = members(value, "completions")
        if not completions or has_error(value):
            found.problem = "error-in-body"
        found.stop += [text(item.get("finish_reason")) for item in completions]
