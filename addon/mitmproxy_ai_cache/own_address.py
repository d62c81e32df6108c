"""Requests that are addressed to the proxy itself, not to somebody behind it.

`/https://api.openai.com/v1/...` is forwarded there: a base URL for clients that cannot use a proxy. A few paths are
answered here, also under the name `ai-cache.internal` through the proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from .messages import Headers, Response

MAGIC_HOST = "ai-cache.internal"

_BASE_URL = re.compile(r"/(https?):/{1,2}([^/?#@]+)(/.*|\?.*)?$", re.DOTALL)
"""One slash will do: some clients and servers fold `//` in a path."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request in base URL mode goes."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


def target_of(path: str) -> Target | None:
    """`/https://host:port/path?query` -> its parts, or None."""
    match = _BASE_URL.match(path)
    if not match:
        return None
    scheme, authority, rest = match[1], match[2], match[3] or "/"
    host, port = _split(authority)
    if not host or port is None:
        return None
    number = port or (443 if scheme == "https" else 80)
    return Target(scheme, host, number, authority, rest if rest.startswith("/") else "/" + rest)


def _split(authority: str) -> tuple[str, int | None]:
    """Host and port; port 0 where none is named, None where it is no port."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+)(?::(\d{1,5}))?", authority)
    if not match or int(match[2] or 0) > 65535:
        return "", None
    return match[1].strip("[]"), int(match[2] or 0)


def answer(path: str, certificate: bytes | None, state: dict[str, object]) -> Response:
    """What the proxy says of itself: `/healthz`, `/ca.pem`, and a hint for all else."""
    plain = path.partition("?")[0]
    if plain == "/healthz":
        return Response(200, _fields("application/json"), orjson.dumps(state))
    if plain == "/ca.pem" and certificate is not None:
        return Response(200, _fields("application/x-pem-file"), certificate)
    text = (
        "This is ai-cache, a proxy.\n"
        "  as a proxy:    HTTPS_PROXY=http://THIS-ADDRESS\n"
        "  as a base URL: http://THIS-ADDRESS/https://api.openai.com/v1\n"
        "  /ca.pem        the certificate to trust\n"
        "  /healthz       its state\n"
    )
    return Response(200 if plain == "/" else 404, _fields("text/plain; charset=utf-8"), text.encode())


def _fields(content_type: str) -> Headers:
    return Headers([("content-type", content_type), ("cache-control", "no-store")])
