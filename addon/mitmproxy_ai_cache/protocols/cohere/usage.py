"""Where Cohere says how many tokens an answer took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class CohereUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        """v2 puts it under `usage`, v1 under `meta`, streams into their last event. What is billed counts."""
        for holder in (value, value.get("response"), value.get("delta")):
            if isinstance(holder, dict):
                for place in (holder.get("usage"), holder.get("meta")):
                    if isinstance(place, dict):
                        yield place.get("tokens") or place
                        yield place.get("billed_units")
