"""OpenAI Responses, also on Azure and compatible hosts.

Source: OpenAI API reference "Responses", "Streaming events".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request
from .base import Answer, Call, Finding, Protocol, has_error, members, status_problem, text
from .openai_chat import OPENAI_KEY_HEADERS, openai_call

_NO_ANSWER = ("failed", "cancelled", "in_progress", "queued")
_ISSUED = re.compile(rb'"id"\s*:\s*"(resp_[\w-]+)"')


class OpenAIResponses(Protocol):
    name = "openai-responses"
    tokens: tuple[str, ...] = ("responses", "compact")
    ignored: tuple[str, ...] = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata")
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if not request.path.endswith(("/responses", "/responses/compact")) or not (
            {"input", "prompt", "previous_response_id"} & wanted.keys()
        ):
            return None
        bypass = (
            "background" if wanted.get("background") is True else "conversation" if wanted.get("conversation") else ""
        )
        prompt = wanted.get("prompt")
        unversioned = isinstance(prompt, dict) and not prompt.get("version")
        return openai_call(self, request, body, bypass=bypass, live_input=unversioned)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        self._response(value, found)

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
                self._response(event.object.get("response"), found)
                if items and found.problem == "no-output":
                    found.problem = ""  # some backends send the items and leave the final list empty

    @staticmethod
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

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        response = value.get("response")
        return (value.get("usage"), response.get("usage") if isinstance(response, dict) else None)

    def issued(self, answer: Answer) -> str:
        match = _ISSUED.search(answer.body)
        return match[1].decode() if match else ""

    def names(self, call: Call) -> str:
        return text(call.body.object.get("previous_response_id"))


class OpenAIInputTokens(Protocol):
    """`POST /v1/responses/input_tokens`: counts the tokens of a request."""

    name = "openai-count-tokens"
    tokens: tuple[str, ...] = ("input_tokens",)
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith("/responses/input_tokens") or not body.object:
            return None
        return openai_call(self, request, body, bypass="conversation" if body.object.get("conversation") else "")

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("input_tokens"), int):
            found.problem = "error-in-body"
