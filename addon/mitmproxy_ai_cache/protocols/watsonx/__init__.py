"""IBM watsonx text generation."""

from __future__ import annotations

from .calls import WatsonxGeneration

PROTOCOLS = (WatsonxGeneration,)
