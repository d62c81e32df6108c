"""Entry -> response, and the headers that say where an answer came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..entries.entry import Entry, short_key
from ..protocols.providers import answer_headers
from ..wire import our_headers
from ..wire.field_syntax import is_value, unfolded
from ..wire.messages import Headers, Response
from .reasons import Status

_KEPT = frozenset(
    """
    content-type content-language content-disposition location x-request-id request-id cf-ray x-should-retry
    """.split()
)
"""What SDKs show to their users or need, beside the providers' own. Never hop-by-hop fields, cookies, dates, rate
limits."""


def kept_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The fields of an answer that are stored with it: never one that would be two lines."""
    names = _KEPT | answer_headers()
    kept = ((name.lower(), unfolded(value)) for name, value in headers if name.lower() in names)
    return tuple((name, value) for name, value in kept if is_value(value))


def response(entry: Entry, extra: Iterable[tuple[str, str]] = ()) -> Response:
    """The stored status, body and headers, then `extra`. The body has no content coding: identity is always acceptable
    (RFC 9110 section 12.5.3)."""
    return Response(entry.status, Headers([*entry.headers, *extra]), entry.body)


def status_headers(
    status: Status, key: str = "", reason: str = "", age: float | None = None, ttl: float | None = None
) -> list[tuple[str, str]]:
    """`X-AI-Cache-*` and RFC 9211 `Cache-Status`."""
    fields = [(our_headers.STATUS, status.value)]
    item = "ai-cache; hit" if status in (Status.HIT, Status.STALE) else f"ai-cache; fwd={_FORWARD[status]}"
    if age is not None:
        fields.append((our_headers.AGE, str(int(age))))
    if key:
        fields.append((our_headers.KEY, short_key(key)))
        item += f'; key="{short_key(key)}"'
    if reason:
        fields.append((our_headers.REASON, str(reason)))
        item += f"; detail={_token(reason)}"
    if ttl is not None:
        item += f"; ttl={int(ttl)}"
    return [*fields, (our_headers.CACHE_STATUS, item)]


_FORWARD = {Status.MISS: "miss", Status.BYPASS: "bypass", Status.REFRESH: "request"}


def _token(reason: str) -> str:
    return re.sub(r"[^A-Za-z0-9._~-]", "-", reason)
