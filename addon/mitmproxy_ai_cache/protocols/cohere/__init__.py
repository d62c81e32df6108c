"""Cohere v1 and v2: chat, generate, embed, rerank."""

from __future__ import annotations

from .calls import CohereChat, CohereEmbed, CohereGenerate, Rerank

PROTOCOLS = (CohereChat, CohereEmbed, CohereGenerate, Rerank)
