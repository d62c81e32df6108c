"""What the log says of a call: a line for a person, or a JSON object for a program. Never a word of prompt or answer.

Everything that a client or provider chose is made one printable line.
"""

from __future__ import annotations

import time

import orjson

from ..calls.exchange import Exchange
from ..calls.reasons import Reason
from ..entries.entry import short_key
from ..entries.usage import NONE, Usage
from ..redact.entries import hidden_url
from ..wire import units
from ..wire.safe_text import one_line


def text(exchange: Exchange, note: str, usage: Usage = NONE) -> str:
    """`ai-cache: HIT 3fa85f64e1b2 openai-chat gpt-4o stream api.openai.com 3 ms (store 0.4 ms) 12+34 tokens age 2 h`"""
    call, request = exchange.call, exchange.request
    words = [f"ai-cache: {exchange.status or 'PASS'}"]
    if exchange.key:
        words.append(short_key(exchange.key))
    if call is not None and call.protocol.name != "exchange":
        words += [call.protocol.name, one_line(call.model or "-", 60), "stream" if call.stream else "whole"]
        words.append(one_line(request.host, 80))
    else:
        words += [one_line(request.method, 10), one_line(hidden_url(request.url))]
    if exchange.reason and exchange.reason != Reason.NO_ENTRY:
        words.append(f"({one_line(exchange.reason)})")
    if exchange.status_code and exchange.status_code != 200:
        words.append(str(exchange.status_code))
    words.append(units.human_duration(exchange.seconds()))
    if exchange.store_seconds:
        words.append(f"(store {exchange.store_seconds * 1000:.1f} ms)")
    if usage.total:
        words.append(f"{usage.input}+{usage.output} tokens")
    if note:
        words.append(note)
    return " ".join(words)


def as_json(exchange: Exchange, note: str, usage: Usage = NONE, saved_seconds: float = 0.0) -> str:
    """One line. What is not known is left out; numbers are numbers."""
    call, request = exchange.call, exchange.request
    known = call is not None and call.protocol.name != "exchange"
    fields: dict[str, object] = {
        "event": "call",
        "time": round(time.time(), 3),
        "status": exchange.status or "PASS",
        "reason": one_line(exchange.reason),
        "key": short_key(exchange.key) if exchange.key else "",
        "protocol": call.protocol.name if call is not None and known else "",
        "model": one_line(call.model, 60) if call is not None else "",
        "stream": call.stream if call is not None else None,
        "method": one_line(request.method, 10),
        "host": one_line(request.host, 80),
        "url": one_line(hidden_url(request.url)),
        "http_status": exchange.status_code or None,
        "age_seconds": round(exchange.answered.age, 3) if exchange.entry is not None else None,
        "total_ms": round(exchange.seconds() * 1000, 3),
        "store_ms": round(exchange.store_seconds * 1000, 3) if exchange.store_seconds else None,
        "saved_seconds": round(saved_seconds, 3) or None,
        "note": note,
    }
    if usage.total:
        fields["tokens"] = {name: count for name, count in usage._asdict().items() if count}
    return event(fields)


def event(fields: dict[str, object]) -> str:
    """One JSON object on one line, without what says nothing."""
    said = {name: value for name, value in fields.items() if value is not None and value != ""}
    return orjson.dumps(said).decode()


def message(line: str, level: str = "info") -> str:
    """Any other line of ours as JSON."""
    return event({"event": "message", "time": round(time.time(), 3), "level": level, "message": line})
