"""A request body as the protocols and the key see it: JSON, multipart, or just bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from . import content_coding
from .json_body import DuplicateMembers, Json, NotCanonical, TooComplex, parse, parse_leniently
from .messages import Request

_MAX_PARTS = 1000
"""Most parts of a multipart body that are told apart. Real ones have some twenty; each costs microseconds."""

_PARAMETER = re.compile(r""";\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]++|\\.)*+)"|([^\s;"]*))""", re.DOTALL)
"""RFC 9110 section 5.6.6. Of our own, and linear: `email` takes quadratic time, hours for a header of 10 MB."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of multipart/form-data (RFC 7578): its header block as sent, the name in it, its data."""

    head: bytes
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """`raw` is the body without its content coding.

    `json` is exact where `kind` is `json`, and a mere reading where it is `raw`.
    """

    kind: str
    """`json`, `multipart`, `raw`, `duplicate-members`, `undecodable`, `too-large` or `unseen` (streamed past us)."""
    raw: bytes = b""
    json: Json = None
    parts: tuple[Part, ...] = ()

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is something else."""
        return self.json if isinstance(self.json, dict) else {}

    def field(self, name: str) -> str:
        """A text field of a multipart body."""
        return next((part.data.decode("utf-8", "replace") for part in self.parts if part.name == name), "")


def read(request: Request, limit: int) -> Body:
    """What the body of `request` is. Never raises: what cannot be read is `raw`, or says why not in `kind`."""
    if request.body is None:
        return Body("unseen")
    raw = request.body
    if len(raw) > limit:
        return Body("too-large")
    if coding := request.headers.get("content-encoding"):
        try:
            decoded = content_coding.decode(raw, coding, limit)
        except content_coding.TooLarge:
            return Body("too-large")
        except ValueError:
            return Body("undecodable", raw)
        if not decoded.complete:
            return Body("undecodable", raw)
        raw = decoded.body
    content_type = request.headers.get("content-type")
    if content_type.lower().startswith("multipart/"):
        parts = _parts(raw, content_type)
        return Body("multipart", raw, parts=parts) if parts else Body("raw", raw)
    if raw[:1] not in (b"{", b"[") and raw.lstrip()[:1] not in (b"{", b"["):
        return Body("raw", raw)
    try:
        try:
            return Body("json", raw, parse(raw))
        except NotCanonical:
            return Body("raw", raw, parse_leniently(raw))
    except DuplicateMembers:
        return Body("duplicate-members", raw)
    except TooComplex:
        return Body("too-large")


def parameter(header: str, name: str) -> str:
    """A parameter of a `type/subtype; name=value` header, unquoted; empty where there is none to make sense of.

    One that is there twice, or in the extended notation of RFC 8187, is none: readers differ in which they take.
    """
    found = [match for match in _PARAMETER.finditer(header) if match[1].lower().partition("*")[0] == name]
    if len(found) != 1 or "*" in found[0][1]:
        return ""
    quoted, plain = found[0][2], found[0][3]
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain


def _parts(raw: bytes, content_type: str) -> tuple[Part, ...]:
    """The parts in their order, or nothing where the body does not keep to RFC 2046 section 5.1 to the letter.

    Readers differ in what they make of text before the first delimiter and after the last one, and of lines that merely
    begin like a delimiter. A body that has such counts by its bytes.
    """
    boundary = parameter(content_type, "boundary").encode("latin-1", "replace")
    if not boundary or not raw.startswith(b"--" + boundary):
        return ()
    before, *pieces, last = (b"\r\n" + raw).split(b"\r\n--" + boundary, _MAX_PARTS + 1)
    if before or last not in (b"--", b"--\r\n"):
        return ()
    parts = []
    for piece in pieces:
        head, separator, data = piece.partition(b"\r\n\r\n")
        if not piece.startswith(b"\r\n") or not separator:
            return ()
        parts.append(Part(head, _name(head), data))
    return tuple(parts)


def _name(head: bytes) -> str:
    """The name in the Content-Disposition of a part."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        label, _, value = line.partition(":")
        if label.strip().lower() == "content-disposition":
            return parameter(value, "name")
    return ""
