"""Where Ollama says how many tokens an answer took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class OllamaUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        return (value,)
