"""Gemini: generateContent, streamGenerateContent, embeddings, token counts and Interactions."""

from __future__ import annotations

from .calls import GeminiCountTokens, GeminiEmbed, GeminiGenerate, GeminiInteractions

PROTOCOLS = (GeminiGenerate, GeminiEmbed, GeminiCountTokens, GeminiInteractions)
