"""OpenAI Chat Completions and legacy Completions, Azure OpenAI, and every host that speaks the same."""

from __future__ import annotations

from .answers import NO_DONE_HOSTS
from .calls import OPENAI_KEY_HEADERS, OpenAIChat, OpenAICompletions, openai_call

__all__ = ["NO_DONE_HOSTS", "OPENAI_KEY_HEADERS", "PROTOCOLS", "openai_call"]

PROTOCOLS = (OpenAIChat, OpenAICompletions)
