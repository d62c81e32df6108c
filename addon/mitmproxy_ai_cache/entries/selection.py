"""Which entries are meant: the conditions of `ai-cache rm`, as a value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from .entry import Entry
from .search_text import SearchText


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
        return tuple(name for name in _CONDITIONS if getattr(self, name) not in (None, False))

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


_CONDITIONS = tuple(field.name for field in fields(Selection))
EVERYTHING = Selection(all=True)


def host_of(entry: Entry) -> str:
    """Lower case; empty for a URL that has none."""
    return host_in(entry.url)


@lru_cache(maxsize=1024)
def host_in(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def in_url(url: str, text: str) -> bool:
    return text in url or ("%" in url and text in unquote(url))


@lru_cache(maxsize=16)
def search_text(text: str) -> SearchText:
    return SearchText(text)


def _mentions(entry: Entry, text: str) -> bool:
    return in_url(entry.url, text) or any(search_text(text).is_in(body) for body in (entry.request, entry.body))
