"""A stream that is one JSON array (Gemini without `alt=sse`): whole only once the array closes."""

from __future__ import annotations

from . import Event, Stream, load


def parse(body: bytes) -> Stream:
    try:
        value = load(body)
    except ValueError:
        return Stream([], at_boundary=False)
    if not isinstance(value, list):
        return Stream([], at_boundary=True, broken=True)
    return Stream([Event("", b"", item) for item in value])
