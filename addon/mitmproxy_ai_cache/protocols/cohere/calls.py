"""Which requests are calls of Cohere, or of Voyage's and Jina's rerank, which have the same shape."""

from __future__ import annotations

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, Protocol, text
from .answers import ChatAnswers, GenerateAnswers, ListedAnswers
from .errors import CohereErrors
from .usage import CohereUsage


class CohereChat(ChatAnswers, CohereUsage, CohereErrors):
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


class _Listed(CohereUsage, CohereErrors):
    """Calls that are answered by one JSON object with a list of results."""

    paths: tuple[str, ...]
    needs: frozenset[str]
    """Members of the body, of which one must be there."""

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(self.paths) or not self.needs & body.object.keys():
            return None
        return cohere_call(self, request, body)


class CohereEmbed(ListedAnswers, _Listed):
    name = "cohere-embed"
    tokens: tuple[str, ...] = ("embed",)
    paths: tuple[str, ...] = ("/v1/embed", "/v2/embed")
    needs: frozenset[str] = frozenset({"texts", "images", "inputs"})
    results: tuple[str, ...] = ("embeddings",)


class CohereGenerate(GenerateAnswers, _Listed):
    name = "cohere-generate"
    tokens: tuple[str, ...] = ("generate",)
    paths: tuple[str, ...] = ("/v1/generate",)
    needs: frozenset[str] = frozenset({"prompt"})
    results: tuple[str, ...] = ("generations",)


class Rerank(ListedAnswers, _Listed):
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
