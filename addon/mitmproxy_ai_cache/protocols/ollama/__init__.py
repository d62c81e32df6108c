"""Ollama's native API: chat, generate, embed."""

from __future__ import annotations

from .calls import OllamaChat, OllamaEmbed

PROTOCOLS = (OllamaChat, OllamaEmbed)
