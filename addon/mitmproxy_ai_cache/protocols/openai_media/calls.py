"""Which requests are calls of Images, Audio, Embeddings or Moderations. Source: OpenAI API reference of each."""

from __future__ import annotations

from dataclasses import replace

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, Protocol
from ..openai_chat import OPENAI_KEY_HEADERS, openai_call
from .answers import ListedAnswers, SpeechAnswers, TranscriptionAnswers


class _Listed(Protocol):
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS
    ignored: tuple[str, ...] = ("user", "metadata")
    paths: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    """Members of a JSON body, or fields of a multipart one, of which one must be there."""

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(self.paths):
            return None
        fields = body.object.keys() or {part.name for part in body.parts}
        if body.kind != "raw" and not self.needs & fields:
            return None
        if body.kind == "raw" and not (_is_multipart(request) or body.raw.startswith(b"--")):
            return None
        return openai_call(self, request, body)


class OpenAIEmbeddings(ListedAnswers, _Listed):
    name = "openai-embeddings"
    tokens: tuple[str, ...] = ("embeddings",)
    paths: tuple[str, ...] = ("/embeddings",)
    needs: frozenset[str] = frozenset({"input"})

    def recognise(self, request: Request, body: Body) -> Call | None:
        # Ollama's native /api/embeddings takes a prompt.
        return None if request.path.endswith("/api/embeddings") else super().recognise(request, body)


class OpenAIModerations(ListedAnswers, _Listed):
    name = "openai-moderations"
    tokens: tuple[str, ...] = ("moderations",)
    paths: tuple[str, ...] = ("/moderations",)
    needs: frozenset[str] = frozenset({"input"})
    results: tuple[str, ...] = ("results",)


class OpenAIImages(ListedAnswers, _Listed):
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


class OpenAISpeech(SpeechAnswers, _Listed):
    name = "openai-speech"
    tokens: tuple[str, ...] = ("speech",)
    paths: tuple[str, ...] = ("/audio/speech",)
    needs: frozenset[str] = frozenset({"input"})


class OpenAITranscription(TranscriptionAnswers, _Listed):
    """Transcriptions and translations."""

    name = "openai-transcription"
    tokens: tuple[str, ...] = ("transcriptions", "translations")
    paths: tuple[str, ...] = ("/audio/transcriptions", "/audio/translations")
    needs: frozenset[str] = frozenset({"file"})


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type").lower().startswith("multipart/")
