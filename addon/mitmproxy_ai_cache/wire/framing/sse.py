"""Server-sent events, WHATWG HTML section 9.2.6 (interpreting an event stream)."""

from __future__ import annotations

from .events import Event, Stream
from .table import Framing


def parse(body: bytes) -> Stream:
    """All events whose blank line has arrived. LF, CRLF and CR end lines; comments and unknown fields are skipped."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if body.endswith(b"\r") and b"\n" in body:
        body = body[:-1]  # half of a CRLF: the line has not ended yet
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = body.split(b"\n")
    unfinished = lines.pop()
    events: list[Event] = []
    name = b""
    data: list[bytes] = []
    pending = False
    for line in lines:
        if not line:
            if data:
                events.append(Event(name.decode("utf-8", "replace"), b"\n".join(data)))
            name, data, pending = b"", [], False
            continue
        pending = True
        label, _, value = line.partition(b":")
        if label == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        elif label == b"event":
            name = value[1:] if value[:1] == b" " else value
    return Stream(events, at_boundary=not unfinished and not pending)


def _begins(body: bytes) -> bool:
    return body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"data:", b"event:", b"id:", b":"))


FRAMING = Framing("sse", parse, ("text/event-stream",), _begins)
