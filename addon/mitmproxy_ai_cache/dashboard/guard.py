"""Who may see and change what, and the headers that every page has."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from enum import Enum, auto
from urllib.parse import urlsplit

from ..messages import Headers, Response
from ..own_address import MAGIC_HOST, is_loopback
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
    TOTALS = auto()
    """Sums, nothing of anybody's calls."""
    COUNTS = auto()
    """Also by model and host: the metrics."""
    ALL = auto()


def access(visit: Visit, password: str, isolated: bool) -> Access:
    """What `visit` may see. Raises `NotShown`: wrong address, or no password."""
    if not _is_expected(visit.headers.get("host"), visit.door):
        raise NotShown(421, "The page is not shown under this name: open it by its address.")
    if password and not _knows(visit.headers.get("authorization"), password):
        raise NotShown(401, "The page has a password.")
    if not visit.door.through_proxy:
        return Access.ALL
    if not (visit.door.local or password):
        return Access.TOTALS
    return Access.COUNTS if isolated else Access.ALL


def check_change(visit: Visit, token: str) -> None:
    """Raises `NotShown` unless one of our own forms was sent from our own page."""
    if not hmac.compare_digest(visit.form.get(TOKEN, "").encode(), token.encode()):
        raise NotShown(403, "This form is not from this page, or the proxy was started again; reload and try again.")
    site, origin = visit.headers.get("sec-fetch-site"), visit.headers.get("origin")
    foreign = origin and (origin == "null" or urlsplit(origin).netloc.lower() != visit.headers.get("host").lower())
    if foreign or site not in ("", "same-origin"):
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


def _knows(authorization: str, password: str) -> bool:
    """RFC 7617. The user may be called anything."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, password.encode())
