"""An entry as programs (`--json`) and people read it in a list."""

from __future__ import annotations

import sys
from typing import Any

import orjson

from .. import conversation
from ..entries.entry import Entry, short_key
from ..entries.selection import host_of
from ..redact.entries import hidden_question, hidden_url
from ..wire import units
from .tables import Column

COLUMNS = (
    Column("KEY", keep=9, style="cyan"),
    Column("AGE", right=True, keep=8),
    Column("TTL", right=True, keep=3),
    Column("ST", keep=6),
    Column("PROTOCOL", 18, keep=1),
    Column("MODEL", 28, keep=7),
    Column("HOST", 28, keep=2),
    Column("STREAM", keep=0),
    Column("TOKENS", right=True, keep=5),
    Column("SIZE", right=True, keep=4),
    Column("QUESTION"),
)
"""Of a list of entries."""


def record(entry: Entry) -> dict[str, Any]:
    """Times in Unix seconds, `size` in bytes of both bodies, `question` is the beginning of what was asked."""
    return {
        "key": entry.key,
        "created": entry.created,
        "expires": entry.fresh_until if entry.ttl else None,
        "status": entry.status,
        "protocol": entry.protocol,
        "model": entry.model,
        "method": entry.method,
        "url": hidden_url(entry.url),
        "host": host_of(entry),
        "stream": entry.stream,
        "namespace": entry.namespace,
        "run": entry.run,
        "redacted": entry.redacted,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "seconds": entry.total,
        "size": _size(entry),
        "question": conversation.question(hidden_question(entry)),
    }


def row(entry: Entry, now: float) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    tokens = entry.input_tokens + entry.output_tokens
    return (
        short_key(entry.key),
        units.human_duration(max(0.0, now - entry.created)),
        left(entry, now),
        str(entry.status),
        entry.protocol or "-",
        entry.model or "-",
        host_of(entry) or "-",
        "stream" if entry.stream else "-",
        f"{tokens:,}" if tokens else "-",
        units.human_size(_size(entry)),
        conversation.question(hidden_question(entry)),
    )


def left(entry: Entry, now: float) -> str:
    """How long it may answer."""
    if not entry.ttl:
        return "-"
    return units.human_duration(entry.fresh_until - now) if entry.is_fresh(now) else "stale"


def put(value: dict[str, Any]) -> None:
    """One line of JSON. Control characters are escaped in it, so it may be looked at in a terminal too."""
    text = orjson.dumps(value).decode()
    sys.stdout.write((text if text.isprintable() else _safe(text)) + "\n")


def _safe(text: str) -> str:
    """JSON keeps characters that turn the direction of text, and C1 controls: `\\u009b` begins an escape sequence."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    data = character.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(data[at : at + 2]):04x}" for at in range(0, len(data), 2))


def _size(entry: Entry) -> int:
    return len(entry.request) + len(entry.body)
