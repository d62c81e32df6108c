"""An entry and its conversation as JSON values, for programs."""

from __future__ import annotations

import base64
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from ..entries.entry import Entry
from .entries import of
from .values import Conversation, Message, Part, ToolResult

_OWN = ("body", "request", "headers", "request_headers")
"""Fields that are written another way than they are kept."""


def entry_data(entry: Entry, now: float) -> dict[str, Any]:
    """Everything that is kept, and the conversation. Times in seconds; `ttl_left` is null for what never goes stale."""
    own = {field.name: getattr(entry, field.name) for field in fields(entry) if field.name not in _OWN}
    told = conversation_data(of(entry))
    try:
        date = datetime.fromtimestamp(entry.created, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        date = ""
    return {
        **own,
        "date": date,
        "age": round(now - entry.created, 3),
        "ttl_left": round(entry.fresh_until - now, 3) if entry.ttl else None,
        "conversation": told,
        "request": {"headers": [list(pair) for pair in entry.request_headers], **body_data(entry.request)},
        "answer": {"headers": [list(pair) for pair in entry.headers], **body_data(entry.body)},
    }


def body_data(body: bytes) -> dict[str, Any]:
    """The bytes as `text` where they are UTF-8, else as `base64`."""
    try:
        return {"size": len(body), "text": body.decode()}
    except UnicodeDecodeError:
        return {"size": len(body), "base64": base64.b64encode(body).decode()}


def conversation_data(told: Conversation) -> dict[str, Any]:
    return {
        "question": told.question,
        "text": told.text,
        "finish": told.finish,
        "usage": dict(told.usage),
        "settings": dict(told.settings),
        "tools": [asdict(tool) for tool in told.tools],
        "messages": [_message(message) for message in told.messages],
        "answer": [_message(message) for message in told.answer],
    }


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": [_part(part) for part in message.parts]}


def _part(part: Part) -> dict[str, Any]:
    kind = {"type": _KINDS.get(type(part).__name__, type(part).__name__.lower())}
    if isinstance(part, ToolResult):
        inner = [_part(each) for each in part.content]
        return {**kind, "id": part.id, "content": inner, "error": part.error}
    return {**kind, **asdict(part)}


_KINDS = {"ToolCall": "tool_call", "ToolResult": "tool_result"}
