"""Where a response says how many tokens it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class ResponseUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        response = value.get("response")
        return (value.get("usage"), response.get("usage") if isinstance(response, dict) else None)
