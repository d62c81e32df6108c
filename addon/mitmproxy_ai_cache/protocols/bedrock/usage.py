"""Where a vendor's own body says how many tokens it took. Converse says it under `usage`, as most do."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ...wire.framing import Event
from ..anthropic_messages.usage import message_usage
from ..base import Protocol, members


class InvokeUsage(Protocol):
    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        inner = value.get("bytes")
        if isinstance(inner, str):
            with suppress(ValueError):
                chunk = Event("", base64.b64decode(inner, validate=True)).object
                return _metrics(chunk)
        return _metrics(value)


def _metrics(value: dict[str, Any]) -> Iterable[Any]:
    """Of a vendor's own body or chunk: what Bedrock counted last, for it counts for every vendor."""
    nova = value.get("metadata")
    yield value
    yield from members(value, "results")
    yield nova.get("usage") if isinstance(nova, dict) else None
    yield from message_usage(value)
    yield value.get("amazon-bedrock-invocationMetrics")
