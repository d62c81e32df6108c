"""What comes to the page: a request, and the door it came in by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from ..wire.messages import Headers

LARGEST = 64 * 1024
"""Bytes of a form."""
_FIELDS = 50


class NotShown(Exception):
    """A visit that gets no page: a status, and one line for the visitor."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, slots=True)
class Door:
    """`host`: the address that listens, or the name that only the proxy knows."""

    host: str
    through_proxy: bool = False
    """Not by the page's own port, which only its operator opens."""
    local: bool = True
    """Whether the visitor is on this machine, and did not go through the proxy to get here."""
    named: bool = False
    """Whether the name it was asked under has been checked."""


@dataclass(frozen=True, slots=True)
class Visit:
    method: str
    path: str
    """Decoded, without the query."""
    door: Door
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Headers = field(default_factory=Headers)
    form: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, method: str, target: str, headers: Headers, body: bytes, door: Door) -> Visit:
        """Raises `NotShown`."""
        path, _, query = target.partition("?")
        if len(body) > LARGEST or len(query) > LARGEST:
            raise NotShown(413, f"This is too long; write at most {LARGEST} bytes.")
        form = body.decode("utf-8", "replace") if method == "POST" else ""
        return cls(method, unquote(path), door, _fields(query), headers, _fields(form))


def _fields(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise NotShown(400, "There are too many fields.") from None
