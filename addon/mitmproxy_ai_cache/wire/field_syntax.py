"""Header fields and statuses that may stand in an answer: what a recording holds must not end it early or frame it."""

from __future__ import annotations

import re
from functools import lru_cache

FINAL = range(200, 600)
"""Statuses of answers. 1xx are not the answer yet (RFC 9110 section 15.2), and no client knows others."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\0\r\n\u0100-\U0010ffff]")
_FOLD = re.compile(r"\r?\n[ \t]+")
_FRAMING = frozenset(
    "connection content-encoding content-length keep-alive proxy-connection trailer transfer-encoding upgrade".split()
)
"""Fields that would contradict the body as it is replayed, or that HTTP/2 forbids."""


def is_value(value: str) -> bool:
    """Whether `value` cannot end before its end (RFC 9110 section 5.5)."""
    return (value.isascii() and value.isprintable()) or not _NO_VALUE.search(value)


@lru_cache(1000)
def is_name(name: str) -> bool:
    """Whether `name` may name a field of a replayed answer."""
    return _NAME.fullmatch(name) is not None and name.lower() not in _FRAMING


def unfolded(value: str) -> str:
    """`value` on one line: some servers still continue a value on the next one (RFC 9112 section 5.2)."""
    return value if value.isprintable() else _FOLD.sub(" ", value)


def problem(name: str, value: str) -> str:
    """Why this field cannot be replayed, in a few words; empty where it can."""
    if not is_value(value):
        return "its value has a line end, a NUL or a character that is not latin-1"
    if name.lower() in _FRAMING:
        return "it would contradict the body"
    return "" if is_name(name) else "this is no name of a header field"
