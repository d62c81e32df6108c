"""A recorded entry -> the request it answered, and its key under the rules of today."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from . import body as bodies
from . import protocols
from .entry import Entry
from .isolation import Isolation
from .key import SCHEMA, fingerprint
from .messages import Headers, Request
from .redact import redact_request, redaction_rules
from .settings import Settings

_DEFAULT_PORTS = {"https": 443, "http": 80}
_ANY_SIZE = 1 << 31


def key_of(settings: Settings) -> Callable[[Entry], str]:
    """Gives the key of a recorded request, without its place in a sequence.

    Recordings are everybody's: no isolation. An entry does not keep its Host header; it is that of its URL. What
    today's rules find is replaced, as in the request that is looked up: older rules may have found less.
    """
    registry = protocols.standard(settings.no_done_hosts)
    scope = Isolation("none")

    def key(entry: Entry) -> str:
        request = redact_request(request_of(entry), settings.redact).request
        body = bodies.read(request, _ANY_SIZE)
        call = registry.recognise(request, body) if entry.protocol != protocols.ANYTHING.name else None
        parts = (*scope.scope(request, None), entry.namespace.encode("utf-8", "surrogatepass"))
        return fingerprint(call or protocols.ANYTHING.recognise(request, body), request, parts, settings.key_rules)

    return key


def rules_of(settings: Settings) -> str:
    """A short text that changes whenever keys may."""
    rules = settings.key_rules
    told = f"{SCHEMA!r} {rules!r} {settings.no_done_hosts!r} {settings.redact!r} {redaction_rules()}".encode()
    told += rules.secret
    return hashlib.sha256(told).hexdigest()[:16]


def request_of(entry: Entry) -> Request:
    scheme, host, port, path, query = address(entry.url)
    default = _DEFAULT_PORTS.get(scheme) == port
    fields = [*entry.request_headers, ("host", host if default else f"{host}:{port}")]
    return Request(entry.method, scheme, host, port, path, query, Headers(fields), entry.request)


def address(url: str, like: Request | None = None) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, path and query of an entry's URL.

    `like` settles what the text leaves open: an IPv6 address stands in it without brackets.
    """
    whole, _, query = url.partition("?")
    if like is not None and whole.startswith(place := like.url.removesuffix(like.path)):
        rest = whole[len(place) :]
        if not rest or rest.startswith("/"):
            return like.scheme, like.host, like.port, rest, query
    scheme, _, rest = whole.partition("://")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not (colon and port.isdecimal() and len(port) < 6):
        host, port = authority, str(_DEFAULT_PORTS.get(scheme, 0))
    return scheme, host, int(port), slash + path, query
