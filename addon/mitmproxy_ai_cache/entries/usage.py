"""Tokens as the providers count them, read from their own usage fields; never estimated.

Some count the tokens of their prompt cache within the input (OpenAI, Gemini), some beside it (Anthropic, Bedrock); some
count thoughts within the output, some beside it (Gemini, xAI). Here `input` and `output` are always all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..wire.messages import Headers

_INPUT = (
    "prompt_tokens", "input_tokens", "inputTokens", "total_input_tokens", "promptTokenCount", "prompt_eval_count",
    "inputTokenCount", "inputTextTokenCount", "input_token_count", "num_tokens_prompt_total", "prompt_token_count",
)  # fmt: skip
_TOOL_INPUT = ("toolUsePromptTokenCount", "total_tool_use_tokens")
"""Input that Gemini counts beside the prompt's: what its own tools found."""

_OUTPUT = (
    "completion_tokens", "output_tokens", "outputTokens", "total_output_tokens", "candidatesTokenCount", "eval_count",
    "outputTokenCount", "tokenCount", "generated_token_count", "num_tokens_generated", "generation_token_count",
)  # fmt: skip
_THOUGHTS = ("thoughtsTokenCount", "total_thought_tokens")
"""Output that Gemini counts beside the candidates'."""

_READ_BESIDE = ("cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount")
_WRITE_BESIDE = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount")
"""Input that Anthropic counts beside `input_tokens`, not in it (also on Bedrock). Whoever names the input
`prompt_tokens`, as OpenAI does, counts these in it all the same (Databricks, LiteLLM)."""

_READ_INSIDE = ("prompt_cache_hit_tokens", "cachedContentTokenCount", "total_cached_tokens", "cached_tokens")
_OF_INPUT = ("prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details")
_OF_OUTPUT = ("completion_tokens_details", "output_tokens_details", "output_token_details", "completion_token_details")

_ONLY_TOTAL = "total_tokens"
"""All that embeddings and reranks of some hosts say."""

_HEADERS = (
    "x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count",
    "x-amzn-bedrock-cache-read-input-token-count", "x-amzn-bedrock-cache-write-input-token-count",
)  # fmt: skip


class Usage(NamedTuple):
    """Tokens in and out of one answer; 0 where the provider does not say. All after `output` are parts of these two."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    """Of the input: read from the provider's prompt cache."""
    cache_write: int = 0
    """Of the input: written to it."""
    cache_write_1h: int = 0
    """Of `cache_write`: to be kept for an hour, which costs more."""
    audio_input: int = 0
    audio_output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


NONE = Usage()


@dataclass(slots=True)
class _Found:
    """What was said so far. Streams count up: the last that says something counts, each count for itself."""

    sent: int = 0
    got: int = 0
    read: int = 0
    written: int = 0
    written_1h: int = 0
    audio_sent: int = 0
    audio_got: int = 0
    beside: bool = False
    """Whether `sent` is without what was read from and written to the cache."""

    def take(self, place: dict[str, Any]) -> None:
        sent = _first(place, _INPUT) + _first(place, _TOOL_INPUT)
        got = _first(place, _OUTPUT)
        details, of_output = _inner(place, _OF_INPUT), _inner(place, _OF_OUTPUT)
        thought = _count(of_output, "reasoning_tokens")
        if got and thought and _count(place, _ONLY_TOTAL) == sent + got + thought:
            got += thought  # xAI: only its total shows that they are not in the completion
        got += _first(place, _THOUGHTS)
        if not (sent or got):
            sent = _count(place, _ONLY_TOTAL)
        read, written = _first(place, _READ_BESIDE), _first(place, _WRITE_BESIDE)
        if read or written:
            self.beside = "prompt_tokens" not in place or read + written > sent
        else:
            read = _count(details, "cached_tokens") or _first(place, _READ_INSIDE)
            written = _count(details, "cache_write_tokens")
            self.beside = self.beside and not (read or written)
        self.sent, self.got = sent or self.sent, got or self.got
        self.read, self.written = read or self.read, written or self.written
        self.written_1h = _kept_an_hour(place) or self.written_1h
        self.audio_sent = _count(details, "audio_tokens") or _modality(place, "promptTokensDetails") or self.audio_sent
        self.audio_got = (
            _count(of_output, "audio_tokens") or _modality(place, "candidatesTokensDetails") or self.audio_got
        )

    def usage(self) -> Usage:
        """No part is larger than what it is a part of, whatever a stranger counted."""
        sent = self.sent + (self.read + self.written if self.beside else 0)
        read = min(self.read, sent)
        written = min(self.written, sent - read)
        audio = min(self.audio_sent, sent - read - written)
        return Usage(sent, self.got, read, written, min(self.written_1h, written), audio, min(self.audio_got, self.got))


def read(places: Iterable[Any]) -> Usage:
    """The usage in `places`, objects in the order they came."""
    found = _Found()
    for place in places:
        if isinstance(place, dict):
            found.take(place)
    return found.usage()


def from_headers(headers: Headers) -> Usage:
    """What Bedrock says of models whose bodies say nothing: Cohere, Llama, Mistral."""
    counts = (headers.get(name) for name in _HEADERS)
    sent, got, read, written = (int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else 0
                                for text in counts)  # fmt: skip
    return Usage(sent + read + written, got, read, written)


def _first(place: dict[str, Any], names: tuple[str, ...]) -> int:
    return next((count for name in names if (count := _count(place, name))), 0)


def _inner(place: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return next((inner for name in names if isinstance(inner := place.get(name), dict)), {})


def _modality(place: dict[str, Any], name: str) -> int:
    """Gemini's tokens of sound."""
    items = place.get(name)
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return sum(_count(item, "tokenCount") for item in found if item.get("modality") == "AUDIO")


def _kept_an_hour(place: dict[str, Any]) -> int:
    """Anthropic's name for it, and Bedrock's."""
    items = place.get("cacheDetails")
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return _count(_inner(place, ("cache_creation",)), "ephemeral_1h_input_tokens") or sum(
        _count(item, "inputTokens") for item in found if item.get("ttl") == "1h"
    )


def _count(place: dict[str, Any], name: str) -> int:
    value = place.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Titan and Cohere write 3.0
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else 0
