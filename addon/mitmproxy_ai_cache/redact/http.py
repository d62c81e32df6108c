"""Secrets of URLs, headers and whole requests, where the names of parameters and fields say what is secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from ..protocols.providers import secret_headers
from ..wire import content_coding
from ..wire.credentials import CREDENTIAL_PARAMETERS
from ..wire.messages import Headers, Request
from .body import Finding, redact
from .kinds import is_stand_in, looks_random
from .patterns import Pattern, placeholder

MAX_DECODED = 64 << 20
"""Bytes a compressed body may have to be looked into."""

_SECRET_HEADERS = frozenset(
    """
    proxy-authorization x-auth-token x-access-token x-csrf-token x-xsrf-token private-token x-gitlab-token cookie
    set-cookie
    """.split()
)
"""Beside those of the table of providers."""
_SECRET_NAME = re.compile(r"(?:^|[-_])(?:api-?key|secret|password|access-?token|auth-?token)$")
_SIGNED_PARAMETERS = frozenset(
    """
    x-amz-signature x-amz-credential x-amz-security-token x-goog-signature x-goog-credential awsaccesskeyid
    client_secret refresh_token id_token password authorization
    """.split()
)
_PAIR = re.compile(r"(?P<name>[^=;,\s]+)=(?P<value>[^;]*)")
_USER_INFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^/@:?#]*):([^/@?#]+)@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RedactedText:
    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class RedactedHeaders:
    headers: Headers
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class RedactedRequest:
    request: Request
    findings: tuple[Finding, ...]


def redact_url(url: str, extra: tuple[Pattern, ...] = ()) -> RedactedText:
    """A URL, or its path or query alone: passwords, credentials and signatures of parameters, keys anywhere.

    What holds none comes back as the very same object.
    """
    findings: list[Finding] = []
    shown = url
    if (match := _USER_INFO.match(shown)) and not is_stand_in(match[2].encode()):
        findings.append(_finding("url-password"))
        shown = f"{match[1]}:{placeholder('url-password').decode()}@{shown[match.end() :]}"
    if "=" in shown:
        shown = _query(shown, findings)
    return _rest(url, shown, findings, extra)


def _query(url: str, findings: list[Finding]) -> str:
    """Values of parameters that carry credentials; the URL may be a bare query."""
    head, mark, query = url.rpartition("?") if "?" in url else ("", "", url)
    query, hash_mark, fragment = query.partition("#")
    pairs = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        label = unquote(name).lower()
        if equals and value and (label in CREDENTIAL_PARAMETERS or label in _SIGNED_PARAMETERS):
            kind = "url-signature" if label.startswith(("x-", "sig")) else "url-credential"
            if not is_stand_in(value.encode()):
                findings.append(_finding(kind))
            pair = f"{name}={placeholder(kind).decode()}"
        pairs.append(pair)
    return f"{head}{mark}{'&'.join(pairs)}{hash_mark}{fragment}"


def redact_headers(headers: Headers, extra: tuple[Pattern, ...] = ()) -> RedactedHeaders:
    """Fields that carry credentials lose their value, by name; cookies theirs; the rest is searched like a body."""
    findings: list[Finding] = []
    # One look at all values together: mostly there is nothing, and a look costs more than a value is long.
    together = "\n".join(value for name, value in headers)
    search = bool(extra) or bool(redact(together.encode("utf-8", "surrogatepass"), extra).findings)
    fields = [(name, _field(name.lower(), value, extra, findings, search)) for name, value in headers]
    if not findings and all(new == old for (_, new), (_, old) in zip(fields, headers, strict=True)):
        return RedactedHeaders(headers, ())
    return RedactedHeaders(Headers(fields), tuple(findings))


def redact_fields(
    fields: Iterable[tuple[str, str]], extra: tuple[Pattern, ...] = ()
) -> tuple[tuple[tuple[str, str], ...], tuple[Finding, ...]]:
    """The same for the fields of an entry."""
    redacted = redact_headers(Headers(fields), extra)
    return redacted.headers.fields, redacted.findings


def _field(name: str, value: str, extra: tuple[Pattern, ...], findings: list[Finding], search: bool) -> str:
    if name in ("cookie", "set-cookie"):
        return _cookies(name, value, findings)
    if _is_secret(name):
        scheme, blank, rest = value.partition(" ")
        known = blank and (scheme.lower() in ("bearer", "basic", "token", "apikey") or scheme.startswith("AWS4-"))
        written = f"{scheme} {placeholder('credential').decode()}" if known else placeholder("credential").decode()
        if value and value != written and not is_stand_in((rest if known else value).encode("latin-1", "replace")):
            findings.append(_finding("credential"))
        return written if value else value
    if "://" in value or name in ("location", "referer", "x-goog-upload-url", "operation-location"):
        redacted = redact_url(value, extra)
    elif search:
        redacted = _rest(value, value, [], extra)
    else:
        return value
    findings += redacted.findings
    return redacted.text


def _is_secret(name: str) -> bool:
    """Whether a header of this name, in lower case, carries a secret."""
    return name in _SECRET_HEADERS or name in secret_headers() or _SECRET_NAME.search(name) is not None


def _cookies(name: str, value: str, findings: list[Finding]) -> str:
    """Every cookie keeps its name; of Set-Cookie only the first pair is one, attributes follow (RFC 6265 section 4)."""
    hidden = placeholder("cookie").decode()

    def without(match: re.Match[str]) -> str:
        if match["value"] and match["value"] != hidden and not is_stand_in(match["value"].encode("latin-1", "replace")):
            findings.append(_finding("cookie"))
        return f"{match['name']}={hidden}" if match["value"] else match[0]

    return _PAIR.sub(without, value, count=1 if name == "set-cookie" else 0)


def redact_request(request: Request, extra: tuple[Pattern, ...] = (), limit: int = MAX_DECODED) -> RedactedRequest:
    """The request as it may be kept: path, query, headers and body.

    Take the isolation scope of the original first: here its credentials are gone. A compressed body is looked into
    up to `limit` bytes, and loses its coding where something was found. A body that was not seen stays None.
    """
    path = redact_url(request.path, extra)
    query = redact_url(request.query, extra) if request.query else RedactedText("", ())
    headers = redact_headers(request.headers, extra)
    sent, plain = _plain_body(request, limit)
    body = redact(plain, extra)
    kept = headers.headers
    if body.data is plain:
        new_body = request.body
    else:
        new_body = body.data
        if sent:
            kept = Headers((name, value) for name, value in kept if name.lower() != "content-encoding")
    findings = (*path.findings, *query.findings, *headers.findings, *body.findings)
    if not findings and (path.text, query.text) == (request.path, request.query) and kept is request.headers:
        return RedactedRequest(request, ())
    return RedactedRequest(replace(request, path=path.text, query=query.text, headers=kept, body=new_body), findings)


def credentials_of(request: Request) -> tuple[Pattern, ...]:
    """Patterns that find this request's own credentials wherever a provider repeats them, whatever their shape.

    Only what looks random: a key `test` may be a word of the answer.
    """
    values: set[str] = set()
    for name, value in request.headers:
        if name.lower() in ("cookie", "set-cookie"):
            values |= {match["value"] for match in _PAIR.finditer(value)}
        elif _is_secret(name.lower()):
            values.add(value.rpartition(" ")[2])
    for pair in request.query.split("&"):
        name, _, value = pair.partition("=")
        if unquote(name).lower() in CREDENTIAL_PARAMETERS | _SIGNED_PARAMETERS:
            values |= {value, unquote(value)}
    found = sorted(value.encode("utf-8", "surrogateescape") for value in values)
    return tuple(Pattern("credential", re.compile(re.escape(value))) for value in found if looks_random(value))


def _plain_body(request: Request, limit: int) -> tuple[bool, bytes]:
    """Whether the body had a content coding that was undone, and the body."""
    coding = request.headers.get("content-encoding")
    if not request.body or not coding:
        return False, request.body or b""
    try:
        decoded = content_coding.decode(request.body, coding, limit)
    except ValueError:
        return False, request.body
    return (True, decoded.body) if decoded.complete else (False, request.body)


def _rest(original: str, shown: str, findings: list[Finding], extra: tuple[Pattern, ...]) -> RedactedText:
    """What the names did not say: keys by their shape. Text that is no latin-1 passes as UTF-8."""
    data = shown.encode("utf-8", "surrogatepass")
    redacted = redact(data, extra)
    if redacted.data is not data:
        shown = redacted.data.decode("utf-8", "surrogatepass")
    return RedactedText(original if shown == original else shown, (*findings, *redacted.findings))


def _finding(kind: str) -> Finding:
    return Finding(kind, 0, 0, "****")
