"""Recordings of other tools, and our own exports, as requests and answers.

What form a file has is told by its content, not by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from ..entry import BrokenEntry
from ..exporting import lines
from . import har, vcr
from .recorded import BrokenRecording, Kept, NotARecording, Recorded, Skipped, Unusable

__all__ = ["BrokenRecording", "Kept", "NotARecording", "Recorded", "Skipped", "Unusable", "read"]

FORMS = "a vcrpy cassette, a HAR file, a mitmproxy flow file or what ai-cache export wrote"

_FLOWS = re.compile(rb"\d{1,12}:\d{1,4}:")
"""A tnetstring dictionary: its length, and that of its first key."""
_CASSETTE = re.compile(rb"^(?:http_)?interactions:", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"
"""Fiddler and Charles begin their HAR files with it."""


def read(path: Path) -> Iterator[Recorded | Kept | Skipped]:
    """The exchanges of a file, in order. Raises `NotARecording`, `BrokenRecording`, OSError."""
    with path.open("rb") as file:
        if _FLOWS.match(file.read(32)):
            file.seek(0)
            from . import flows  # brings mitmproxy

            yield from flows.read(file)
            return
        file.seek(0)
        if file.read(len(lines.BEGINNING)) == lines.BEGINNING:
            file.seek(0)
            yield from _from_export(file)
            return
    data = path.read_bytes().removeprefix(_BOM)
    if data.lstrip()[:1] == b"{":
        yield from _from_json(data)
    elif _CASSETTE.search(data):
        yield from _from_cassette(vcr.from_yaml(data))
    else:
        raise NotARecording(f"is not {FORMS}")


def _from_export(file: Iterable[bytes]) -> Iterator[Kept | Skipped]:
    for line in file:
        try:
            yield Kept(lines.decode(line))
        except BrokenEntry as error:
            yield Skipped(f"not as it was exported: {error}")


def _from_json(data: bytes) -> Iterator[Recorded | Skipped]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BrokenRecording(f"the JSON cannot be read ({error})") from None
    if (entries := har.entries(value)) is not None:
        yield from har.read(entries)
    else:
        yield from _from_cassette(value)


def _from_cassette(value: object) -> Iterator[Recorded | Skipped]:
    found = vcr.interactions(value)
    if found is None:
        raise NotARecording(f"is not {FORMS}")
    yield from vcr.read(found)
