"""Plain text generation of other providers: Hugging Face (TGI), IBM watsonx, Aleph Alpha.

Source: TGI's OpenAPI, watsonx "Text generation", Aleph Alpha "Complete"; each seen in the corpus.
"""

from __future__ import annotations

import re
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request
from .base import ANYWHERE, Call, Finding, Protocol, has_error, members, text

_HF_MODEL = re.compile(r"^/models/(.+)$")


class HuggingFaceGeneration(Protocol):
    """`{"inputs": ...}` to a model or to an endpoint of one's own."""

    name = "huggingface-generation"
    tokens: tuple[str, ...] = ("generate", "generate_stream", "", ANYWHERE)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.host.endswith((".huggingface.co", ".huggingface.cloud")) or "inputs" not in body.object:
            return None
        named = _HF_MODEL.match(request.path)
        stream = body.object.get("stream") is True or request.path.endswith("/generate_stream")
        return Call(self, named[1] if named else "", stream, body, request.host, request.path)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not value or has_error(value):
            found.problem = "error-in-body"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            found.terminal = found.terminal or event.object.get("generated_text") is not None


class WatsonxGeneration(Protocol):
    name = "watsonx-generation"
    tokens: tuple[str, ...] = ("text", "text_stream")

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(("/generation/text", "/generation/text_stream")) or "input" not in body.object:
            return None
        stream = request.path.endswith("text_stream")
        return Call(self, text(body.object.get("model_id")), stream, body, request.host, request.path)

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


class AlephAlphaComplete(Protocol):
    name = "alephalpha-complete"
    tokens: tuple[str, ...] = ("complete",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if request.path != "/complete" or not {"prompt", "maximum_tokens"} <= body.object.keys():
            return None
        return Call(self, text(body.object.get("model")), False, body, request.host, request.path)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        completions = members(value, "completions")
        if not completions or has_error(value):
            found.problem = "error-in-body"
        found.stop += [text(item.get("finish_reason")) for item in completions]
