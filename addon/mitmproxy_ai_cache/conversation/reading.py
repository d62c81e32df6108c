"""Looking into JSON that may be anything, within limits: nothing here raises for what a body holds."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from ..wire.framing import load as load_within_limits

Json = Any

MAX_BYTES = 64 << 20
"""Bytes of a body that is read at all; the cache keeps 10 MiB unless it is told otherwise."""
MAX_VALUES = 4_000_000
"""Commas of a body that is read: 2,000 vectors of 1,536 numbers have 3 million."""
MAX_LENIENT = 1 << 20
"""Bytes of what is no strict JSON and read by the slow way."""
MAX_ITEMS = 2_000
"""Items of a list that are shown."""
MAX_JSON = 64 * 1024
"""Characters of JSON text that is shown in full."""
LINE = 160
"""Characters of a question or answer in one line."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Unread(ValueError):
    """Why a body is not read, in words."""


def load(data: bytes) -> Json:
    """The value of `data`. Raises `Unread`."""
    if len(data) > MAX_BYTES or data.count(b",") > MAX_VALUES:
        raise Unread(f"{len(data):,} bytes, too much to be taken apart")
    try:
        return load_within_limits(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        pass
    if len(data) > MAX_LENIENT or data.count(b"[") + data.count(b"{") > MAX_LENIENT // 20:
        raise Unread(f"{len(data):,} bytes that are no JSON")
    try:
        value = _LENIENT.decode(data.decode("utf-8-sig", "replace"))
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))  # no lone surrogates
    except (ValueError, RecursionError):
        raise Unread(f"{len(data):,} bytes that are no JSON") from None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_LENIENT = json.JSONDecoder(strict=False, parse_constant=lambda name: name, parse_float=_finite, parse_int=_finite)
"""Control characters in strings, NaN, huge numbers, lone surrogates: what some clients send and some servers take."""


def clean(text: str) -> str:
    """`text` without what cannot be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def member(value: Json, *names: str) -> Json:
    """The first of these members that is there and not null."""
    if isinstance(value, dict):
        for name in names:
            if value.get(name) is not None:
                return value[name]
    return None


def name_in(value: Json, *names: str) -> str:
    """The first of these members that is a text or a number."""
    if isinstance(value, dict):
        for name in names:
            if isinstance(found := value.get(name), str | int) and found != "":
                return str(found)
    return ""


def mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def items(value: Json) -> list[Json]:
    """The items of a list, at most `MAX_ITEMS`; anything else is a list of one, null of none."""
    if isinstance(value, list):
        return value[:MAX_ITEMS]
    return [] if value is None else [value]


def objects(value: Json) -> list[dict[str, Json]]:
    return [item for item in items(value) if isinstance(item, dict)]


def as_json(value: Json, limit: int = MAX_JSON) -> str:
    """JSON text of `value`, of a text the text itself; cut at `limit` characters."""
    if isinstance(value, str):
        return cut(value, limit)
    try:
        return cut(orjson.dumps(value).decode(), limit)
    except (TypeError, ValueError):  # nested deeper than it writes
        return "..."


def cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text) - limit:,} more characters)"


def one_line(text: str, limit: int = LINE) -> str:
    """The beginning of `text` with each run of white space and control characters as one space."""
    start = text[: limit * 100].lstrip()
    line = " ".join(_CONTROL.sub(" ", start[: limit * 4]).split())
    whole = len(text) <= limit * 100 and len(start) <= limit * 4
    return line if len(line) <= limit and whole else line[: limit - 3].rstrip() + "..."


def amount(size: float) -> str:
    """`size` bytes for a person: two digits or more."""
    if size < 1000:
        return f"{size} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000 or unit == "GB":
            break
    return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
