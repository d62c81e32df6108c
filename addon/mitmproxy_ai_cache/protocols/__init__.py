"""The registry of wire protocols. Adding one is a file and a line in `standard`."""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.body import Body
from ..wire.messages import Request
from .anthropic_messages import AnthropicComplete, AnthropicCountTokens, AnthropicMessages
from .anything import Anything
from .base import ANYWHERE, Call, Protocol
from .bedrock import BedrockConverse, BedrockGuardrail, BedrockInvoke
from .cohere import CohereChat, CohereGenerate, CohereResults, Rerank
from .gemini import GeminiCountTokens, GeminiEmbed, GeminiGenerate, GeminiInteractions
from .ollama import OllamaChat, OllamaEmbed
from .openai_chat import OpenAIChat, OpenAICompletions
from .openai_media import OpenAIEmbeddings, OpenAIImages, OpenAIModerations, OpenAISpeech, OpenAITranscription
from .openai_responses import OpenAIInputTokens, OpenAIResponses
from .providers import hosts_without_done
from .text_generation import AlephAlphaComplete, HuggingFaceGeneration, WatsonxGeneration

ANYTHING = Anything()


class Registry:
    """Finds the protocol of a request by the last word of its path, then by its body."""

    def __init__(self, protocols: Iterable[Protocol]) -> None:
        self.protocols = tuple(protocols)
        self._by_token: dict[str, list[Protocol]] = {}
        for protocol in self.protocols:
            for token in protocol.tokens:
                self._by_token.setdefault(token, []).append(protocol)

    def may_be_call(self, method: str, path: str) -> bool:
        """Whether the head alone looks like a call. Known before there is a body."""
        return method == "POST" and _token(path) in self._by_token

    def recognise(self, request: Request, body: Body) -> Call | None:
        """The call `request` is, or None: not an AI call, or none we understand."""
        if request.method != "POST":
            return None
        candidates = (*self._by_token.get(_token(request.path), ()), *self._by_token.get(ANYWHERE, ()))
        for protocol in candidates:
            call: Call | None = protocol.recognise(request, body)
            if call:
                return call
        return None


def standard(no_done_hosts: Iterable[str] = ()) -> Registry:
    """All protocols. `no_done_hosts`: more hosts (globs) that never send `data: [DONE]`."""
    hosts = (*hosts_without_done(), *no_done_hosts)
    return Registry(
        [
            OpenAIChat(hosts),
            OpenAICompletions(hosts),
            OpenAIResponses(),
            OpenAIInputTokens(),
            OpenAIEmbeddings(),
            OpenAIModerations(),
            OpenAIImages(),
            OpenAISpeech(),
            OpenAITranscription(),
            AnthropicCountTokens(),
            AnthropicMessages(),
            AnthropicComplete(),
            BedrockConverse(),
            BedrockInvoke(),
            BedrockGuardrail(),
            GeminiGenerate(),
            GeminiEmbed(),
            GeminiCountTokens(),
            GeminiInteractions(),
            CohereChat(),
            CohereResults(),
            CohereGenerate(),
            Rerank(),
            OllamaChat(),
            OllamaEmbed(),
            HuggingFaceGeneration(),
            WatsonxGeneration(),
            AlephAlphaComplete(),
        ]
    )


def _token(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]
