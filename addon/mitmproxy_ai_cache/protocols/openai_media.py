"""OpenAI Images, Audio, Embeddings and Moderations. Source: OpenAI API reference of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request
from .base import Answer, Call, Finding, Protocol, has_error, text
from .openai_chat import OPENAI_KEY_HEADERS, openai_call


class _Listed(Protocol):
    """An answer is a JSON object with a list of results."""

    key_headers: frozenset[str] = OPENAI_KEY_HEADERS
    ignored: tuple[str, ...] = ("user", "metadata")
    results: tuple[str, ...] = ("data",)
    paths: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    """Members of a JSON body, or fields of a multipart one, of which one must be there."""
    terminal: tuple[str, ...] = ()
    """Terminal events of its streams."""

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(self.paths):
            return None
        fields = body.object.keys() or {part.name for part in body.parts}
        if body.kind != "raw" and not self.needs & fields:
            return None
        if body.kind == "raw" and not (_is_multipart(request) or body.raw.startswith(b"--")):
            return None
        return openai_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value):
            found.problem = "error-in-body"
        elif not isinstance(value, dict) or not any(value.get(name) for name in self.results):
            found.problem = "no-results"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        ends = 0
        for event in stream.events:
            kind = text(event.object.get("type")) or event.name
            if kind == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            ends += kind in self.terminal
        wanted = call.body.object.get("n")
        found.terminal = ends >= (max(1, wanted) if isinstance(wanted, int) else 1)


class OpenAIEmbeddings(_Listed):
    name = "openai-embeddings"
    tokens: tuple[str, ...] = ("embeddings",)
    paths: tuple[str, ...] = ("/embeddings",)
    needs: frozenset[str] = frozenset({"input"})

    def recognise(self, request: Request, body: Body) -> Call | None:
        # Ollama's native /api/embeddings takes a prompt.
        return None if request.path.endswith("/api/embeddings") else super().recognise(request, body)


class OpenAIModerations(_Listed):
    name = "openai-moderations"
    tokens: tuple[str, ...] = ("moderations",)
    paths: tuple[str, ...] = ("/moderations",)
    needs: frozenset[str] = frozenset({"input"})
    results: tuple[str, ...] = ("results",)


class OpenAIImages(_Listed):
    name = "openai-images"
    tokens: tuple[str, ...] = ("generations", "edits", "variations")
    paths: tuple[str, ...] = ("/images/generations", "/images/edits", "/images/variations")
    needs: frozenset[str] = frozenset({"prompt", "image", "image[]"})
    terminal: tuple[str, ...] = ("image_generation.completed", "image_edit.completed")

    def recognise(self, request: Request, body: Body) -> Call | None:
        call = super().recognise(request, body)
        wanted = body.object.get("response_format") or body.field("response_format")
        if call is None or wanted == "b64_json" or call.model.startswith("gpt-image"):
            return call
        return replace(call, live_input=True)  # answered by URLs that expire within the hour


class OpenAISpeech(_Listed):
    """The answer is audio: only its framing proves the end."""

    name = "openai-speech"
    tokens: tuple[str, ...] = ("speech",)
    paths: tuple[str, ...] = ("/audio/speech",)
    needs: frozenset[str] = frozenset({"input"})
    terminal: tuple[str, ...] = ("speech.audio.done",)
    media = ("audio/", "application/octet-stream", "binary/octet-stream")

    def judge_raw(self, call: Call, answer: Answer, found: Finding) -> None:
        found.needs_framing = True
        if answer.content_type and not answer.content_type.lower().startswith(self.media):
            found.problem = "unexpected-content-type"


class OpenAITranscription(_Listed):
    """Transcriptions and translations: JSON, or text, srt, vtt by `response_format`."""

    name = "openai-transcription"
    tokens: tuple[str, ...] = ("transcriptions", "translations")
    paths: tuple[str, ...] = ("/audio/transcriptions", "/audio/translations")
    needs: frozenset[str] = frozenset({"file"})
    terminal: tuple[str, ...] = ("transcript.text.done",)
    media = ("text/plain", "text/vtt", "text/srt", "application/x-subrip")

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("text"), str):
            found.problem = "error-in-body"

    def judge_raw(self, call: Call, answer: Answer, found: Finding) -> None:
        found.needs_framing = True
        if answer.content_type and not answer.content_type.lower().startswith(self.media):
            found.problem = "unexpected-content-type"


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type").lower().startswith("multipart/")
