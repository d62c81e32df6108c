"""Anthropic Messages, direct and on Vertex, count_tokens, and the legacy Text Completions."""

from __future__ import annotations

from .calls import AnthropicComplete, AnthropicCountTokens, AnthropicMessages

PROTOCOLS = (AnthropicCountTokens, AnthropicMessages, AnthropicComplete)
