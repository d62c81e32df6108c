"""Other readings of bytes, with the way back: JSON escapes undone once, percent-encoding undone once.

A secret may be written `sk\\u002dproj\\u002d...` or `AccountKey%3D...`. It is looked for in the reading, and replaced
where it stands in the original: what surrounds it keeps every byte.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

_HIDING = rb"(?:2[bdefBDEF]|3[0-9adAD]|40|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
"""Hex of the characters that keys and the signs around them are made of; `<`, `>`, `&` and quotes hide nothing."""

_ESCAPES_MATTER = re.compile(rb"\\(?:u00" + _HIDING + rb"|/)")
_PERCENT_MATTERS = re.compile(rb"%(?:" + _HIDING + rb"|20|22)")
_ESCAPE = re.compile(rb'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True, slots=True)
class View:
    """`data` is the reading; piece i of it begins at `here[i]`, and at `there[i]` in the original."""

    data: bytes
    here: list[int]
    there: list[int]
    escaped: Callable[[bytes], bytes]
    """How bytes that are put into the original are written there."""

    def back(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that the span of `data` was read from; escapes are never cut."""
        first = bisect_right(self.here, start) - 1
        last = bisect_right(self.here, end - 1) - 1
        # Odd pieces are escapes: one character here, several there.
        begin = self.there[first] if first % 2 else self.there[first] + start - self.here[first]
        finish = self.there[last + 1] if last % 2 else self.there[last] + end - self.here[last]
        return begin, finish


def views(data: bytes) -> list[View]:
    """The readings of `data` in which a secret may show that `data` hides; mostly none."""
    found = []
    if b"\\" in data and _ESCAPES_MATTER.search(data):
        found.append(_read(data, _ESCAPE, _unescaped, _json_escaped))
    if b"%" in data and _PERCENT_MATTERS.search(data):
        found.append(_read(data, _PERCENT, lambda match: bytes([int(match[1], 16)]), _percent_encoded))
    return found


def _read(
    data: bytes,
    pattern: re.Pattern[bytes],
    meaning: Callable[[re.Match[bytes]], bytes],
    escaped: Callable[[bytes], bytes],
) -> View:
    pieces: list[bytes] = []
    here, there = [0], [0]
    at = length = 0
    for match in pattern.finditer(data):
        pieces += (data[at : match.start()], meaning(match))
        length += match.start() - at
        at = match.end()
        here += (length, length + 1)
        there += (match.start(), at)
        length += 1
    pieces.append(data[at:])
    return View(b"".join(pieces), here, there, escaped)


def _unescaped(match: re.Match[bytes]) -> bytes:
    """One byte, always: what is not ASCII is part of no secret."""
    if match[1]:
        code = int(match[1], 16)
        return bytes([code]) if code < 0x80 else b"?"
    return _CONTROL.get(match[2], match[2])


def _json_escaped(data: bytes) -> bytes:
    return data.replace(b"\r", b"\\r").replace(b"\n", b"\\n")


def _percent_encoded(data: bytes) -> bytes:
    return quote_from_bytes(data, safe="").encode()
