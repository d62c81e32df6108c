"""Hugging Face text generation (TGI)."""

from __future__ import annotations

from .calls import HuggingFaceGeneration

PROTOCOLS = (HuggingFaceGeneration,)
