"""OpenAI Chat Completions and legacy Completions, Azure OpenAI, and every host that speaks the same."""

from __future__ import annotations

from .calls import OPENAI_KEY_HEADERS, OpenAIChat, OpenAICompletions, openai_call

__all__ = ["OPENAI_KEY_HEADERS", "PROTOCOLS", "openai_call"]

PROTOCOLS = (OpenAIChat, OpenAICompletions)
