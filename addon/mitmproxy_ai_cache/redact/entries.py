"""Entries without secrets: what may be written to a file, or shown."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import Any

from ..entries.entry import Entry
from .body import redact
from .http import redact_fields, redact_url
from .patterns import Pattern


def hidden(entry: Entry, patterns: tuple[Pattern, ...] = ()) -> Entry:
    """`entry` with placeholders for the secrets in its request and its answer. What holds none comes back as the very
    same object."""
    request = hidden_request(entry, patterns)
    body = redact(entry.body, patterns)
    headers, found = redact_fields(entry.headers, patterns)
    if found or body.data is not entry.body:
        return replace(request, body=body.data, headers=headers, redacted=True)
    return request


def hidden_request(entry: Entry, patterns: tuple[Pattern, ...] = ()) -> Entry:
    """The same for its request alone."""
    url = redact_url(entry.url, patterns).text
    headers, found = redact_fields(entry.request_headers, patterns)
    body = redact(entry.request, patterns).data
    if url == entry.url and not found and body is entry.request:
        return entry
    return replace(entry, url=url, request_headers=headers, request=body, redacted=True)


_WHOLE = 64 << 10
"""Bytes of a request that is searched as a whole for the sake of the line that shows it."""


def hidden_question(entry: Entry) -> Entry:
    """`entry` without its answer, for a list that shows what was asked."""
    slim = replace(entry, body=b"", headers=())
    return hidden_request(slim) if len(entry.request) <= _WHOLE else slim


def hidden_text(text: str) -> str:
    """A text as it may be shown."""
    data = text.encode("utf-8", "surrogatepass")
    redacted = redact(data).data
    return text if redacted is data else redacted.decode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=256)
def hidden_url(url: str) -> str:
    """A URL as it may be shown; the same few come again and again."""
    return redact_url(url).text


def hidden_value(value: Any, name: str = "") -> Any:
    """A value of JSON as it may be shown. `name` is the member it is the value of."""
    data = json.dumps({name: value}, default=str).encode()
    redacted = redact(data).data
    if redacted is data:
        return value
    try:
        return next(iter(json.loads(redacted).values()))
    except ValueError:
        return "REDACTED"
