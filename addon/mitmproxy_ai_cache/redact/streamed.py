"""Secrets that a model says piece by piece: each delta of a stream holds a few characters, and none of them the key."""

from __future__ import annotations

import re
from bisect import bisect_right

from .patterns import Pattern
from .search import Hit, find

_PIECE = re.compile(
    rb'"(?:type"\s*:\s*"(?P<type>[\w.]+)"'
    rb"|(?P<name>content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content|response|input|refusal"
    rb'|completion|transcript|output|generation)"\s*:\s*"(?P<value>[^"\\]*+(?:\\.[^"\\]*+)*+)")',
    re.DOTALL,
)
"""The members in which the protocols of `protocols/` send text and tool arguments."""

_LINES = re.compile(rb"\}\r?\n\s*\{")


def find_streamed(data: bytes, extra: tuple[Pattern, ...] = ()) -> list[Hit]:
    """Secrets in the text that the events of a stream spell together. The placeholder stands where the secret began,
    what followed of it is taken out of its pieces. Pieces are told apart by member and type, not by choice."""
    if not _is_stream(data):
        return []
    texts: dict[tuple[bytes, bytes], list[tuple[int, int]]] = {}
    kind = b""
    for match in _PIECE.finditer(data):
        if match["type"] is not None:
            kind = match["type"]
        elif match["value"]:
            texts.setdefault((match["name"], kind), []).append(match.span("value"))
    hits: list[Hit] = []
    for spans in texts.values():
        if len(spans) > 1:
            hits += _across(data, spans, extra)
    return sorted(hits, key=lambda hit: hit.start)


def _is_stream(data: bytes) -> bool:
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"data:", b"event:", b"id:", b":", b"\0\0", b"[")):
        return True
    return start.startswith(b"{") and _LINES.search(data) is not None


def _across(data: bytes, spans: list[tuple[int, int]], extra: tuple[Pattern, ...]) -> list[Hit]:
    text = b"".join(data[start:end] for start, end in spans)
    starts: list[int] = []
    length = 0
    for start, end in spans:
        starts.append(length)
        length += end - start
    hits = []
    for hit in find(text, extra):
        if hit.sealed:
            continue
        first, last = bisect_right(starts, hit.start) - 1, bisect_right(starts, hit.end - 1) - 1
        for piece in range(first, last + 1):
            start, end = spans[piece]
            offset = start - starts[piece]
            begin, stop = max(start, hit.start + offset), min(end, hit.end + offset)
            is_first = piece == first
            hits.append(Hit(begin, stop, hit.replacement if is_first else b"", hit.found if is_first else ()))
    return hits
