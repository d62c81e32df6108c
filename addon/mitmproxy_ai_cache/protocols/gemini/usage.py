"""Where Gemini says how many tokens an answer took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class GeminiUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        interaction = value.get("interaction")
        return (
            value.get("usageMetadata"),
            value.get("usage"),
            interaction.get("usage") if isinstance(interaction, dict) else None,
        )
