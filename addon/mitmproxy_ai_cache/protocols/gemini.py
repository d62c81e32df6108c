"""Gemini: generateContent, streamGenerateContent, embeddings and token counts, on AI Studio and on Vertex.

Source: Gemini API reference; the absence of a terminal event and the CRLF line ends were measured on the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request, Response
from .base import Call, Finding, Protocol, has_error, index_of, json_response, members, status_problem, text, word

_MODEL = re.compile(r"/models/([^/:]+)|/(?:endpoints|tunedModels)/([^/:]+)")


class GeminiGenerate(Protocol):
    name = "gemini-generate"
    tokens: tuple[str, ...] = ("generateContent", "streamGenerateContent")
    ignored: tuple[str, ...] = ("labels",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not isinstance(body.object.get("contents"), list | dict | str):
            return None
        return self._call(request, body, stream=request.path.endswith(":streamGenerateContent"))

    def _call(self, request: Request, body: Body, *, stream: bool = False) -> Call:
        match = _MODEL.search(request.path)
        return Call(
            protocol=self,
            model=(match[1] or match[2]) if match else text(body.object.get("model")).removeprefix("models/"),
            stream=stream,
            body=body,
            host=request.host,
            path=request.path,
        )

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

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        interaction = value.get("interaction")
        return (
            value.get("usageMetadata"),
            value.get("usage"),
            interaction.get("usage") if isinstance(interaction, dict) else None,
        )

    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(
            status, {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION", "reason": code}}
        )


class GeminiEmbed(GeminiGenerate):
    """embedContent, batchEmbedContents; on Vertex also `:predict` of embedding and image models."""

    name = "gemini-embed"
    tokens: tuple[str, ...] = ("embedContent", "batchEmbedContents", "predict")
    needs: frozenset[str] = frozenset({"content", "requests", "instances"})
    results: tuple[str, ...] = ("embedding", "embeddings", "predictions")

    def recognise(self, request: Request, body: Body) -> Call | None:
        google = request.host.endswith(".googleapis.com") or not request.path.endswith(":predict")
        if not google or ":" not in request.path or not self.needs & body.object.keys():
            return None
        return self._call(request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not any(name in value for name in self.results):
            found.problem = "error-in-body"


class GeminiCountTokens(GeminiEmbed):
    name = "gemini-count-tokens"
    tokens: tuple[str, ...] = ("countTokens", "computeTokens")
    needs: frozenset[str] = frozenset({"contents", "generateContentRequest", "instances"})
    results: tuple[str, ...] = ("totalTokens", "tokensInfo")


class GeminiInteractions(GeminiGenerate):
    """The Interactions API: OpenAI's Responses in Google's words; ends with `event: done`, `data: [DONE]`."""

    name = "gemini-interactions"
    tokens: tuple[str, ...] = ("interactions",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if "input" not in wanted or not ({"model", "agent"} & wanted.keys()):
            return None
        call = self._call(request, body, stream=wanted.get("stream") is True)
        if wanted.get("background") is True:
            return replace(call, bypass="background")
        return call

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

    def names(self, call: Call) -> str:
        return text(call.body.object.get("previous_interaction_id"))


def _finish(candidate: dict[str, Any]) -> str:
    """The finish reason; a number where the client asked for `enum-encoding=int`."""
    return word(candidate.get("finishReason"))


def _blocked(value: Any) -> str:
    feedback = value.get("promptFeedback") if isinstance(value, dict) else None
    return word(feedback.get("blockReason")) if isinstance(feedback, dict) else ""
