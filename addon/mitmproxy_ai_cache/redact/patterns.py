"""What users add: `NAME=REGEX`; and the placeholder that stands for a secret of a kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PLACEHOLDER = re.compile(rb"REDACTED-[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def placeholder(kind: str) -> bytes:
    """Depends on the kind alone: two machines with two keys send the same request. Safe in JSON, URLs and headers."""
    return b"REDACTED-" + kind.encode()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression over bytes. The secret is its first group, or all of it where it has none."""

    kind: str
    regex: re.Pattern[bytes]

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where the secrets stand, never over a quote or half an escape: what was JSON stays it."""
        held = [match.span() for match in _PLACEHOLDER.finditer(data)]
        for match in self.regex.finditer(data):
            start, end = _fitted(data, *match.span(1 if self.regex.groups else 0))
            if start < end and not any(start < stop and begin < end for begin, stop in held):
                yield start, end


def parse_pattern(text: str) -> Pattern:
    """`NAME=REGEX`. Raises ValueError with one line that says what to write."""
    name, separator, source = text.partition("=")
    try:
        if not (separator and source and _NAME.fullmatch(name)):
            raise re.error("no NAME, or one with other signs than a-z, 0-9 and dashes")
        regex = re.compile(source.encode("utf-8"))
        if regex.search(b""):
            raise re.error("it matches nothing at all, so everywhere")
        if regex.search(placeholder(name)):
            raise re.error("it matches its own placeholder, REDACTED-" + name)
    except re.error as error:
        raise ValueError(
            f"ai_cache_redact has {text!r} ({error}); write NAME=REGEX, for example employee=EMP-[0-9]{{6}}"
        ) from None
    return Pattern(name, regex)


_ESCAPE_BEFORE = re.compile(rb"(?<!\\)(?:\\\\)*\\\Z")
_HALF_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_BARE_BEFORE, _BARE_AFTER = re.compile(rb"[:,\[]\s*\Z"), re.compile(rb"\s*[,\]}]")
_QUOTE = re.compile(rb'\\.|(")', re.DOTALL)


def _fitted(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The part of a match that can be replaced without breaking the string it stands in."""
    while start < end and data[start] in b"\"'":
        start += 1
    if start < end and _ESCAPE_BEFORE.search(data, max(0, start - 16), start):
        start += 5 if data[start] == 0x75 else 1
    quote = data.find(b'"', start, end)
    if quote >= 0:
        end = quote
    if half := _HALF_ESCAPE.search(data, start, end):
        end = half.start(1)
    return start, max(start, end)


def is_json_number(data: bytes, start: int, end: int) -> bool:
    """Whether the span is a whole number of a JSON text, so that its placeholder needs quotes. Strings of JSON hold no
    line ends, so the quotes of the line tell within from without."""
    if not _NUMBER.fullmatch(data, start, end) or not _BARE_AFTER.match(data, end):
        return False
    line = data.rfind(b"\n", 0, start) + 1
    if not _BARE_BEFORE.search(data, max(0, start - 16), start):
        return False
    return sum(1 for match in _QUOTE.finditer(data, line, start) if match[1]) % 2 == 0
