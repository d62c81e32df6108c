"""The text of a cassette: one recorded exchange, made to be read in a pull request.

`answer` is for people and is not read again. All other members give back the entry: its bodies byte for byte, `date` to
the second, `timing` to the millisecond. There is no key in it: keys are computed of the recorded request, so that a new
release with other rules finds old recordings. A cassette has no time to live.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..entries.entry import Entry, tokens_of
from ..entries.usage import Usage
from ..system import foreign_files
from ..wire.field_syntax import FINAL, is_value, problem
from ..wire.safe_text import one_line
from . import bodies, json_text, parts
from .json_text import Json, Lines, NotExact, OneLine
from .parts import BrokenPart, Extraction
from .readable import readable

VERSION = 1
"""Of the format. What older releases wrote is read for ever: `_UPGRADES` has the way from each version to the next."""

_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}

_KEPT = ("status", "cacheable", "body")
"""Members that say something where they are empty, zero or false."""

_SEQUENCE = re.compile(r".*-([1-9]\d*)")


class BrokenCassette(ValueError):
    """A file that is no cassette we can read. The message is a reason for a person."""


class NotWritable(ValueError):
    """An entry that no cassette can hold."""


@dataclass(frozen=True, slots=True)
class Cassette:
    """What a file says. `entry` has no key; `sequence` is 1 but for later answers to the same request."""

    entry: Entry
    sequence: int = 1
    parts: frozenset[str] = frozenset()
    """The parts the file names itself. A part may name others."""


def sequence_of(key: str) -> int:
    """The n of `BASE-n`, else 1."""
    found = _SEQUENCE.fullmatch(key)
    return int(found[1]) if found else 1


def encode(entry: Entry) -> tuple[str, dict[str, str]]:
    """The text for `entry`, and the parts it names with their contents. It was read back and compared.

    Raises `NotWritable`.
    """
    wanted = _comparable(entry)
    for encoder in (_with_parts, _plainly):
        try:
            text, contents = encoder(entry)
            if _comparable(decode(text, contents.__getitem__).entry) == wanted:
                return text, contents
        except (NotExact, BrokenCassette, KeyError, TypeError, UnicodeEncodeError):
            continue
    raise NotWritable("it cannot be written so that it comes back as it was")


def _comparable(entry: Entry) -> Entry:
    """`entry` as a cassette keeps it."""
    return replace(
        entry,
        key="",
        ttl=0.0,
        grace=0.0,
        created=_seconds(_date(entry.created)),
        first_byte=_thousandth(entry.first_byte),
        total=_thousandth(entry.total),
    )


def _with_parts(entry: Entry) -> tuple[str, dict[str, str]]:
    extraction = Extraction()
    request = _body(entry.request)
    if "body" in request:
        request["body"] = extraction.request(request["body"])
    response = _body(entry.body, entry.format)
    if "body" in response:
        response["body"] = extraction.response(response["body"])
    return json_text.render(_document(entry, request, response, readable(entry))), extraction.taken


def _body(data: bytes, format: str = "") -> dict[str, Json]:
    return bodies.encode(data, format)


def _plainly(entry: Entry) -> tuple[str, dict[str, str]]:
    """Where anything else fails. A `$part` in a text is a text."""
    return json_text.render(_document(entry, bodies.plain(entry.request), bodies.plain(entry.body), None)), {}


def _document(entry: Entry, request: dict[str, Json], response: dict[str, Json], answer: Json) -> dict[str, Json]:
    sequence = sequence_of(entry.key)
    head = {
        "version": VERSION,
        "date": _date(entry.created),
        "ai_cache": __version__,
        "run": entry.run,
        "protocol": entry.protocol,
        "model": entry.model,
        "namespace": entry.namespace,
        "sequence": sequence if sequence > 1 else None,
        "redacted": entry.redacted or None,
        "answer": answer,
    }
    sent = {
        "method": entry.method,
        "url": entry.url,
        "stream": entry.stream,
        "live": entry.live,
        "headers": _headers(entry.request_headers),
        **request,
    }
    timing = {"first_byte": _thousandth(entry.first_byte), "total": _thousandth(entry.total)}
    received = {
        "status": entry.status,
        "headers": _headers(entry.headers),
        "format": entry.format,
        **({} if entry.cacheable else {"cacheable": False}),
        "issued": entry.issued,
        "tokens": OneLine(_without(entry.usage._asdict())),
        "timing": OneLine(_without(timing)),
        **response,
    }
    return {
        **{name: value for name, value in head.items() if value not in (None, "")},
        "request": _without(sent),
        "response": _without(received),
    }


def _without(members: dict[str, Json]) -> dict[str, Json]:
    """Without what is empty, zero or false: that is what its absence means."""
    return {name: value for name, value in members.items() if value or name in _KEPT}


def _headers(fields: tuple[tuple[str, str], ...]) -> Json:
    """By name where none comes twice, else a list of pairs."""
    by_name = dict(fields)
    return by_name if len(by_name) == len(fields) else Lines([name, value] for name, value in fields)


def text_of(data: bytes) -> str:
    """The text of a file. Raises `BrokenCassette`."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        why = foreign_files.problem(data) or f"it is no UTF-8 (line {line}); {foreign_files.AGAIN}"
        raise BrokenCassette(why) from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"


def decode(text: str, content_of: Callable[[str], str], *, request: bool = True, response: bool = True) -> Cassette:
    """What the file says; `request` and `response` say whether these bodies are wanted. Raises `BrokenCassette`."""
    try:
        document = _upgraded(json_text.loads_own(text.removeprefix("\ufeff")))
        found = Cassette(*_read(document, content_of, request, response), parts.named(text))
        _check(found.entry, text)
        return found
    except NotExact as error:
        why = foreign_files.problem(text.encode(errors="replace")) or f"it is no JSON ({error}); {foreign_files.AGAIN}"
        raise BrokenCassette(why) from None
    except BrokenPart as error:
        raise BrokenCassette(str(error)) from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, BrokenCassette):
            raise
        raise BrokenCassette(f"it is no cassette ({_first_line(error)}); {foreign_files.AGAIN}") from None


def _upgraded(document: Json) -> dict[str, Any]:
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BrokenCassette(f"it is no cassette (it has no version); {foreign_files.AGAIN}, or move it elsewhere")
    if version > VERSION:
        raise BrokenCassette(
            f"it was written by a newer ai-cache (format {version}; this one reads up to {VERSION}); update ai-cache"
        )
    result: dict[str, Any] = document
    while version < VERSION:
        result = _UPGRADES[version](result)
        version += 1
    return result


def _read(
    document: dict[str, Any], content_of: Callable[[str], str], with_request: bool, with_response: bool
) -> tuple[Entry, int]:
    request, response = document["request"], document["response"]
    tokens, timing = response.get("tokens", {}), response.get("timing", {})
    entry = Entry(
        key="",
        created=_seconds(document["date"]),
        ttl=0.0,
        status=_typed(response["status"], int),
        headers=_fields(response.get("headers", {})),
        format=_typed(response.get("format", ""), str),
        body=_bytes(response, content_of) if with_response else b"",
        request=_bytes(request, content_of) if with_request else b"",
        request_headers=_fields(request.get("headers", {})),
        cacheable=response.get("cacheable") is not False,
        protocol=_typed(document.get("protocol", ""), str),
        model=_typed(document.get("model", ""), str),
        method=_typed(request.get("method", ""), str),
        url=_typed(request.get("url", ""), str),
        stream=request.get("stream") is True,
        live=request.get("live") is True,
        namespace=_typed(document.get("namespace", ""), str),
        run=_typed(document.get("run", ""), str),
        redacted=document.get("redacted") is True,
        issued=_typed(response.get("issued", ""), str),
        **tokens_of(Usage(*(_typed(tokens.get(name, 0), int) for name in Usage._fields))),
        first_byte=float(timing.get("first_byte", 0)),
        total=float(timing.get("total", 0)),
    )
    return entry, max(1, _typed(document.get("sequence", 1), int))


def _check(entry: Entry, text: str) -> None:
    """Whether the answer can be replayed as it stands. Raises `BrokenCassette`, `UnicodeEncodeError`."""
    if entry.status not in FINAL:
        where = _place(text, f'"status": {entry.status}')
        raise BrokenCassette(f"its status is {entry.status}{where}, which no answer has; {foreign_files.AGAIN}")
    for name, value in entry.headers:
        if why := problem(name, value):
            where = _place(text, json.dumps(name, ensure_ascii=False))
            raise BrokenCassette(f"its header has {one_line(name, 40)!r}{where}: {why}; remove that field")
    for name, value in entry.request_headers:
        if not is_value(value) or not is_value(name):
            where = _place(text, json.dumps(name, ensure_ascii=False))
            raise BrokenCassette(f"its request has {one_line(name, 40)!r}{where}: no field of HTTP; remove it")
    if min(entry.usage) < 0 or min(entry.first_byte, entry.total) < 0:
        raise BrokenCassette(f"it counts below zero (tokens or timing); {foreign_files.AGAIN}")
    "".join((entry.protocol, entry.model, entry.method, entry.url, entry.namespace, entry.run, entry.issued)).encode()


def _place(text: str, searched: str) -> str:
    """Where `searched` stands last: answers follow their requests."""
    at = text.rfind(searched)
    return f" (line {text.count(chr(10), 0, at) + 1})" if at >= 0 else ""


def _typed[T](value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _bytes(members: dict[str, Json], content_of: Callable[[str], str]) -> bytes:
    body = members.get("body")
    content_of = parts.bounded(content_of)
    if members.get("encoding") in ("text", "base64") and isinstance(body, str):
        return bodies.decode(members)
    return bodies.decode({**members, "body": parts.expanded(body, content_of)})


def _fields(value: Json) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, dict) else value
    return tuple((_typed(name, str), _typed(text, str)) for name, text in pairs)


def _date(created: float) -> str | float:
    """ISO 8601 in UTC, to the second; the number itself where a calendar does not reach."""
    try:
        return datetime.fromtimestamp(int(created), UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except (ValueError, OverflowError, OSError):
        return float(int(created))


def _seconds(date: Any) -> float:
    return datetime.fromisoformat(date).timestamp() if isinstance(date, str) else float(date)


def _thousandth(seconds: float) -> float:
    return round(seconds, 3)
