"""application/vnd.amazon.eventstream: the binary frames of AWS.

Layout (AWS "Amazon Transcribe: event stream encoding", the same for Bedrock; measured on the corpus): total length and
header length (two u32, big endian), CRC-32 of those 8 bytes, headers, payload, CRC-32 of everything before it.
"""

from __future__ import annotations

import struct
import zlib

from .events import Event, Stream
from .table import Framing

_VALUE_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Header value types of a fixed size, in bytes; 6 (bytes) and 7 (string) carry a u16 length."""


_MAX_HEADERS = 128 * 1024
"""Bytes of headers in one frame, a limit of the format itself."""


def parse(body: bytes) -> Stream:
    """All complete frames; it stops at the first whose checksums are wrong. An exception frame is named `exception`."""
    events: list[Event] = []
    at = 0
    while len(body) - at >= 12:
        total, header_size, prelude_crc = struct.unpack_from(">III", body, at)
        if zlib.crc32(body[at : at + 8]) != prelude_crc or total < 16 + header_size or header_size > _MAX_HEADERS:
            return Stream(events, at_boundary=False, broken=True)
        if len(body) - at < total:
            break
        (crc,) = struct.unpack_from(">I", body, at + total - 4)
        if zlib.crc32(body[at : at + total - 4]) != crc:
            return Stream(events, at_boundary=False, broken=True)
        try:
            headers = _headers(body[at + 12 : at + 12 + header_size])
        except (struct.error, KeyError, IndexError):
            return Stream(events, at_boundary=False, broken=True)
        kind = headers.get(":message-type", "event")
        name = headers.get(":event-type", "") if kind == "event" else "exception"
        events.append(Event(name, body[at + 12 + header_size : at + total - 4]))
        at += total
    return Stream(events, at_boundary=at == len(body))


def _headers(data: bytes) -> dict[str, str]:
    """Only string values matter here; the others are skipped."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        size = data[at]
        name = data[at + 1 : at + 1 + size].decode("utf-8", "replace")
        at += 1 + size
        kind = data[at]
        at += 1
        if kind in (6, 7):
            (size,) = struct.unpack_from(">H", data, at)
            if kind == 7:
                headers[name] = data[at + 2 : at + 2 + size].decode("utf-8", "replace")
            at += 2 + size
        else:
            at += _VALUE_SIZES[kind]
    return headers


def frame(name: str, payload: bytes, *, kind: str = "event", content_type: str = "application/json") -> bytes:
    """One frame, as a provider writes it."""
    strings = {f":{kind}-type": name, ":content-type": content_type, ":message-type": kind}
    head = b"".join(
        bytes([len(label)]) + label.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for label, value in strings.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _begins(body: bytes) -> bool:
    return body[:2] == b"\0\0" and b":event-type" in body[:256]


FRAMING = Framing("eventstream", parse, ("application/vnd.amazon.eventstream",), _begins, in_lines=False)
