"""The URL of a proxy: what to connect to, and how a message may quote it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def safe_url(url: str) -> str:
    """`url` as a message may quote it: nothing of it that may be a password, however it is misspelt."""
    plain = re.fullmatch(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[^@:?#%\s]*)?", url)
    return url if plain else "(not shown: it may hold a password)"


def host_and_port(url: str) -> tuple[str, int]:
    """Raises ValueError with what to write instead."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    host = parts.hostname or ""
    is_host = re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?", host)
    if parts.scheme != "http" or not is_host or "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"AI_CACHE_URL is {safe_url(url)}; write http://HOST:PORT, for example http://127.0.0.1:8484")
    return host, port
