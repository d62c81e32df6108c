"""Where a message says how many tokens it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base import Protocol


class MessageUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        return message_usage(value)


def message_usage(value: dict[str, Any]) -> Iterable[Any]:
    """`message_start` counts the input, `message_delta` the output so far."""
    message = value.get("message")
    return (message.get("usage") if isinstance(message, dict) else None, value.get("usage"))
