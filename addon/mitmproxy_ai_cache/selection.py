"""Which entries are meant: the conditions of `ai-cache rm`, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from .entry import Entry

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_DEPTH = 3
"""How often JSON stands in JSON: a tool's arguments in an answer, and what a tool made of them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries that meet all conditions that are given; None is no condition. Empty strings are conditions too."""

    key: str | None = None
    """The beginning of the key."""
    run: str | None = None
    model: str | None = None
    """A glob."""
    host: str | None = None
    """A glob, for the host of the URL."""
    namespace: str | None = None
    before: float | None = None
    """Unix time: entries older than that."""
    after: float | None = None
    """Unix time: entries from then on."""
    contains: str | None = None
    """Text in the URL, the request or the answer as it was sent; JSON's escapes are seen through."""
    all: bool = False

    @property
    def given(self) -> tuple[str, ...]:
        """The conditions, by name."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) not in (None, False))

    def matches(self, entry: Entry) -> bool:
        """False where nothing was asked for at all."""
        return bool(self.given) and (
            (self.key is None or entry.key.startswith(self.key))
            and (self.run is None or entry.run == self.run)
            and (self.namespace is None or entry.namespace == self.namespace)
            and (self.before is None or entry.created < self.before)
            and (self.after is None or entry.created >= self.after)
            and (self.model is None or fnmatchcase(entry.model, self.model))
            and (self.host is None or fnmatchcase(host_of(entry), self.host.lower()))
            and (self.contains is None or _mentions(entry, self.contains))
        )


EVERYTHING = Selection(all=True)


def host_of(entry: Entry) -> str:
    """Lower case; empty for a URL that has none."""
    try:
        return urlsplit(entry.url).hostname or ""
    except ValueError:
        return ""


def _mentions(entry: Entry, text: str) -> bool:
    if text in entry.url or text in unquote(entry.url):
        return True
    return any(_in_body(body, text) for body in (entry.request, entry.body))


def _in_body(body: bytes, text: str) -> bool:
    said = body.decode("utf-8", "replace")
    for _ in range(_DEPTH):
        if text in said:
            return True
        plain = _unescaped(said)
        if plain == said:
            return False
        said = plain
    return text in said


def _unescaped(said: str) -> str:
    """Without one layer of JSON's escapes, wherever they stand. Characters in two halves become one."""
    plain = _ESCAPE.sub(lambda match: _character(match[1]), said)
    if any("\ud800" <= character <= "\udfff" for character in plain):
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def _character(escaped: str) -> str:
    return chr(int(escaped[1:], 16)) if len(escaped) == 5 else _NAMED.get(escaped, escaped)
