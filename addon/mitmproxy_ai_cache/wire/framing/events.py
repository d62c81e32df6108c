"""What a captured body is taken apart into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from ..json_body import is_too_complex

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
