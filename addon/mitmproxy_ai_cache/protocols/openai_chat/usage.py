"""Where a completion says how many tokens it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class CompletionUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        groq = value.get("x_groq")  # its own name in streams
        return (groq.get("usage") if isinstance(groq, dict) else None, value.get("usage"))
