"""Bytes in, bytes without secrets out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .patterns import Pattern
from .search import Hit, find, replaced
from .streamed import find_streamed

_PASSES = 8
"""What was put together anew is looked at again until nothing is found; two passes do but for built cases."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret that was found. The secret itself is in none of its fields."""

    kind: str
    start: int
    """Offset in the data as given; of the whole base64 where the secret is within."""
    end: int
    shown: str
    """Its first characters and `****`."""
    changed: bool = True
    """False within signed or encrypted fields, which are never altered."""


@dataclass(frozen=True, slots=True)
class Redacted:
    data: bytes
    """The very object that was given where nothing had to be replaced."""
    findings: tuple[Finding, ...] = ()


def redact(data: bytes, extra: tuple[Pattern, ...] = ()) -> Redacted:
    """`data` with a placeholder for each secret, the same for every secret of a kind. Doing it again changes nothing.

    JSON stays JSON, base64 base64, event streams keep their lines, frames of AWS get their lengths and checksums anew.
    """
    findings: list[Finding] = []
    current = data
    for _ in range(_PASSES):
        hits = find(current, extra)
        pending = [hit for hit in hits if not hit.sealed]
        sealed = [hit for hit in hits if hit.sealed]
        if frames := _frames(current):
            pending = [hit for hit in pending if any(frame.holds(hit) for frame in frames)]
        pending = pending or find_streamed(current, extra)
        if not pending:
            findings += _findings(sealed)
            break
        findings += _findings(pending)
        current = _replaced_in_frames(current, frames, pending) if frames else replaced(current, pending)
    if current == data:
        return Redacted(data, tuple(findings))
    return Redacted(current, tuple(findings))


def _findings(hits: list[Hit]) -> list[Finding]:
    return [Finding(kind, hit.start, hit.end, shown, not hit.sealed) for hit in hits for kind, shown in hit.found]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of application/vnd.amazon.eventstream, by offsets; `framing/eventstream.py` says what it is made of."""

    start: int
    payload: int
    end: int

    def holds(self, hit: Hit) -> bool:
        return self.payload <= hit.start and hit.end <= self.end - 4


def _frames(data: bytes) -> list[_Frame]:
    """The frames that `data` begins with; none where it is something else."""
    frames: list[_Frame] = []
    at = 0
    while len(data) - at >= 16 and data[at] == 0:
        total, header_size, crc = struct.unpack_from(">III", data, at)
        if zlib.crc32(data[at : at + 8]) != crc or not 16 + header_size <= total <= len(data) - at:
            break
        frames.append(_Frame(at, at + 12 + header_size, at + total))
        at += total
    return frames


def _replaced_in_frames(data: bytes, frames: list[_Frame], hits: list[Hit]) -> bytes:
    return b"".join([*_rebuilt(data, frames, hits), data[frames[-1].end :]])


def _rebuilt(data: bytes, frames: list[_Frame], hits: list[Hit]) -> Iterator[bytes]:
    """Each frame with its hits replaced, and lengths and checksums (CRC-32) that fit."""
    for frame in frames:
        inside = [
            Hit(hit.start - frame.payload, hit.end - frame.payload, hit.replacement, hit.found)
            for hit in hits
            if frame.holds(hit)
        ]
        if not inside:
            yield data[frame.start : frame.end]
            continue
        payload = replaced(data[frame.payload : frame.end - 4], inside)
        headers = data[frame.start + 12 : frame.payload]
        prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
        yield message + struct.pack(">I", zlib.crc32(message))
