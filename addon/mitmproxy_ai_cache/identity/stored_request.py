"""A stored entry -> the request that it answered. An entry does not keep the Host header: it is that of its URL."""

from __future__ import annotations

from ..entries.entry import Entry
from ..wire.messages import Headers, Request

_DEFAULT_PORTS = {"https": 443, "http": 80}


def request_of(entry: Entry) -> Request:
    scheme, host, port, path, query = address(entry.url)
    default = _DEFAULT_PORTS.get(scheme) == port
    fields = [*entry.request_headers, ("host", host if default else f"{host}:{port}")]
    return Request(entry.method, scheme, host, port, path, query, Headers(fields), entry.request)


def request_like(entry: Entry, sent: Request) -> Request:
    """As `request_of`; where the address is the one of `sent`, with the Host header of `sent`."""
    scheme, host, port, path, query = address(entry.url, sent)
    headers = list(entry.request_headers)
    authority = ""
    if (scheme, host.lower(), port) == (sent.scheme, sent.host.lower(), sent.port):
        authority = sent.authority
        headers += [(name, value) for name, value in sent.headers if name.lower() == "host"]
    else:
        headers.append(("host", host))
    return Request(entry.method, scheme, host, port, path, query, Headers(headers), entry.request, authority=authority)


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
