"""Cohere v1 and v2: chat, generate, embed, rerank (Voyage's and Jina's rerank have the same shape).

Source: Cohere API reference "Chat", "Chat with streaming", "Migrating from v1"; v1 streams are NDJSON (measured).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request, Response
from .base import Call, Finding, Protocol, has_error, json_response, text


class CohereChat(Protocol):
    """v2 ends with `message-end` and `[DONE]`, v1 with `stream-end` and `is_finished: true`."""

    name = "cohere-chat"
    tokens: tuple[str, ...] = ("chat",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        v2 = request.path.endswith("/v2/chat") and isinstance(wanted.get("messages"), list)
        v1 = (
            request.path.endswith("/v1/chat")
            and isinstance(wanted.get("message"), str)
            and ("model" in wanted or "cohere" in request.host)
        )
        return cohere_call(self, request, body) if v1 or v2 else None

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        reason = text(value.get("finish_reason")) if isinstance(value, dict) else ""
        if not isinstance(value, dict) or has_error(value) or reason.upper() in ("ERROR", "ERROR_TOXIC"):
            found.problem = "error-in-body"
        elif "text" not in value and not isinstance(value.get("message"), dict):
            found.problem = "no-output"
        found.stop.append(reason)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        ended = False
        for event in stream.events:
            kind = text(event.object.get("type")) or text(event.object.get("event_type")) or event.name
            if event.data.strip() == b"[DONE]":
                found.terminal = ended
            elif has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            elif kind == "message-end":
                ended = True
                delta = event.object.get("delta")
                self._finish(delta if isinstance(delta, dict) else {}, found)
            elif kind == "stream-end" and event.object.get("is_finished") is True:
                found.terminal = True
                self._finish(event.object, found)

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        """v2 puts it under `usage`, v1 under `meta`, streams into their last event. What is billed counts."""
        for holder in (value, value.get("response"), value.get("delta")):
            if isinstance(holder, dict):
                for place in (holder.get("usage"), holder.get("meta")):
                    if isinstance(place, dict):
                        yield place.get("tokens") or place
                        yield place.get("billed_units")

    @staticmethod
    def _finish(value: dict[str, Any], found: Finding) -> None:
        reason = text(value.get("finish_reason"))
        found.stop.append(reason)
        if reason.upper().startswith("ERROR"):
            found.problem = "error-in-stream"

    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(status, {"id": code, "message": message})


class CohereResults(CohereChat):
    """Calls that are answered by one JSON object with a list of results."""

    name = "cohere-embed"
    tokens: tuple[str, ...] = ("embed",)
    paths: tuple[str, ...] = ("/v1/embed", "/v2/embed")
    needs: frozenset[str] = frozenset({"texts", "images", "inputs"})
    results: tuple[str, ...] = ("embeddings",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(self.paths) or not self.needs & body.object.keys():
            return None
        return cohere_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif not any(value.get(name) for name in self.results):
            found.problem = "no-results"


class CohereGenerate(CohereResults):
    name = "cohere-generate"
    tokens: tuple[str, ...] = ("generate",)
    paths: tuple[str, ...] = ("/v1/generate",)
    needs: frozenset[str] = frozenset({"prompt"})
    results: tuple[str, ...] = ("generations",)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if event.object.get("is_finished") is True:
                found.terminal = True
                self._finish(event.object, found)


class Rerank(CohereResults):
    name = "rerank"
    tokens: tuple[str, ...] = ("rerank",)
    paths: tuple[str, ...] = ("/rerank",)
    needs: frozenset[str] = frozenset({"documents"})
    results: tuple[str, ...] = ("results", "data")


def cohere_call(protocol: Protocol, request: Request, body: Body) -> Call:
    return Call(
        protocol=protocol,
        model=text(body.object.get("model")),
        stream=body.object.get("stream") is True,
        body=body,
        host=request.host,
        path=request.path,
        bypass="conversation" if body.object.get("conversation_id") else "",
    )
