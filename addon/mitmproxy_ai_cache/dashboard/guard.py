"""Who may see and change what, and the headers that every page has."""

from __future__ import annotations

import hmac
import ipaddress
from enum import Enum, auto
from urllib.parse import urlsplit

from ..calls.own_address import MAGIC_HOST
from ..calls.own_rules import knows
from ..wire.addresses import is_loopback
from ..wire.messages import Headers, Response
from .visit import Door, NotShown, Visit

TOKEN = "token"  # noqa: S105 the name of a form's field
"""The field of every form that changes something."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

_ALWAYS = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    # Nothing leaves the page. Under `no-referrer` a browser sends `Origin: null` with our own forms (Fetch, "append a
    # request `Origin` header"), and a form of somebody else's could not be told from them.
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
)


class Access(Enum):
    COUNTS = auto()
    """Sums by model and host, nothing of anybody's calls: the overview and the metrics."""
    ALL = auto()


def access(visit: Visit, password: str, isolated: bool) -> Access:
    """What `visit` may see. Raises `NotShown`: wrong address, or no password."""
    if not (visit.door.named or _is_expected(visit.headers.get("host"), visit.door)):
        raise NotShown(421, "The page is not shown under this name: open it by its address.")
    check_browser(visit)
    if password and not knows(visit.headers.get("authorization"), password):
        raise NotShown(401, "The page has a password.")
    if not (visit.door.local or password):
        raise NotShown(403, "The page is for this machine; to see it from others set AI_CACHE_DASHBOARD_PASSWORD.")
    if not visit.door.through_proxy:
        return Access.ALL
    return Access.COUNTS if isolated else Access.ALL


def check_browser(visit: Visit) -> None:
    """Raises `NotShown` for what the pages of others send."""
    site, origin = visit.headers.get("sec-fetch-site"), visit.headers.get("origin")
    foreign = "origin" in visit.headers and not _is_own(origin, visit)
    if foreign or (site and site not in ("none", "same-origin")):
        raise NotShown(403, "This was sent from another site: type the address of the page.")


def _is_own(origin: str, visit: Visit) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == visit.headers.get("host").lower() != ""
    except ValueError:
        return False


def check_change(visit: Visit, token: str) -> None:
    """Raises `NotShown` unless one of our own forms was sent from our own page."""
    if not hmac.compare_digest(visit.form.get(TOKEN, "").encode(), token.encode()):
        raise NotShown(403, "This form is not from this page, or the proxy was started again; reload and try again.")
    check_browser(visit)
    if visit.headers.get("sec-fetch-site") not in ("", "same-origin"):
        raise NotShown(403, "This form was sent from another site.")


def secured(response: Response) -> Response:
    """`response` with the headers that every page has; its own come first."""
    own = set(response.headers.names())
    return Response(
        response.status,
        Headers([*response.headers, *((name, value) for name, value in _ALWAYS if name not in own)]),
        response.body,
    )


def _is_expected(authority: str, door: Door) -> bool:
    """Whether no page of a stranger can have this Host by letting its own name point here (DNS rebinding).

    The port may be a mapped one. Off the loopback there is a password, which a browser sends to no other name.
    """
    try:
        name = (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if door.host == MAGIC_HOST:
        return name == MAGIC_HOST
    if is_loopback(door.host):
        return is_loopback(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == door.host.lower() or (bool(name) and "." not in name)
    return True
