"""Which requests are calls of Anthropic Messages, direct or on Vertex, of count_tokens, of the legacy completions."""

from __future__ import annotations

import re

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, Protocol, text
from .answers import CompleteAnswers, CountAnswers, MessageAnswers
from .errors import AnthropicErrors
from .usage import MessageUsage

_VERTEX_MODEL = re.compile(r"/models/([^/:]+)")


class _Anthropic(MessageUsage, AnthropicErrors):
    ignored: tuple[str, ...] = ("metadata",)
    key_headers: frozenset[str] = frozenset({"anthropic-version", "anthropic-beta"})


class AnthropicMessages(MessageAnswers, _Anthropic):
    name = "anthropic-messages"
    tokens: tuple[str, ...] = ("messages", "rawPredict", "streamRawPredict")

    def recognise(self, request: Request, body: Body) -> Call | None:
        vertex = "/publishers/anthropic/" in request.path or "anthropic_version" in body.object
        if not (vertex or request.path.endswith("/v1/messages")) or not isinstance(body.object.get("messages"), list):
            return None
        if not vertex and "max_tokens" not in body.object and "anthropic-version" not in request.headers:
            return None  # a thread's messages, a chat application's own API
        return anthropic_call(self, request, body)


class AnthropicCountTokens(CountAnswers, _Anthropic):
    name = "anthropic-count-tokens"
    tokens: tuple[str, ...] = ("count_tokens", "rawPredict")

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(("/messages/count_tokens", "/count-tokens:rawPredict")) or not body.object:
            return None
        return anthropic_call(self, request, body)


class AnthropicComplete(CompleteAnswers, _Anthropic):
    """The legacy Text Completions API."""

    name = "anthropic-complete"
    tokens: tuple[str, ...] = ("complete",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith("/v1/complete") or "max_tokens_to_sample" not in body.object:
            return None
        return anthropic_call(self, request, body)


def anthropic_call(protocol: Protocol, request: Request, body: Body) -> Call:
    named = _VERTEX_MODEL.search(request.path)
    return Call(
        protocol=protocol,
        model=text(body.object.get("model")) or (named[1] if named else ""),
        stream=body.object.get("stream") is True or request.path.endswith(":streamRawPredict"),
        body=body,
        host=request.host,
        path=request.path,
    )
