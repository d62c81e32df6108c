"""The values of `ai_cache_own_names` and `ai_cache_browser_origins`, checked."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..wire.addresses import canonical
from ..wire.safe_text import quoted


def parse_name(text: str) -> str:
    """Raises `ValueError`."""
    name = canonical(text)
    if not name or any(mark in text for mark in "*?/@ ") or text.startswith("http:"):
        raise ValueError(
            f"{quoted(text)} is no name; write the exact name without scheme and port, for example cache.corp.example"
        )
    return name


def parse_origin(text: str) -> str:
    """In lower case, as origins compare. Raises `ValueError`."""
    origin = text.strip().rstrip("/").lower()
    try:
        parts = urlsplit(origin)
        right = bool(parts.scheme and parts.netloc) and not (parts.path or parts.query or parts.fragment)
    except ValueError:
        right = False
    if origin != "null" and (not right or "*" in origin or "@" in origin):
        raise ValueError(
            f"{quoted(text)} is no origin; write an exact one, for example http://localhost:5173, app://obsidian.md "
            "or null"
        )
    return origin
