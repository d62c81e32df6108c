"""Where the secrets in some bytes stand, at every level of wrapping.

Most bodies hold none, so what runs on every body is cheap: one `translate` shows the runs of 20 or more characters that
keys and base64 are made of (some two hundred in 100 kB), and only these and a few words are looked at closely.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from . import assignments, contexts, kinds, services
from .patterns import Pattern, is_json_number, placeholder
from .views import views

MAX_BLOB = 4 << 20
"""Characters of base64 that are decoded to look inside."""

_DEPTH = 4
"""Escapes within escapes that are undone. Tool arguments within a transcript within a request make three."""

_BLOBS = 2
"""Base64 within base64."""

_RUN = 20
"""The shortest key by its prefix (AWS key ids) has 20 characters."""

_HEAD = 4096
"""Longer runs are data: a key could only stand at their head."""

_MOST_PREFIXES = 32
"""Looked at in one run: a text made of nothing but beginnings of keys costs no more than others."""

_RUN_MARKS = bytes(chr(code).isascii() and (chr(code).isalnum() or chr(code) in "+/-_") for code in range(256))
_RUN_OF_MARKS = b"\x01" * _RUN

_SEALED = re.compile(
    rb"(?:signature|thoughtSignature|thought_signature|encrypted_content|encryptedContent|redactedContent"
    rb"|redacted_content|reasoningRedactedContent)\\*\"\s*:\s*\\*\"([A-Za-z0-9+/=_\\-]+)"
)
"""What a provider signed or encrypted, and checks when it comes back: reasoning of OpenAI, Anthropic, Gemini."""

_SEALED_BLOCK = re.compile(rb"\bredacted_thinking\b")
_DATA = re.compile(rb"\bdata\\*\"\s*:\s*\\*\"([A-Za-z0-9+/=_\\-]+)")


@dataclass(frozen=True, slots=True)
class Hit:
    """Bytes from `start` to `end` are, or hold, the secrets `found`, and become `replacement`."""

    start: int
    end: int
    replacement: bytes
    found: tuple[tuple[str, str], ...]
    """Kind and how it may be shown, one pair for each secret."""
    sealed: bool = False
    """Within an opaque field that must come back as it was: reported, never replaced."""
    late: bool = False
    """Known by its name alone: gives way to what is known by its shape, so that what older rules have replaced and
    what they have not come to the same."""


def find(data: bytes, extra: tuple[Pattern, ...] = (), depth: int = _DEPTH, blobs: int = _BLOBS) -> list[Hit]:
    """All secrets of `data`, in order and without overlap."""
    lower = data.lower()
    hits = [_hit(data, *span) for span in _spans(data, lower, extra)]
    hits += [_hit(data, *span, late=True) for span in assignments.found(data, lower)]
    if len(data) >= _RUN:
        for start, end in _new_runs(data):
            spans = [*_tokens(data, start, end)]
            if not spans and (span := contexts.named(data, start)):
                spans.append(span)
            hits += [_hit(data, *span) for span in spans]
            if blobs and not spans and (hit := _blob(data, start, end, extra, blobs)):
                hits.append(hit)
    if depth:
        for view in views(data):
            for hit in find(view.data, extra, depth - 1, blobs):
                start, end = view.back(hit.start, hit.end)
                hits.append(Hit(start, end, view.escaped(hit.replacement), hit.found, hit.sealed, hit.late))
    return _sealed(data, _apart(hits)) if hits else hits


def replaced(data: bytes, hits: Iterable[Hit]) -> bytes:
    """`data` with the replacement of each hit that is not sealed; all other bytes as they were."""
    pieces: list[bytes] = []
    at = 0
    for hit in hits:
        if not hit.sealed:
            pieces += (data[at : hit.start], hit.replacement)
            at = hit.end
    return b"".join([*pieces, data[at:]])


def _hit(data: bytes, start: int, end: int, kind: str, late: bool = False) -> Hit:
    written = placeholder(kind)
    if is_json_number(data, start, end):
        written = b'"' + written + b'"'
    return Hit(start, end, written, ((kind, shortened(data[start:end])),), late=late)


def shortened(secret: bytes) -> str:
    """Enough to recognise a key by, never enough to guess it: four characters of a long one, none of a short one."""
    head = secret[:4].decode("ascii", "replace") if len(secret) >= 20 else ""
    return (head if head.isprintable() and head.isascii() else "") + "****"


def _spans(data: bytes, lower: bytes, extra: tuple[Pattern, ...]) -> Iterator[contexts.Span]:
    for pattern in extra:
        for start, end in pattern.spans(data):
            yield start, end, pattern.kind
    yield from contexts.marked(data, lower)


def _new_runs(data: bytes) -> Iterator[tuple[int, int]]:
    """Runs of characters of keys and base64. One that comes back with the same bytes before it (the id in each event
    of a stream) comes once, unless something was found in it, which its finder sees to by the next pass."""
    marks = data.translate(_RUN_MARKS)
    seen: set[bytes] = set()
    at = 0
    while (start := marks.find(_RUN_OF_MARKS, at)) >= 0:
        end = marks.find(b"\0", start)
        at = end = end if end >= 0 else len(data)
        if start and data[start - 1] in b"\\%":  # the letters of an escape: \n, \u0022, %3D
            start += 2 if data[start - 1] == 0x25 else 5 if data[start] == 0x75 else 1
        if end - start < _RUN:
            continue
        if end - start < _HEAD:
            around = data[max(0, start - 48) : end + 1]
            if around in seen:
                continue
            seen.add(around)
        yield start, end


def _tokens(data: bytes, start: int, end: int) -> Iterator[contexts.Span]:
    """Secrets that are known by how they begin. A dot ends a run, so one may begin before it."""
    known = kinds.known()
    last = end if end - start <= _HEAD else start + 64
    at = start
    before = data[start - 1 : start]
    if before in (b".", b":", b"~"):
        for match in services.DOTTED.finditer(data, max(0, start - 64), end):
            if match.end() > start:
                yield (*match.span(), services.kind_of(match))
    if before == b".":
        for prefix in known.dotted.finditer(data, max(0, start - 64), start):
            yield from _shaped(data, prefix)
    if prefix_here := known.prefix.match(data, start, last):
        yield from _shaped(data, prefix_here)
        at = prefix_here.end()
    for prefix in islice(known.within.finditer(data, at, last), _MOST_PREFIXES):
        yield from _shaped(data, prefix)
    if 30 <= end - start <= 300 and services.may_be_marked(data[start:end]):
        for match in services.MARKED.finditer(data, start, min(len(data), end + 2)):
            if match.lastgroup != "service_key" or kinds.is_mixed(match[0]):
                yield (*match.span(), services.kind_of(match))


def _shaped(data: bytes, prefix: re.Match[bytes]) -> Iterator[contexts.Span]:
    for shape in kinds.known().shapes[prefix[0]]:
        match = shape.pattern.match(data, prefix.start())
        if match and shape.check(match[0]):
            yield (*match.span(), shape.kind)
            return


_WRAPPED = re.compile(rb"[A-Za-z0-9+/]{24,}(?:(?:\r?\n|(?:\\+r)?\\+n)[ \t]*[A-Za-z0-9+/]+)+")
_LINE_BREAK = re.compile(rb"(?:\r?\n|(?:\\+r)?\\+n)[ \t]*")
_TEXT = bytes([9, 10, 13, *range(32, 127)])


def _blob(data: bytes, start: int, end: int, extra: tuple[Pattern, ...], blobs: int) -> Hit | None:
    """A run of base64 that decodes to text in which something is found, with what it becomes."""
    if not 24 <= end - start <= MAX_BLOB or not _is_text(data[start : start + 24]):
        return None
    wrapped = _WRAPPED.match(data, start)
    for stop in (wrapped.end(), end) if wrapped else (end,):
        padding = len(data[stop : stop + 2]) - len(data[stop : stop + 2].lstrip(b"="))
        breaks = _LINE_BREAK.findall(data, start, stop) if stop > end else []
        run = _LINE_BREAK.sub(b"", data[start:stop]) if breaks else data[start:stop]
        decoded = _decoded(run)
        inner = find(decoded, extra, _DEPTH, blobs - 1) if decoded else []
        if decoded and inner:
            encoded = base64.b64encode(replaced(decoded, inner), b"-_" if _url_safe(run) else b"+/")
            if not padding and len(run) % 4:
                encoded = encoded.rstrip(b"=")
            if breaks:
                width = end - start
                encoded = breaks[0].join(encoded[at : at + width] for at in range(0, len(encoded), width))
            found = tuple(pair for hit in inner for pair in hit.found)
            return Hit(start, stop + padding, encoded, found, all(hit.sealed for hit in inner))
    return None


def _is_text(head: bytes) -> bool:
    decoded = _decoded(head)
    if decoded is None:
        return False
    if not decoded.translate(None, _TEXT):
        return True
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(decoded) - 3 or error.reason != "unexpected end of data":
            return False
        text = decoded[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def _decoded(run: bytes) -> bytes | None:
    if len(run) % 4 == 1:
        return None
    try:
        standard = run.replace(b"-", b"+").replace(b"_", b"/") if _url_safe(run) else run
        return binascii.a2b_base64(standard + b"=" * (-len(run) % 4))
    except binascii.Error:
        return None


def _url_safe(run: bytes) -> bool:
    return b"-" in run or b"_" in run


def _apart(hits: list[Hit]) -> list[Hit]:
    """Of hits that overlap, the longest; of equal ones the first found, which is the most particular. What is late
    gives way to all others."""
    if any(hit.late for hit in hits) and not all(hit.late for hit in hits):
        sure = _apart([hit for hit in hits if not hit.late])
        starts = [hit.start for hit in sure]
        hits = [*sure, *(hit for hit in hits if hit.late and not _overlaps(hit, sure, starts))]
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
        elif hit.end - hit.start > kept[-1].end - kept[-1].start:
            kept[-1] = hit
    return kept


def _overlaps(hit: Hit, others: list[Hit], starts: list[int]) -> bool:
    """`others` are in order and apart; `starts` says where they begin."""
    place = bisect_left(starts, hit.end) - 1
    return place >= 0 and others[place].end > hit.start


def _sealed(data: bytes, hits: list[Hit]) -> list[Hit]:
    spans = [match.span(1) for match in _SEALED.finditer(data)]
    if b"redacted_thinking" in data:
        for block in _SEALED_BLOCK.finditer(data):
            begin, close = data.rfind(b"{", 0, block.start()) + 1, data.find(b"}", block.end())
            stop = close if close >= 0 else len(data)
            spans += [match.span(1) for match in _DATA.finditer(data, begin, stop)]
    if not spans:
        return hits
    return [
        replace(hit, sealed=True) if any(start < hit.end and hit.start < end for start, end in spans) else hit
        for hit in hits
    ]
