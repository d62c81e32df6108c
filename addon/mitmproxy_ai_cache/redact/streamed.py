"""Secrets that a model says piece by piece: each delta of a stream holds a few characters, and none of them the key.

Log probabilities spell every token once more, also in an answer that is no stream.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator

from .patterns import Pattern
from .search import Hit, find

_STRING = rb'"(?:[^"\\]*+(?:\\.[^"\\]*+)*+)"'
_TEXT = (
    rb'"(?:type"\s*:\s*"(?P<type>[\w.]+)"'
    rb"|(?P<name>content|text|delta|arguments|partial_json|thinking|reasoning|reasoning_content|response|input|refusal"
    rb'|completion|transcript|output|generation|token)"\s*:\s*"(?P<value>[^"\\]*+(?:\\.[^"\\]*+)*+)"'
)
_INDEX = rb"(?:index|output_index|content_index|contentBlockIndex|summary_index)"
_PIECE = re.compile(_TEXT + rb")", re.DOTALL)
"""The members in which the protocols of `protocols/` send text and tool arguments."""
_PIECE_OR_PLACE = re.compile(
    _TEXT + rb"|" + _INDEX + rb'"\s*:\s*(?P<index>[0-9]+))'
    rb"|\n(?P<edge>(?=data:|event:|id:|:|\{|,|\]|\r?\n))|(?P<frame>\x00\x00)",
    re.DOTALL,
)
"""The same with what tells choices and calls apart, and where an event ends."""
_SEVERAL = re.compile(rb'ndex"\s*:\s*[1-9]')

_LINES = re.compile(rb"\}\r?\n\s*\{")
_ARRAY = rb"\[(?:[^\[\]\"]|" + _STRING + rb"|\[[^\[\]]*\])*+\]"
_ALTERNATIVES = re.compile(rb'"top_logprobs"\s*:\s*(' + _ARRAY + rb")", re.DOTALL)
_NEXT_MEMBER = re.compile(
    rb'\s*,\s*"(?P<name>\w+)"\s*:\s*(?P<value>' + _ARRAY + rb"|" + _STRING + rb"|[\w.+-]+)", re.DOTALL
)

Group = tuple[bytes, ...]
_Span = tuple[int, int]
_Counts = Callable[[bytes, int], bool]
"""Whether a member at an offset is a piece of a text."""


def find_streamed(data: bytes, extra: tuple[Pattern, ...] = ()) -> list[Hit]:
    """Secrets in the text that the events of a stream, or log probabilities, spell together. The placeholder stands
    where the secret began, what followed of it is taken out of its pieces."""
    streamed = _is_stream(data)
    spelled = b'"logprob"' in data
    if not (streamed or spelled):
        return []
    alternatives = [match.span(1) for match in _ALTERNATIVES.finditer(data)] if spelled else []

    def counts(name: bytes, start: int) -> bool:
        if name != b"token":
            return streamed
        place = bisect_right(begins, start) - 1
        return spelled and not (place >= 0 and start < alternatives[place][1])

    begins = [start for start, _ in alternatives]
    hits = _in_texts(data, _apart(data, counts), extra) if _SEVERAL.search(data) else []
    return sorted(hits or _in_texts(data, _together(data, counts), extra), key=lambda hit: hit.start)


def _in_texts(data: bytes, texts: dict[Group, list[_Span]], extra: tuple[Pattern, ...]) -> list[Hit]:
    hits: list[Hit] = []
    for group, spans in texts.items():
        if len(spans) > 1:
            found = _across(data, spans, extra)
            hits += found
            if group[0] == b"token":
                hits += _beside(data, found)
    return hits


def _together(data: bytes, counts: _Counts) -> dict[Group, list[_Span]]:
    """Where the pieces of each text stand, told apart by member and type."""
    texts: dict[Group, list[_Span]] = {}
    kind = b""
    for match in _PIECE.finditer(data):
        if match["type"] is not None:
            kind = match["type"]
        elif match["value"] and counts(match["name"], match.start()):
            texts.setdefault((match["name"], kind), []).append(match.span("value"))
    return texts


def _apart(data: bytes, counts: _Counts) -> dict[Group, list[_Span]]:
    """The same, told apart by choice and call as well, which may take turns."""
    texts: dict[Group, list[_Span]] = {}
    pieces: list[tuple[bytes, bytes, _Span]] = []
    indexes: list[bytes] = []
    kind = b""

    def end_event() -> None:
        counted: Counter[bytes] = Counter()
        for name, of, span in pieces:
            place = b"" if name == b"token" else b"%d" % counted[name]
            counted[name] += 1
            texts.setdefault((name, of, place, *indexes), []).append(span)
        pieces.clear()
        indexes.clear()

    for match in _PIECE_OR_PLACE.finditer(data):
        what = match.lastgroup
        if what == "type":
            kind = match["type"]
        elif what == "value":
            if match["value"] and counts(match["name"], match.start()):
                pieces.append((match["name"], kind, match.span("value")))
        elif what == "index":
            indexes.append(match["index"])
        elif pieces or indexes:
            end_event()
    end_event()
    return texts


def _is_stream(data: bytes) -> bool:
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"data:", b"event:", b"id:", b":", b"\0\0", b"[")):
        return True
    return start.startswith(b"{") and _LINES.search(data) is not None


def _across(data: bytes, spans: list[_Span], extra: tuple[Pattern, ...]) -> list[Hit]:
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


def _beside(data: bytes, hits: list[Hit]) -> Iterator[Hit]:
    """What spells a token once more beside it: its bytes, and the tokens that were less likely."""
    for hit in hits:
        at = data.find(b'"', hit.end) + 1
        while at and (member := _NEXT_MEMBER.match(data, at)):
            start, end = member.span("value")
            if member["name"] in (b"bytes", b"top_logprobs") and data[start : start + 1] == b"[" and end - start > 2:
                yield Hit(start, end, b"[]", ())
            at = member.end()
