"""A stream that is one JSON array (Gemini without `alt=sse`): whole only once the array closes."""

from __future__ import annotations

from .events import Event, Stream, load
from .table import Framing


def parse(body: bytes) -> Stream:
    try:
        value = load(body)
    except ValueError:
        return Stream([], at_boundary=False)
    if not isinstance(value, list):
        return Stream([], at_boundary=True, broken=True)
    return Stream([Event("", b"", item) for item in value])


FRAMING = Framing("json-array", parse, is_json=True)
"""It has no content type of its own: a call for a stream that is answered by a list of JSON is one."""
