"""One entry as it is shown: its head, raw bodies as text, the command that asks again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..conversation.curl import NoCommand, command
from ..entries.entry import Entry
from ..wire import units
from ..wire.messages import Headers, Response
from .rendering import LONGEST, date

RAW_LONGEST = 64_000
"""Characters of a raw body on a page."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as text."""

    name: str
    """`request` or `answer`."""
    size: int
    text: str
    cut: bool
    binary: bool


def raw(name: str, body: bytes) -> Raw:
    """Its beginning, where it is text."""
    beginning = body[: 4 * RAW_LONGEST]
    text = beginning.decode("utf-8", "replace")
    binary = text.count("\ufffd") + text.count("\0") > len(text) // 20
    cut = len(body) > len(beginning) or len(text) > RAW_LONGEST
    return Raw(name, len(body), "" if binary else text[:RAW_LONGEST], cut, binary)


def download(entry: Entry, name: str) -> Response:
    """The whole body, as text that no browser renders. The name of the file is ours."""
    body = entry.request if name == "request" else entry.body
    safe = re.sub(r"[^0-9a-f-]", "", entry.key)[:16]
    fields = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-disposition", f'attachment; filename="{safe}-{name}.txt"'),
        ("content-security-policy", "default-src 'none'; sandbox"),
    ]
    return Response(200, Headers(fields), body)


def facts(entry: Entry, now: float) -> list[tuple[str, str]]:
    """Name and value, what counts most first."""
    lives = "for ever" if not entry.ttl else units.human_duration(entry.ttl)
    fresh = "" if entry.is_fresh(now) else ", expired"
    found = [
        ("Model", entry.model),
        ("Protocol", f"{entry.protocol}{', streamed' if entry.stream else ''}"),
        ("Request", f"{entry.method} {entry.url[:LONGEST]}"),
        ("Status", str(entry.status)),
        ("Stored", date(entry.created)),
        ("Age", f"{units.human_duration(max(0.0, now - entry.created))}, may answer {lives}{fresh}"),
        ("Tokens", f"{entry.usage.input:,} in, {entry.usage.output:,} out" if entry.usage.total else ""),
        ("Took", f"{units.human_duration(entry.total)}, first byte after {units.human_duration(entry.first_byte)}"),
        ("Namespace", entry.namespace),
        ("Run", entry.run),
        ("Key", entry.key),
    ]
    if entry.redacted:
        found.append(("Redacted", "secrets were replaced by placeholders"))
    if not entry.cacheable:
        found.append(("Kept for", "record and replay only"))
    return [(name, value) for name, value in found if value]


def curl(entry: Entry) -> str:
    """A command that asks the provider again, or where to get it."""
    try:
        text = command(entry)
    except NoCommand:
        return ""
    return text if len(text) <= LONGEST else f"ai-cache show {entry.key[:12]} --curl  # it is long"
