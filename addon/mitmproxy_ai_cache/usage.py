"""Tokens as the providers count them, read from their own usage fields; never estimated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

_INPUT = (
    "prompt_tokens", "input_tokens", "inputTokens", "total_input_tokens", "promptTokenCount", "prompt_eval_count",
    "inputTokenCount", "inputTextTokenCount", "input_token_count", "num_tokens_prompt_total",
)  # fmt: skip
_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")
"""Input that Anthropic counts beside `input_tokens`, not in it (also on Bedrock)."""

_OUTPUT = (
    "completion_tokens", "output_tokens", "outputTokens", "total_output_tokens", "candidatesTokenCount", "eval_count",
    "outputTokenCount", "tokenCount", "generated_token_count", "num_tokens_generated",
)  # fmt: skip
_THOUGHTS = ("thoughtsTokenCount", "total_thought_tokens")
"""Output that Gemini counts beside the candidates'."""

_ONLY_TOTAL = "total_tokens"
"""All that embeddings and reranks of some hosts say."""


class Usage(NamedTuple):
    """Tokens in and out of one answer; 0 where the provider does not say."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


NONE = Usage()


def read(places: Iterable[Any]) -> Usage:
    """The usage in `places`, objects in the order they came. Streams count up: the last that says something counts."""
    found = NONE
    for place in places:
        if isinstance(place, dict):
            sent = _first(place, _INPUT) + sum(_count(place, name) for name in _CACHED)
            got = _first(place, _OUTPUT) + sum(_count(place, name) for name in _THOUGHTS)
            if not (sent or got):
                sent = _count(place, _ONLY_TOTAL)
            found = Usage(sent or found.input, got or found.output)
    return found


def _first(place: dict[str, Any], names: tuple[str, ...]) -> int:
    return next((count for name in names if (count := _count(place, name))), 0)


def _count(place: dict[str, Any], name: str) -> int:
    value = place.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Titan and Cohere write 3.0
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else 0
