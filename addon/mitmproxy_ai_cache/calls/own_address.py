"""Requests that are addressed to the proxy itself, not to somebody behind it.

`/https://api.openai.com/v1/...` is forwarded there: a base URL for clients that cannot use a proxy. A few paths are
answered here, also under the name `ai-cache.internal` through the proxy.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import orjson

from ..wire.messages import Headers, Response

MAGIC_HOST = "ai-cache.internal"

ANSWERED = ("/healthz", "/ca.pem")
"""What is answered here under every name."""

_BASE_URL = re.compile(r"/(https?):/{1,2}([^/?#@]+)(/.*|\?.*)?$", re.DOTALL)
"""One slash will do: some clients and servers fold `//` in a path."""

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+)(?::(\d{1,5}))?")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request in base URL mode goes."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


def is_base_url(path: str) -> bool:
    return _BASE_URL.match(path) is not None


def target_of(path: str) -> Target | None:
    """`/https://host:port/path?query` -> its parts, or None."""
    match = _BASE_URL.match(path)
    if not match:
        return None
    scheme, rest = match[1], match[3] or "/"
    split = _HOST_AND_PORT.fullmatch(match[2])
    if not split or not _is_host(split[1].strip("[]")):
        return None
    default = 443 if scheme == "https" else 80
    port = int(split[2] or default)
    if not 0 < port < 65536:
        return None
    name = split[1].rstrip(".")
    authority = name if port == default else f"{name}:{port}"
    return Target(scheme, name.strip("[]"), port, authority, rest if rest.startswith("/") else "/" + rest)


def _is_host(name: str) -> bool:
    """A name or an address that can be connected to and put into a certificate."""
    if ":" in name:
        try:
            return bool(ipaddress.IPv6Address(name))
        except ValueError:
            return False
    return len(name) < 254 and all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split("."))


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
        f"  status page:   http://{MAGIC_HOST}/ through the proxy, or --dashboard 127.0.0.1:PORT\n"
        "  /ca.pem        the certificate to trust\n"
        "  /healthz       its state\n"
        "  /metrics       its counts, for Prometheus\n"
    )
    return Response(200 if plain == "/" else 404, _fields("text/plain; charset=utf-8"), text.encode())


def _fields(content_type: str) -> Headers:
    return Headers([("content-type", content_type), ("cache-control", "no-store")])
