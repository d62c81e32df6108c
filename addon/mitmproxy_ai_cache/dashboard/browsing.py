"""The list of entries: a query -> conditions, and a page of what meets them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from .. import conversation
from ..entries.entry import Entry
from ..entries.selection import Selection, host_of
from ..redact.entries import hidden_question
from ..stores.pages import Page
from ..wire import units

ON_A_PAGE = 50
_READ = 300_000
"""Bytes of a request whose question is shown in the list: most of those of agents. It takes 2 ms for 100 kB."""
FIELDS = ("text", "model", "host", "newer", "older", "run", "namespace")

_KEY = re.compile(r"[0-9a-f]{6,64}(-\d{0,9})?")


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the list."""

    key: str
    created: float
    protocol: str
    model: str
    host: str
    status: int
    stream: bool
    tokens: int
    size: int
    namespace: str
    asked: str
    """The beginning of the question, where it is found quickly."""


def selection_of(query: Mapping[str, str], now: float) -> tuple[Selection, str]:
    """The conditions of a search, and what is wrong with them in one line. A text that looks like a key is one."""
    text = query.get("text", "").strip()
    complaint = ""
    times: dict[str, float | None] = {}
    for name in ("newer", "older"):
        try:
            times[name] = now - units.duration(query[name]) if query.get(name) else None
        except ValueError as error:
            times[name], complaint = None, f"{name.capitalize()} than: {error}."
    is_key = _KEY.fullmatch(text) is not None
    return Selection(
        key=text if is_key else None,
        run=query.get("run") or None,
        model=_glob(query.get("model", "")),
        host=_glob(query.get("host", "").lower()),
        namespace=query.get("namespace") or None,
        before=times["older"],
        after=times["newer"],
        contains=text if text and not is_key else None,
    ), complaint


def _glob(text: str) -> str | None:
    """A word without stars may stand anywhere in the name."""
    text = text.strip()
    if not text:
        return None
    return text if any(special in text for special in "*?[") else f"*{text}*"


def listed(entry: Entry) -> Listed:
    """Takes a millisecond or two: for a thread, where there are many."""
    return Listed(
        entry.key,
        entry.created,
        entry.protocol,
        entry.model,
        host_of(entry),
        entry.status,
        entry.stream,
        entry.usage.total,
        len(entry.request) + len(entry.body),
        entry.namespace,
        _asked(entry),
    )


def _asked(entry: Entry) -> str:
    size = len(entry.request)
    if size > _READ:
        return f"(a request of {units.human_size(size)})"
    return conversation.question(hidden_question(entry))


def next_link(query: Mapping[str, str], page: Page) -> str:
    """The query of the page behind `page`, or nothing."""
    if not page.next:
        return ""
    return urlencode({name: query[name] for name in FIELDS if query.get(name)} | {"after": page.next})
