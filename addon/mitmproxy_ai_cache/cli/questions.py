"""What `ai-cache explain` is asked about: a file of any kind -> requests as a client sent them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from ..cassettes import file as cassette
from ..cassettes import names, parts
from ..identity.stored_request import request_of
from ..interchange.importing import BrokenRecording, Kept, NotARecording, Skipped, Unusable, read
from ..interchange.importing.exchanges import request as request_from
from ..wire import our_headers
from ..wire.messages import Headers, Request

_FORMS = "a cassette, a HAR file, a mitmproxy flow file, a vcrpy cassette or the report of a run"
_SHOWN = 300
"""Characters of a path in a message."""


class NoQuestion(ValueError):
    """The file holds nothing that could be explained. One line for a user."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a file. `name` is for people: its number among the others, or nothing."""

    name: str
    request: Request


@dataclass(frozen=True, slots=True)
class Unread:
    """A request that is in the file and cannot be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a file asks."""

    asked: Iterable[Asked | Unread]
    namespace: str | None = None
    """The one that the file itself names, where it does: only a cassette."""


@dataclass(frozen=True, slots=True)
class Told:
    """The misses of a report: what that run said of them. It does not keep the requests themselves."""

    misses: tuple[tuple[str, tuple[str, ...]], ...]
    """The line of a call, and its explanation."""


def of_body(body: bytes, url: str, method: str, fields: Iterable[str]) -> Question:
    """A body alone, with what the command line says of it. `fields` are `NAME:VALUE`. Raises `NoQuestion`."""
    headers = []
    for text in fields:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise NoQuestion(f"--header is {text!r}; write NAME:VALUE, for example anthropic-version:2023-06-01")
        headers.append((name.strip(), value.strip()))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    try:
        return Question([Asked("", request_from(method, url, headers, body))])
    except Unusable:
        raise NoQuestion(f"--url is {url!r}; write for example https://api.openai.com/v1/chat/completions") from None


def content(path: Path) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises `NoQuestion`."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise NoQuestion(f"{path} cannot be read: {error.strerror or error}") from None


def of_file(path: Path) -> Question | Told:
    """What a recording or a report asks. Raises `NoQuestion`."""
    value = _object(content(path))
    if isinstance(value.get("misses"), list):
        return Told(tuple(_told(value["misses"])))
    if "version" in value and isinstance(value.get("request"), dict) and isinstance(value.get("response"), dict):
        return _of_cassette(path)
    return Question(_of_recording(path))


def _object(data: bytes) -> dict[str, Any]:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        try:
            value = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
            return value if isinstance(value, dict) else {}
        except orjson.JSONDecodeError:
            pass  # whoever reads it in full says what is wrong
    return {}


def _told(misses: list[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for miss in misses:
        if isinstance(miss, dict):
            yield str(miss.get("call", "")), tuple(map(str, miss.get("explanation") or ()))


def _of_cassette(path: Path) -> Question:
    try:
        text = content(path).decode()
        entry = cassette.decode(text, lambda name: _part(path, name), response=False).entry
    except (cassette.BrokenCassette, UnicodeDecodeError, parts.BrokenPart) as error:
        raise NoQuestion(f"{path} cannot be read: {error}") from None
    return Question([Asked("", request_of(entry))], entry.namespace)


def _part(path: Path, name: str) -> str:
    """A part stands in the directory of cassettes, somewhere above their files. Raises `BrokenPart`."""
    for folder in path.absolute().parents if parts.is_name(name) else ():
        found = folder / names.PARTS / name
        if found.is_file():
            return parts.checked(name, found.read_bytes())
    raise parts.BrokenPart(
        f"there is no {names.PARTS}/{name} above it" if parts.is_name(name) else "a part has no name"
    )


def _of_recording(path: Path) -> Iterator[Asked | Unread]:
    try:
        for number, recorded in enumerate(read(path), 1):
            if isinstance(recorded, Skipped):
                yield Unread(f"#{number}", recorded.reason)
            else:
                asked = request_of(recorded.entry) if isinstance(recorded, Kept) else recorded.request
                yield Asked(f"#{number}", asked)
    except NotARecording:
        raise NoQuestion(f"{path} is not {_FORMS}; for the body of a request add --url URL") from None
    except BrokenRecording as error:
        raise NoQuestion(f"{path}: {error}") from None


def without_namespace(request: Request) -> Request:
    """`request` without its wish for a namespace."""
    return replace(
        request, headers=Headers(pair for pair in request.headers if pair[0].lower() != our_headers.NAMESPACE)
    )
