"""Who gets what at the proxy's own address: by the name it was asked under, by what a browser says, by who asks."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from ..protocols.base import json_response
from ..wire.addresses import canonical, is_loopback, literal
from ..wire.messages import Headers, Response
from . import own_address

_REFUSED = (
    ("content-security-policy", "sandbox"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A request to the proxy itself."""

    method: str
    path: str
    headers: Headers
    name: str
    """What the client calls us. No port."""
    came_in_at: str
    """The address of ours that it reached."""
    authority: str = ""
    """Name and port as the client wrote them."""
    local: bool = False
    """Its client is on this machine, and did not go through us to get here."""

    @property
    def plain_path(self) -> str:
        return self.path.partition("?")[0]

    @property
    def is_always_answered(self) -> bool:
        return self.plain_path in own_address.ANSWERED

    @property
    def is_for_the_page(self) -> bool:
        return canonical(self.name) == own_address.MAGIC_HOST


@lru_cache(256)
def is_own_name(name: str, came_in_at: str, own_names: tuple[str, ...] = ()) -> bool:
    """Whether no web page can have pointed a name of its own here (DNS rebinding): `name` is a loopback name, the
    address it came in at, a name without a dot, our own name, or one of `own_names`."""
    found = literal(name)
    if found is not None:
        return found.is_loopback or found == literal(came_in_at) or str(found) in map(canonical, own_names)
    plain = canonical(name)
    if not plain:
        return False
    known = is_loopback(plain) or plain == own_address.MAGIC_HOST or plain in map(canonical, own_names)
    return known or not any(mark in plain for mark in ".:")


def wrong_name(call: OwnCall, own_names: tuple[str, ...]) -> Response | None:
    """The answer to a request under a name that is not ours, or None."""
    if call.is_always_answered or is_own_name(call.name, call.came_in_at, own_names):
        return None
    shown = call.name or "no name"
    return refused(
        421,
        "ai_cache_own_names",
        f"ai-cache: this was asked under {shown}, which is no name of this proxy; if it is one, start it with "
        f"--set ai_cache_own_names={call.name or 'NAME'}",
    )


@dataclass(frozen=True, slots=True)
class FromBrowser:
    """What the fields of a browser say: a refusal, or the page that may read the answer."""

    refusal: Response | None = None
    origin: str = ""


def from_browser(call: OwnCall, allowed: Collection[str]) -> FromBrowser:
    """A browser is no client of our own address, but for the pages of the origins in `allowed`, and for a user who
    types the address."""
    origin = ""
    if "origin" in call.headers and not _is_own_origin(call.headers.get("origin"), call.authority):
        origin = call.headers.get("origin").strip()
        if origin.lower() not in allowed:
            return FromBrowser(_not_for_pages(f"the page {_shown(origin)}", origin))
        if not (call.is_always_answered or own_address.is_base_url(call.path)):
            return FromBrowser(_not_for_pages("a page that may only use base URLs", origin))
    site = call.headers.get("sec-fetch-site").strip().lower()
    if "sec-fetch-site" in call.headers and site not in ("none", "same-origin") and not origin:
        return FromBrowser(_not_for_pages("a page of another site", "ORIGIN"))
    navigates = call.headers.get("sec-fetch-mode").strip().lower() == "navigate"
    if navigates and not (call.is_always_answered or call.plain_path == "/" or call.is_for_the_page):
        return FromBrowser(refused(403, "ai_cache_browser", _NAVIGATION))
    return FromBrowser(origin=origin)


_NAVIGATION = (
    "ai-cache: a browser gets /, /healthz and /ca.pem here and nothing else; for the status page start with "
    "--dashboard 127.0.0.1:8485"
)


def _not_for_pages(who: str, origin: str) -> Response:
    return refused(
        403,
        "ai_cache_browser",
        f"ai-cache: this comes from {who}, and web pages are no clients of this proxy; if it is an app of yours, start "
        f"with --set ai_cache_browser_origins={_shown(origin)}",
    )


def _shown(text: str) -> str:
    return ascii(text)[1:-1][:200]


def _is_own_origin(origin: str, authority: str) -> bool:
    try:
        parts = urlsplit(origin.strip())
    except ValueError:
        return False
    same = bool(authority) and parts.netloc.lower() == authority.lower()
    return same and parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)


def preflight(call: OwnCall, origin: str) -> Response | None:
    """The answer to a browser that asks first whether the page `origin` may send a request, or None."""
    if not origin or call.method != "OPTIONS" or "access-control-request-method" not in call.headers:
        return None
    fields = [
        ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("access-control-max-age", "600"),
    ]
    if wanted := call.headers.get("access-control-request-headers"):
        fields.append(("access-control-allow-headers", wanted))
    if call.headers.get("access-control-request-private-network") == "true":
        fields.append(("access-control-allow-private-network", "true"))
    return Response(204, Headers([*fields, *readable_by(origin)]), b"")


def readable_by(origin: str) -> list[tuple[str, str]]:
    """The fields that let the page `origin` read an answer."""
    return [
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", "*"),
        ("vary", "Origin"),
    ]


def not_allowed(call: OwnCall, password: str) -> Response | None:
    """The answer to who may not ask for what is ours: off this machine that takes the password. Else None."""
    if call.is_always_answered or call.local or knows(call.headers.get("authorization"), password):
        return None
    if password:
        line = "ai-cache: this takes the password of the proxy: http://:PASSWORD@HOST:PORT"
        return refused(401, "ai_cache_password", line, [CHALLENGE])
    line = (
        "ai-cache: clients on other machines get /healthz, /ca.pem and answers to calls; for more set a password: "
        "AI_CACHE_DASHBOARD_PASSWORD=PASSWORD ai-cache serve"
    )
    return refused(403, "ai_cache_password", line)


CHALLENGE = ("www-authenticate", 'Basic realm="ai-cache", charset="UTF-8"')


def knows(authorization: str, password: str) -> bool:
    """Whether these are credentials with `password` (RFC 7617). The user may be called anything; no password is
    known by nobody."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or not password:
        return False
    try:
        given = base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, password.encode())


OUR_LISTENER = "a listener of this proxy"


def no_target(host: str) -> Response:
    """The answer to a base URL that goes where nobody allowed."""
    if canonical(host) == own_address.MAGIC_HOST:
        return leads_to_us(host)
    line = f"ai-cache: base URLs go to AI hosts, and {host} is not known as one; to allow it start with --hosts {host}"
    return refused(403, "ai_cache_hosts", line)


def leads_to_us(host: str) -> Response:
    """The answer to a base URL whose target is this proxy."""
    line = f"ai-cache: {host} is this proxy, and no base URL goes there; ask it without a base URL"
    return refused(403, "ai_cache_loop", line)


def refused_target(host: str, address: str, why: str) -> Response:
    """The answer to a base URL whose host turned out to be at an address that only an exact name may reach."""
    if why == OUR_LISTENER:
        return leads_to_us(host)
    line = f"ai-cache: {host} is at {address}, which is {why}; to let base URLs go there start with --hosts {host}"
    return refused(403, "ai_cache_hosts", line)


def loop(host: str) -> Response:
    """The answer to a request that came back to us."""
    line = (
        f"ai-cache: this request for {host} came back to the proxy that forwarded it; ask the proxy itself without a "
        "proxy: curl --noproxy '*' URL"
    )
    return refused(508, "ai_cache_loop", line)


def refused(status: int, code: str, line: str, fields: Collection[tuple[str, str]] = ()) -> Response:
    return json_response(status, {"error": {"message": line, "code": code}}, [*_REFUSED, *fields])
