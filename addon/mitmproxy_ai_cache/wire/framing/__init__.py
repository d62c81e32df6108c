"""Captured bodies into their events or frames. Bytes in, values out; nothing is parsed while chunks pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from ..json_body import is_too_complex

FORMATS = ("json", "sse", "eventstream", "ndjson", "json-array", "raw")
"""The tags an entry may carry."""

_BY_TYPE = {
    "text/event-stream": "sse",
    "application/vnd.amazon.eventstream": "eventstream",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/stream+json": "ndjson",
}

_UNPARSED: Any = object()


def load(data: bytes) -> Any:
    """The JSON value of `data`. Raises ValueError, also for what is nested into more pieces than any answer."""
    if is_too_complex(data):
        raise ValueError("too many arrays and objects")
    return orjson.loads(data)


@dataclass(slots=True)
class Event:
    """One event, frame, line or array element: its name (`event:`, `:event-type`) and its data."""

    name: str
    data: bytes
    _value: Any = field(default=_UNPARSED, repr=False)

    @property
    def value(self) -> Any:
        """The data as JSON, or None where it is none."""
        if self._value is _UNPARSED:
            try:
                self._value = load(self.data) if self.data else None
            except ValueError:
                self._value = None
        return self._value

    @property
    def object(self) -> dict[str, Any]:
        """The data as a JSON object; empty where it is something else."""
        return self.value if isinstance(self.value, dict) else {}


@dataclass(frozen=True, slots=True)
class Stream:
    """The complete events of a body. `at_boundary` is false where bytes of an unfinished event follow them."""

    events: list[Event]
    at_boundary: bool = True
    broken: bool = False
    """A frame contradicts itself: a wrong checksum, a line that is no JSON."""


def tag_of(content_type: str, body: bytes) -> str:
    """The format tag by media type; by a look at the body where the provider named none."""
    media = content_type.partition(";")[0].strip().lower()
    if media in _BY_TYPE:
        return _BY_TYPE[media]
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if "/" in media:
        return "raw"
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"data:", b"event:", b"id:", b":")):
        return "sse"
    if start.startswith((b"{", b"[")):
        return "json"
    if body[:2] == b"\0\0" and b":event-type" in body[:256]:
        return "eventstream"
    return "raw"
