"""Ollama's native API: chat, generate, embed. NDJSON; a request without `stream` is answered by a stream.

Source: Ollama docs/api.md; 23 of 23 requests without `stream` in the corpus were answered by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request, Response
from .base import Call, Finding, Protocol, has_error, json_response, text


class OllamaChat(Protocol):
    name = "ollama-chat"
    tokens: tuple[str, ...] = ("chat", "generate")
    ignored: tuple[str, ...] = ("keep_alive",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        chat = request.path.endswith("/api/chat") and isinstance(wanted.get("messages"), list)
        generate = request.path.endswith("/api/generate") and isinstance(wanted.get("prompt"), str)
        if not (chat or generate) or "model" not in wanted:
            return None
        # Without a message or prompt the call loads the model or unloads it.
        bypass = "" if wanted.get("messages" if chat else "prompt") else "not-inference"
        stream = wanted.get("stream") is not False
        return Call(self, text(wanted["model"]), stream, body, request.host, request.path, bypass=bypass)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif value.get("done") is not True:
            found.problem = "not-done"
        else:
            found.stop.append(text(value.get("done_reason")))

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        for event in stream.events:
            if has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            elif event.object.get("done") is True:
                found.terminal = True
                found.stop.append(text(event.object.get("done_reason")))

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        return (value,)

    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(status, {"error": message})


class OllamaEmbed(OllamaChat):
    name = "ollama-embed"
    tokens: tuple[str, ...] = ("embed", "embeddings")

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if not request.path.endswith(("/api/embed", "/api/embeddings")) or not {"input", "prompt"} & wanted.keys():
            return None
        return Call(self, text(wanted.get("model")), False, body, request.host, request.path)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or has_error(value):
            found.problem = "error-in-body"
        elif not (value.get("embeddings") or value.get("embedding")):
            found.problem = "no-results"
