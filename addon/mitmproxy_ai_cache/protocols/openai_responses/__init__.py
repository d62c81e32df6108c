"""OpenAI Responses, also on Azure and compatible hosts."""

from __future__ import annotations

from .calls import OpenAIInputTokens, OpenAIResponses

PROTOCOLS = (OpenAIResponses, OpenAIInputTokens)
