"""Secrets that only their surroundings give away: `api_key = "..."`, `Bearer ...`, cookies, passwords in URLs, PEM."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .kinds import is_stand_in, looks_random

Span = tuple[int, int, str]
"""Start, end, kind."""


def _aws_secret(value: bytes) -> bool:
    return len(value) == 40 and looks_random(value)


def _long(value: bytes) -> bool:
    return len(value) >= 64 and looks_random(value)


@dataclass(frozen=True, slots=True)
class Named:
    kind: str
    check: Callable[[bytes], bool] = looks_random


_NAMES: dict[bytes, Named] = {
    b"secretaccesskey": Named("aws-secret-key", _aws_secret),
    b"awssecretkey": Named("aws-secret-key", _aws_secret),
    b"sessiontoken": Named("aws-session-token", _long),
    b"securitytoken": Named("aws-session-token", _long),
    b"privatekey": Named("private-key", _long),
    b"accountkey": Named("connection-string"),
    b"sharedaccesskey": Named("connection-string"),
    b"xamzsignature": Named("url-signature"),
    b"xgoogsignature": Named("url-signature"),
    b"xamzcredential": Named("url-signature"),
    b"xgoogcredential": Named("url-signature"),
    **dict.fromkeys((b"clientsecret", b"appsecret", b"secretkey", b"apisecret"), Named("client-secret")),
    **dict.fromkeys(
        (b"accesstoken", b"refreshtoken", b"idtoken", b"authtoken", b"apitoken", b"hftoken", b"githubtoken"),
        Named("access-token"),
    ),
    **dict.fromkeys((b"password", b"passwd", b"passphrase"), Named("password")),
    **dict.fromkeys((b"apikey", b"subscriptionkey"), Named("api-key")),
    b"bearer": Named("bearer-token"),
}
"""What a value is by the end of the name before it, read without case, dashes, underscores and blanks."""

_ENDINGS = tuple(_NAMES)
_QUERY = {b"sig": "url-signature", b"signature": "url-signature", b"key": "api-key", b"token": "access-token"}
"""Query parameters whose names mean something else outside of a URL."""

_BEFORE = 96
"""Bytes before a value in which its name is looked for."""

_VALUE = re.compile(rb"[A-Za-z0-9_+/.~=-]+")
_PARAMETER = re.compile(rb"(?:[?&;]|\\u0026|%26)([a-z]+)=$")
_LINE_END = rb"(?:\r?\n|(?:\\+r)?\\+n)"
_MULTIPART = re.compile(
    rb'\bname=\\*"?([\w.-]+)\\*"?' + _LINE_END + rb"(?:[^\r\n\\]+" + _LINE_END + rb")*" + _LINE_END + rb"$"
)
"""The head of a part of multipart/form-data, also where it stands in a JSON string."""


_SEPARATORS = b" \t\r\n\"'`\\:=>(["
_GAP = frozenset(bytes([code]) for code in _SEPARATORS + b".nr")


def named(data: bytes, start: int) -> Span | None:
    """The secret that begins at `start` and that the name before it announces."""
    if data[start - 1 : start] not in _GAP:
        return None
    before = data[max(0, start - _BEFORE) : start].lower()
    if before.endswith(b"."):
        # the first part of a value with a dot in it was too short to be noticed
        parts = re.search(rb"[a-z0-9_-]+\.$", before)
        if parts:
            start -= len(parts[0])
            before = before[: parts.start()]
    found = _kind(before)
    if found is None:
        return None
    match = _VALUE.match(data, start)
    if match is None or data[match.end() : match.end() + 1] == b"(":
        return None
    value = match[0].rstrip(b".")
    return (start, start + len(value), found.kind) if found.check(value.rstrip(b"=")) else None


def _kind(before: bytes) -> Named | None:
    if before.endswith((b"\n", b"\\n")) and (part := _MULTIPART.search(before)):
        label = part[1].translate(None, b"_-.")
        return next((_NAMES[ending] for ending in _ENDINGS if label.endswith(ending)), None)
    if b"\\" in before:
        before = before.replace(b"\\n", b" ").replace(b"\\r", b" ").replace(b"\\t", b" ")
    name = before.rstrip(_SEPARATORS)
    gap = before[len(name) :]
    if not gap:
        return None
    if name.endswith(b" is"):
        name, gap = name[:-3], b":"
    tail = name[-32:].translate(None, b"_- .")
    if tail.endswith(_ENDINGS):
        ending = next(ending for ending in _ENDINGS if tail.endswith(ending))
        spaced = ending == b"bearer" and gap.isspace()
        return _NAMES[ending] if spaced or (ending != b"bearer" and (b":" in gap or b"=" in gap)) else None
    if gap == b"=" and (parameter := _PARAMETER.search(before)) and parameter[1] in _QUERY:
        return Named(_QUERY[parameter[1]])
    return None


_COOKIE = re.compile(rb"cookie2?(?:\\*[\"'])?\s*:\s*\[?\s*(?:\\*[\"'])?", re.IGNORECASE)
_COOKIE_PAIR = re.compile(rb"[\w.!#$%&*+^`|~-]+=([^\s;,\"'\\]+)(?:;\s*)?")
_BASIC = re.compile(rb"basic\s+([A-Za-z0-9+/_-]{6,}={0,2})(?![A-Za-z0-9])", re.IGNORECASE)
_URL_PASSWORD = re.compile(rb"://[^\s/:@\"'<>\\?#]{0,200}:([^\s/\"'<>\\?#]{1,400})@")
_PASSWORD = re.compile(rb"(?:password|pwd)\s*=\s*([^;\"'\s\\&]{3,200})", re.IGNORECASE)
_CONNECTION = re.compile(rb"(?:server|data source|host|uid|user id|user|database|endpoint|initial catalog)\s*=", re.I)
_PEM = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----((?:(?!-----).){32,20000})(?:-----END |\Z)|"
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----([A-Za-z0-9+/=\\\s]{64,})",
    re.DOTALL,
)
_PEM_EDGE, _PEM_END = re.compile(rb"(?:\s|\\+[nrt])*"), re.compile(rb"(?:\s|\\+[nrt])*\Z")
_PEM_LINE = re.compile(rb"(?<!\\)[A-Za-z0-9+/]{20,}={0,2}")
_SHOWN_AS_PASSWORD = frozenset(b"password passwd pass pwd secret pw xxx *** ... user pass@".split())
_TEMPLATE = re.compile(rb"^[$%{<\[*]|\$\{|\{\{")


def marked(data: bytes, lower: bytes) -> Iterator[Span]:
    """Secrets of any length that a word or sign marks. `lower` is `data` in lower case."""
    if b"@" in data:
        yield from _each(data, data, b"://", _URL_PASSWORD, "url-password", _is_password)
    yield from _cookies(data, lower)
    yield from _each(data, lower, b"basic ", _BASIC, "basic-credential", is_basic)
    for word in (b"password=", b"pwd="):
        for start, end, kind in _each(data, lower, word, _PASSWORD, "connection-string", lambda value: True):
            near = lower[max(0, start - 200) : end + 200]
            if b";" in near and _CONNECTION.search(near) and _is_password(data[start:end]):
                yield start, end, kind
    at = -1
    while (at := data.find(b"-----BEGIN ", at + 1)) >= 0:
        if match := _PEM.match(data, at):
            yield from _private_key(data, *match.span(1 if match[1] else 2))


def _each(
    data: bytes, where: bytes, word: bytes, pattern: re.Pattern[bytes], kind: str, check: Callable[[bytes], bool]
) -> Iterator[Span]:
    at = -1
    while (at := where.find(word, at + 1)) >= 0:
        match = pattern.match(data, at)
        if match and check(match[1]):
            yield (*match.span(1), kind)


def _cookies(data: bytes, lower: bytes) -> Iterator[Span]:
    """The values of a Cookie field; of Set-Cookie the first, for attributes follow it (RFC 6265 section 4)."""
    at = -1
    while (at := lower.find(b"cookie", at + 1)) >= 0:
        head = _COOKIE.match(data, at)
        pair = head and _COOKIE_PAIR.match(data, head.end())
        while pair:
            if len(pair[1]) >= 6 and not is_stand_in(pair[1]):
                yield (*pair.span(1), "cookie")
            pair = None if lower.endswith(b"set-", 0, at) else _COOKIE_PAIR.match(data, pair.end())


def _private_key(data: bytes, start: int, end: int) -> Iterator[Span]:
    """The text between the lines of a PEM block; line by line where it stands in several strings."""
    start, end = _PEM_EDGE.match(data, start, end).end(), _PEM_END.search(data, start, end).start()  # type: ignore[union-attr]
    body = data[start:end]
    if b'"' in body or b"'" in body:
        for line in _PEM_LINE.finditer(data, start, end):
            yield (*line.span(), "private-key")
    elif len(_PEM_LINE.findall(body)):
        yield start, end, "private-key"


def is_basic(value: bytes) -> bool:
    """Whether the base64 of `Basic` says `user:password` (RFC 7617)."""
    try:
        text = base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_" if _url_safe(value) else None)
        name, colon, password = text.decode("utf-8").partition(":")
    except (ValueError, binascii.Error):
        return False
    return bool(colon and (name or password)) and text.decode().isprintable()


def _url_safe(value: bytes) -> bool:
    return b"-" in value or b"_" in value


def _is_password(value: bytes) -> bool:
    """One or two letters, words that say "password here" and templates are none."""
    return (
        len(value) > 2
        and value.lower() not in _SHOWN_AS_PASSWORD
        and not _TEMPLATE.search(value)
        and not is_stand_in(value)
    )
