"""Entries without secrets: what may be written to a file, or shown."""

from __future__ import annotations

from dataclasses import replace

from ..entry import Entry
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
