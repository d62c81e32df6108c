"""The last look at a recording before it is written: is there a secret in what a reader could make of it?

Redaction has run by then. What is found here could not be replaced: a stream spells it in a way that nobody knew, a
provider signed it. Such a recording is not written.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from ..entries.entry import Entry
from ..redact import Pattern, redact, redact_fields, redact_url
from ..redact.entries import hidden
from ..wire.framing import FRAMINGS, Event
from ..wire.safe_text import one_line
from .file import NotWritable, encode
from .json_text import Json
from .readable import readable

_LONG = 1024
"""Characters of a piece. Of a longer one its begin and its end can be parts of something that is spelled."""

_NO_TEXT = re.compile(
    r"(?:^|_)(?:id|type|object|model|role|status|reason|obfuscation|signature|data|fingerprint)$", re.I
)
"""Members that hold names and numbers, the same in event after event."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that is still there. It is in none of these."""

    place: str
    """For a person: `response.body.choices[0].message.content`."""
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.place}"


Compose = Callable[[Entry, tuple[Pattern, ...]], tuple[str, dict[str, str]]]


class HoldsSecret(NotWritable):
    """A recording with a secret that cannot be taken out of it. The message names kinds and places."""

    def __init__(self, leaks: tuple[Leak, ...]) -> None:
        self.leaks = leaks
        super().__init__(", ".join(map(str, leaks[:3])) + (f" and {len(leaks) - 3} more" if len(leaks) > 3 else ""))


def unwritten(entry: Entry, error: HoldsSecret) -> str:
    """What a person is told of an answer that is not recorded."""
    url = one_line(redact_url(entry.url).text, 200)
    return (
        f"the answer to {entry.method} {url} holds a secret that cannot be taken out ({error}); keep the secret out of "
        "the prompt, then record it with ai-cache record -- COMMAND"
    )


def compose(entry: Entry, patterns: tuple[Pattern, ...] = ()) -> tuple[str, dict[str, str]]:
    """The text of the cassette of `entry` and its parts, by name, without secrets.

    Raises `NotWritable`, `HoldsSecret`.
    """
    entry = hidden(entry, patterns)
    text, contents = encode(entry)
    if leaks := in_cassette(entry, text, contents, patterns):
        raise HoldsSecret(leaks)
    return text, contents


def in_cassette(
    entry: Entry, text: str, contents: Mapping[str, str], patterns: tuple[Pattern, ...] = ()
) -> tuple[Leak, ...]:
    """In `text` and `contents`, which are to become the files of `entry`."""
    found = [Leak(place_of(text, start), kind) for kind, start in _findings(text.encode(), patterns)]
    for name, content in contents.items():
        found += [Leak(f"parts/{name}", kind) for kind, _ in _findings(content.encode(), patterns)]
    return tuple(dict.fromkeys([*found, *_spelled(entry, patterns)]))


def in_entry(entry: Entry, patterns: tuple[Pattern, ...] = ()) -> tuple[Leak, ...]:
    """In an entry for a store that does not make files of it."""
    found = [Leak("request.url", finding.kind) for finding in redact_url(entry.url, patterns).findings]
    for place, fields in (("request.headers", entry.request_headers), ("response.headers", entry.headers)):
        found += [Leak(place, finding.kind) for finding in redact_fields(fields, patterns)[1]]
    for place, body in (("request.body", entry.request), ("response.body", entry.body)):
        found += [Leak(place, kind) for kind, _ in _findings(body, patterns)]
    shown = json.dumps(readable(entry), ensure_ascii=False, default=str).encode("utf-8", "replace")
    found += [Leak("answer", kind) for kind, _ in _findings(shown, patterns)]
    return tuple(dict.fromkeys([*found, *_spelled(entry, patterns)]))


def _findings(data: bytes, patterns: tuple[Pattern, ...]) -> list[tuple[str, int]]:
    return [(finding.kind, finding.start) for finding in redact(data, patterns).findings]


def place_of(text: str, offset: int) -> str:
    """The path of the member of a JSON text that stands at `offset` of its UTF-8."""
    position = len(text.encode()[:offset].decode("utf-8", "ignore"))
    path: list[str | int] = []
    key = ""
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if match.start() > position:
            break
        if sign in ("{", "["):
            path.append("" if sign == "{" else 0)
        elif sign in ("}", "]"):
            path.pop()
        elif sign == "," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif sign == ":" and path:
            path[-1] = key
        elif sign.startswith('"'):
            key = json.loads(sign)
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".") or "the file"


# What pieces spell together


def _spelled(entry: Entry, patterns: tuple[Pattern, ...]) -> Iterator[Leak]:
    """In the texts that a reader can put together of the answer, whatever its protocol: the values that the same
    member has in event after event, and in item after item of a list."""
    texts: dict[str, list[str]] = defaultdict(list)
    for event in _events(entry):
        try:
            _gather(event.value, "response.body", texts, ())
        except RecursionError:
            continue
    for place, pieces in texts.items():
        if len(pieces) > 1 and len(set(pieces)) > 1:
            together = "".join(pieces).encode("utf-8", "replace")
            for kind, _ in _findings(together, patterns):
                yield Leak(f"{place} (put together)", kind)


def _events(entry: Entry) -> list[Event]:
    try:
        if entry.format in FRAMINGS:
            return FRAMINGS[entry.format].parse(entry.body).events
        return [Event("", entry.body)]
    except (ValueError, KeyError, TypeError):
        return []


def _gather(value: Json, place: str, texts: dict[str, list[str]], wild: tuple[str, ...], spelled: bool = True) -> None:
    """Adds every string of `value` to the texts it can be a part of. `place` names it by where it stands, `wild` are
    the names of the texts that go on from item to item of one of the lists around it."""
    if isinstance(value, str):
        if value and spelled:
            piece = value if len(value) <= _LONG else f"{value[: _LONG // 2]}\n{value[-_LONG // 2 :]}"
            for name in dict.fromkeys((place, *wild)):
                texts[name].append(piece)
    elif isinstance(value, dict):
        index = value.get("index")
        here = f"#{index}" if isinstance(index, int) else ""
        for name, item in value.items():
            step = f"{here}.{name}"
            _gather(item, place + step, texts, tuple(one + step for one in wild), not _NO_TEXT.search(name))
    elif isinstance(value, list):
        if _are_bytes(value):
            _gather(bytes(value).decode("utf-8", "replace"), place, texts, wild)
            return
        go = partial(_gather, texts=texts)
        for number, item in enumerate(value):
            go(item, f"{place}[{number}]", wild=(f"{place}[*]", *(f"{one}[{number}]" for one in wild)))


def _are_bytes(value: list[Json]) -> bool:
    """Whether a list of numbers spells a token, as log probabilities do."""
    return 0 < len(value) <= 64 and all(type(item) is int and 0 <= item < 256 for item in value)
