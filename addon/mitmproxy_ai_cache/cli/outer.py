"""What the environment already says about proxies: an outer one, hosts that are reached without it, a nested run."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import orjson

from ..identity.hosts import ai_hosts
from ..protocols.providers import host_globs
from ..wire.safe_text import safe_url

MARK = "AI_CACHE_PROXY"
"""Set by `run` for its command: the URL of the proxy around it."""


class UnusableProxy(ValueError):
    """The outer proxy is of a kind mitmproxy cannot use. One line with the mend."""


@dataclass(frozen=True, slots=True)
class OuterProxy:
    """An HTTP proxy that was there before us. `credentials` is `user:password` or empty."""

    url: str
    credentials: str = ""


def proxy(environ: Mapping[str, str]) -> OuterProxy | None:
    """The proxy that HTTPS_PROXY names. Raises `UnusableProxy`."""
    named = next((environ[name] for name in ("https_proxy", "HTTPS_PROXY") if environ.get(name)), "")
    if not named:
        return None
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    # What a password with / ? or # in it, or a misspelt scheme, leaves behind is no host to connect to.
    rest = parts.path + parts.query + parts.fragment
    host = parts.hostname or ""
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    if (
        parts.scheme not in ("http", "https")
        or not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?", host)
        or not port
        or "@" in rest
        or rest.startswith("//")
        or not credentials.isprintable()
    ):
        raise UnusableProxy(
            f"HTTPS_PROXY is {safe_url(named)}; it must be http://HOST:PORT, https://HOST:PORT or "
            "http://USER:PASSWORD@HOST:PORT with %40 %2F %3F %23 for @ / ? # in the password; or unset it"
        )
    host = f"[{host}]" if ":" in host else host
    return OuterProxy(f"{parts.scheme}://{host}:{port}", credentials)


def no_proxy(environ: Mapping[str, str]) -> list[str]:
    """The entries of NO_PROXY."""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return [entry.strip() for entry in listed.split(",") if entry.strip()]


def without_ai_hosts(entries: Iterable[str], more_hosts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Entries that may stay, and those that would keep AI calls from us."""
    named = tuple(more_hosts)
    hosts = ai_hosts(named)
    samples = [glob.replace("*", "x").lower() for glob in (*host_globs(), *named)]
    kept: list[str] = []
    removed: list[str] = []
    for entry in entries:
        domain = _domain(entry)
        covers = (
            entry == "*" or domain in hosts or any(domain and f".{sample}".endswith(f".{domain}") for sample in samples)
        )
        (removed if covers else kept).append(entry)
    return kept, removed


def globs(entries: Iterable[str]) -> list[str]:
    """Host globs for entries of NO_PROXY: a domain stands for itself and all below it."""
    found = []
    for entry in entries:
        domain = _domain(entry)
        found += ["*"] if entry == "*" else [domain, f"*.{domain}"] if domain else []
    return found


def _domain(entry: str) -> str:
    """`.example.com:443`, `*.example.com`, `[::1]:80` -> the host in it, in lower case."""
    if entry.count(":") > 1:
        return entry.lower().partition("]")[0].strip("[]")
    return entry.lower().partition(":")[0].lstrip("*").lstrip(".")


def certificate(url: str) -> bytes:
    """The certificate the proxy at `url` hands out; empty where it hands out none."""
    return _ask(f"{url}/ca.pem") or b""


def alive(url: str) -> bool:
    """Whether an ai-cache proxy answers at `url`."""
    try:
        return bool(orjson.loads(_ask(f"{url}/healthz") or b"{}").get("status") == "ok")
    except (ValueError, AttributeError):
        return False


def _ask(url: str) -> bytes | None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as response:
            data: bytes = response.read(1 << 20)
            return data
    except (OSError, ValueError, http.client.HTTPException):
        return None
