"""Sizes and durations as people write them."""

from __future__ import annotations

import re

from .safe_text import quoted

_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def size(text: str) -> int:
    """`10m`, `1GiB`, `4096` -> bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,12})?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise ValueError(f"{quoted(text)} is not a size; write for example 10m or 1g")
    return int(float(match[1]) * _SIZES[match[2]])


def duration(text: str) -> float:
    """`7d`, `250ms`, `90` -> seconds. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|[smhdw]?)", text.strip().lower())
    if not match:
        raise ValueError(f"{quoted(text)} is not a duration; write for example 250ms, 1h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def human_duration(seconds: float) -> str:
    for limit, unit, divisor in ((1, "ms", 0.001), (120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def human_size(number: float) -> str:
    """`712 B`, `1.4 kB`, `23 MB`: three digits or so."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
