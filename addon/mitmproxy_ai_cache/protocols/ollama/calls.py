"""Which requests are calls of Ollama's native API. One without `stream` is answered by a stream.

Source: Ollama docs/api.md; 23 of 23 requests without `stream` in the corpus were answered by one.
"""

from __future__ import annotations

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, text
from .answers import ChatAnswers, EmbedAnswers
from .errors import OllamaErrors
from .usage import OllamaUsage


class _Ollama(OllamaUsage, OllamaErrors):
    ignored: tuple[str, ...] = ("keep_alive",)


class OllamaChat(ChatAnswers, _Ollama):
    name = "ollama-chat"
    tokens: tuple[str, ...] = ("chat", "generate")

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


class OllamaEmbed(EmbedAnswers, _Ollama):
    name = "ollama-embed"
    tokens: tuple[str, ...] = ("embed", "embeddings")

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if not request.path.endswith(("/api/embed", "/api/embeddings")) or not {"input", "prompt"} & wanted.keys():
            return None
        return Call(self, text(wanted.get("model")), False, body, request.host, request.path)
