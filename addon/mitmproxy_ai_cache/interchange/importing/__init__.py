"""Recordings of other tools, and our own exports, as requests and answers.

What form a file has is told by its content, not by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

import orjson

from ...entries.entry import BrokenEntry
from ...system import foreign_files
from ..exporting import lines
from . import har, vcr
from .exchanges import BrokenRecording, Kept, NotARecording, Recorded, Skipped, Unusable

__all__ = ["BrokenRecording", "Kept", "NotARecording", "Recorded", "Skipped", "Unusable", "read"]

FORMS = "a vcrpy cassette, a HAR file, a mitmproxy flow file or what ai-cache export wrote"

_FLOWS = re.compile(rb"\d{1,12}:\d{1,4}:")
"""A tnetstring dictionary: its length, and that of its first key."""
_CASSETTE = re.compile(rb"^(?:http_)?interactions:", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"
"""Fiddler and Charles begin their HAR files with it."""
_RECORDINGS = {".json", ".yaml", ".yml", ".har", ".jsonl", ".ndjson", ".flow", ".flows", ".mitm", ".dump", ".gz"}
"""Names of recordings end so: a file of such a name that holds nothing is missed, another one is none."""
_LARGEST = 1 << 30
"""Bytes of a HAR file or of a cassette: their values take several times as much memory."""
_LONGEST = 512 << 20
"""Bytes of a line of an export."""


def read(path: Path) -> Iterator[Recorded | Kept | Skipped]:
    """The exchanges of a file, in order. Raises `NotARecording`, `BrokenRecording`, OSError."""
    with foreign_files.opened(path) as file:
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
        file.seek(0)
        if (start := file.read(4096)) and not start.strip(b"\0"):
            _refuse(path, start)  # not read to its end, which may be far away
    data = foreign_files.read(path, _LARGEST).removeprefix(_BOM)
    if data.lstrip()[:1] == b"{":
        yield from _from_json(data)
    elif _CASSETTE.search(data):
        if why := foreign_files.conflict(data):
            raise BrokenRecording(why)
        yield from _from_cassette(vcr.from_yaml(data))
    else:
        _refuse(path, data)


def _refuse(path: Path, data: bytes) -> NoReturn:
    """Raises `BrokenRecording` where the name is that of a recording, else `NotARecording`."""
    why = foreign_files.problem(data)
    if why and path.suffix.lower() in _RECORDINGS:
        raise BrokenRecording(why)
    raise NotARecording(why or f"is not {FORMS}")


def _from_export(file: BinaryIO) -> Iterator[Kept | Skipped]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if foreign_files.conflict(line):
            raise BrokenRecording(f"it has the marks of a merge conflict (line {number}); resolve the conflict")
        if len(line) == _LONGEST:
            raise BrokenRecording(f"line {number} is longer than {_LONGEST >> 20} MiB; export it again")
        if line.strip():
            try:
                yield Kept(lines.decode(line))
            except BrokenEntry as error:
                yield Skipped(f"not as it was exported: {error}")


def _from_json(data: bytes) -> Iterator[Recorded | Skipped]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        why = foreign_files.conflict(data) or f"the JSON cannot be read ({error}); {foreign_files.AGAIN}"
        raise BrokenRecording(why) from None
    if (entries := har.entries(value)) is not None:
        yield from har.read(entries)
    else:
        yield from _from_cassette(value)


def _from_cassette(value: object) -> Iterator[Recorded | Skipped]:
    found = vcr.interactions(value)
    if found is None:
        raise NotARecording(f"is not {FORMS}")
    yield from vcr.read(found)
