"""Which requests are calls of Gemini, on AI Studio or on Vertex."""

from __future__ import annotations

import re
from dataclasses import replace

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, Protocol, text
from .answers import GenerateAnswers, InteractionAnswers, NamedAnswers
from .errors import GeminiErrors
from .usage import GeminiUsage

_MODEL = re.compile(r"/models/([^/:]+)|/(?:endpoints|tunedModels)/([^/:]+)")


class _Gemini(GeminiUsage, GeminiErrors):
    ignored: tuple[str, ...] = ("labels",)


class GeminiGenerate(GenerateAnswers, _Gemini):
    name = "gemini-generate"
    tokens: tuple[str, ...] = ("generateContent", "streamGenerateContent")

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not isinstance(body.object.get("contents"), list | dict | str):
            return None
        return gemini_call(self, request, body, stream=request.path.endswith(":streamGenerateContent"))


class GeminiEmbed(NamedAnswers, _Gemini):
    """embedContent, batchEmbedContents; on Vertex also `:predict` of embedding and image models."""

    name = "gemini-embed"
    tokens: tuple[str, ...] = ("embedContent", "batchEmbedContents", "predict")
    needs: frozenset[str] = frozenset({"content", "requests", "instances"})
    results: tuple[str, ...] = ("embedding", "embeddings", "predictions")

    def recognise(self, request: Request, body: Body) -> Call | None:
        google = request.host.endswith(".googleapis.com") or not request.path.endswith(":predict")
        if not google or ":" not in request.path or not self.needs & body.object.keys():
            return None
        return gemini_call(self, request, body)


class GeminiCountTokens(GeminiEmbed):
    name = "gemini-count-tokens"
    tokens: tuple[str, ...] = ("countTokens", "computeTokens")
    needs: frozenset[str] = frozenset({"contents", "generateContentRequest", "instances"})
    results: tuple[str, ...] = ("totalTokens", "tokensInfo")


class GeminiInteractions(InteractionAnswers, _Gemini):
    """The Interactions API: OpenAI's Responses in Google's words."""

    name = "gemini-interactions"
    tokens: tuple[str, ...] = ("interactions",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if "input" not in wanted or not ({"model", "agent"} & wanted.keys()):
            return None
        call = gemini_call(self, request, body, stream=wanted.get("stream") is True)
        if wanted.get("background") is True:
            return replace(call, bypass="background")
        return call

    def names(self, call: Call) -> str:
        return text(call.body.object.get("previous_interaction_id"))


def gemini_call(protocol: Protocol, request: Request, body: Body, *, stream: bool = False) -> Call:
    match = _MODEL.search(request.path)
    return Call(
        protocol=protocol,
        model=(match[1] or match[2]) if match else text(body.object.get("model")).removeprefix("models/"),
        stream=stream,
        body=body,
        host=request.host,
        path=request.path,
    )
