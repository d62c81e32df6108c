"""A recorded entry -> the request it answered, and its key under the rules of today."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from .. import protocols
from ..entries.entry import Entry
from ..redact import redact_request, redaction_rules
from ..wire import body as bodies
from ..wire.messages import Headers, Request
from ..wire.safe_text import one_line
from .isolation import Isolation
from .key import SCHEMA, fingerprint
from .rules import IdentityRules

logger = logging.getLogger("ai-cache")

_DEFAULT_PORTS = {"https": 443, "http": 80}
_ANY_SIZE = 1 << 31


def key_of(rules: IdentityRules) -> Callable[[Entry], str]:
    """Gives the key of a recorded request, without its place in a sequence.

    Recordings are everybody's: no isolation. An entry does not keep its Host header; it is that of its URL. What
    today's rules find is replaced, as in the request that is looked up: older rules may have found less.
    """
    registry = protocols.standard(rules.no_done_hosts)
    scope = Isolation("none")
    missing: set[str] = set()

    def key(entry: Entry) -> str:
        if entry.protocol and entry.protocol not in registry.by_name and entry.protocol not in missing:
            missing.add(entry.protocol)
            logger.warning(
                "ai-cache: recordings of %s may not answer: no protocol that is installed has this name; install the "
                "plug-in they were recorded with",
                one_line(entry.protocol),
            )
        request = redact_request(request_of(entry), rules.redact).request
        body = bodies.read(request, _ANY_SIZE)
        call = registry.recognise(request, body) if entry.protocol != protocols.ANYTHING.name else None
        parts = (*scope.scope(request, None), entry.namespace.encode("utf-8", "surrogatepass"))
        return fingerprint(call or protocols.ANYTHING.recognise(request, body), request, parts, rules.key)

    return key


def rules_of(rules: IdentityRules) -> str:
    """A short text that changes whenever keys may."""
    told = f"{SCHEMA!r} {rules.key!r} {rules.no_done_hosts!r} {rules.redact!r} {redaction_rules()}".encode()
    told += rules.key.secret
    if plugins := protocols.plugins():
        told += repr([(each.value.name, each.distribution, each.version) for each in plugins]).encode()
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
