"""What every importer yields, and what they share: from the strings of a recording to a request and its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ...entries.entry import Entry
from ...protocols.base import Ending
from ...wire import content_coding
from ...wire.messages import Headers, Request

_FRAMING = frozenset(
    "host content-length transfer-encoding connection keep-alive proxy-connection proxy-authorization te trailer "
    "upgrade expect".split()
)
"""What belongs to one connection (RFC 9110 section 7.6.1), or is computed again: recorders re-serialise bodies."""

_BREAKS = re.compile(r"[\r\n\0]")
_UNESCAPED = "".join(map(chr, range(0x21, 0x7F)))
_PROBE = 256 << 20
"""Bytes: a body that decodes to more is left to the gate, which has a limit of its own."""

_MAGIC = ((b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


class NotARecording(ValueError):
    """The file is of none of the forms that can be imported. One line."""


class BrokenRecording(ValueError):
    """The file has the form of a recording, but cannot be read to its end. One line."""


class Unusable(ValueError):
    """One exchange of a recording that cannot be imported. The message says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request and its answer as another tool kept them."""

    request: Request
    status: int
    headers: Headers
    """Of the answer. `content-encoding` says the truth about `body`."""
    body: bytes
    when: float | None = None
    """Unix time of the request, where it is known."""
    seconds: float = 0.0
    """From the request to the end of the answer; 0 where it is not known."""
    ending: Ending = Ending.CLEAN
    left_out: tuple[str, ...] = ()
    """Names of fields of the answer that would be more than one line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry of another store, as it was there."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Skipped:
    """An exchange that is in the file, and why it cannot be imported."""

    reason: str


def request(method: str, url: str, fields: Iterable[tuple[str, str]], body: bytes | None) -> Request:
    """A request as its client would send it through the proxy. Raises `Unusable`.

    The Host header is that of the URL: recorders leave it out, or hold what HTTP/2 calls `:authority`. `body` is None
    where the recording does not have it.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        raise Unusable("no http URL") from None
    if not host or not re.fullmatch(r"[\x21-\x7e]+", host):
        raise Unusable("no http URL")
    named = f"[{host}]" if ":" in host else host
    authority = named if port == {"http": 80, "https": 443}[parts.scheme] else f"{named}:{port}"
    kept = Headers([("host", authority), *(field for field in _safe(fields) if field[0].lower() not in _FRAMING)])
    return Request(
        method=method.upper(),
        scheme=parts.scheme,
        host=host,
        port=port,
        path=quote(parts.path, safe=_UNESCAPED) or "/",
        query=quote(parts.query, safe=_UNESCAPED),
        headers=kept if body is None else truthful(kept, body),
        body=body,
    )


def scalar(value: Any) -> str:
    """The text of a name or a value of a header. Raises TypeError for a list or an object, which may be endless."""
    if isinstance(value, list | dict | tuple | set):
        raise TypeError("no text")
    return str(value)


def status(value: Any) -> int:
    """A final status code (RFC 9110 section 15). Raises `Unusable`, ValueError, TypeError."""
    code = int(value)
    if not 200 <= code <= 599:
        raise Unusable("no answer" if code == 0 else f"status {code} is no answer (200 to 599 are)")
    return code


def answer_headers(fields: Iterable[tuple[str, str]], body: bytes) -> Headers:
    """The header of an answer without what the recording made untrue."""
    return truthful(Headers(field for field in _safe(fields) if field[0].lower() not in _FRAMING), body)


def split_fields(fields: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The names of those that would be more than one line. Browsers join cookies so: they are none."""
    return tuple(
        name for name, value in fields if _BREAKS.search(name + value) and name.lower() not in ("set-cookie", "cookie")
    )


def _safe(fields: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Without HTTP/2 pseudo-headers, and without what would be two lines on the wire: a file may hold anything."""
    for name, value in fields:
        if name and not name.startswith(":") and not _BREAKS.search(name + value):
            yield name, value.encode("utf-8", "replace").decode("latin-1") if not value.isascii() else value


def truthful(headers: Headers, body: bytes) -> Headers:
    """`headers` with the content coding that `body` has.

    Recorders decode bodies and keep the header (vcrpy below requests, HAR), or drop the header and keep the coding.
    """
    said = headers.get("content-encoding").strip().lower()
    actual = _coding(said, headers.get("content-type").lower(), body)
    if actual == said:
        return headers
    others = [(name, value) for name, value in headers if name.lower() != "content-encoding"]
    return Headers([*others, ("content-encoding", actual)] if actual else others)


def _coding(said: str, content_type: str, body: bytes) -> str:
    if said and said != "identity":
        return "" if _is_text(body) and not _undoes(said, body) else said
    for magic, name in _MAGIC:
        if body.startswith(magic):
            return name
    # Brotli has no magic number: what ought to be text, is none, and decodes to its end.
    textual = content_type.startswith("text/") or "json" in content_type
    return "br" if body and textual and not _is_text(body) and _undoes("br", body) else said


def _undoes(coding: str, body: bytes) -> bool:
    try:
        return content_coding.decode(body, coding, _PROBE).complete
    except content_coding.TooLarge:
        return True
    except content_coding.UnknownCoding:
        return False


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in body


def encoded(text: str) -> bytes:
    """UTF-8. Pairs of surrogates, as JSON writes them into YAML, become their character; lone ones a question mark."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")
