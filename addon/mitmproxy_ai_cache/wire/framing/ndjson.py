"""Newline-delimited JSON (Ollama, Cohere v1)."""

from __future__ import annotations

from .events import Event, Stream
from .table import Framing


def parse(body: bytes) -> Stream:
    """All complete lines. A last line without its newline counts where it is a whole JSON object."""
    *lines, rest = body.split(b"\n")
    events = [Event("", line) for line in lines if line.strip()]
    broken = any(event.value is None for event in events)
    at_boundary = not rest.strip()
    if not at_boundary:
        last = Event("", rest)
        if last.object:
            events.append(last)
            at_boundary = True
    return Stream(events, at_boundary=at_boundary, broken=broken)


FRAMING = Framing(
    "ndjson", parse, ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json")
)
