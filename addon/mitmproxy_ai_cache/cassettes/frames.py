"""Frames of an AWS event stream as a reviewer reads them.

    {"event": "contentBlockDelta", "payload": {...}}          a frame with the three headers that Bedrock sends
    {"headers": [[":message-type", "event"], ...], "payload"}  any other whose headers are strings
    {"base64": "..."}                                          what neither gives back, an unfinished frame for example

A payload is JSON, or its text. InvokeModel wraps each vendor's chunk as base64 in `bytes`; where that is JSON it stands
there as JSON.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

from ..wire.framing.eventstream import frame
from .json_text import Json, NotExact, Style, loads, styled

_STRING = 7
"""The type of a header value that is a string."""


def payloads(body: bytes) -> Iterator[str]:
    """The texts that frames carry."""
    for raw in _split(body):
        payload = _payload(raw)
        if payload is not None:
            yield payload.decode("utf-8", "replace")


def read(body: bytes, style: Style) -> Iterator[Json]:
    """The frames of `body`, their JSON as `style` writes it."""
    for raw in _split(body):
        yield _read(raw, style)


def unread(item: Json, style: Style) -> bytes:
    """The bytes of a frame. Raises `NotExact`, ValueError, KeyError or TypeError for what is none."""
    if "base64" in item:
        return base64.b64decode(item["base64"], validate=True)
    payload = _unread_payload(item["payload"], style)
    for kind in ("event", "exception"):
        if kind in item:
            return frame(item[kind], payload, kind=kind)
    return _frame([(str(name), str(value)) for name, value in item["headers"]], payload)


def _read(raw: bytes, style: Style) -> Json:
    payload = _payload(raw)
    if payload is not None:
        headers = _headers(raw)
        named = dict(headers)
        kind = named.get(":message-type", "")
        candidates: list[dict[str, Json]] = (
            [{kind: named.get(f":{kind}-type", "")}] if kind in ("event", "exception") else []
        )
        for head in (*candidates, {"headers": [list(header) for header in headers]}):
            for carried in _payload_values(payload, style):
                item = {**head, "payload": carried}
                if unread(item, style) == raw:
                    return item
    return {"base64": base64.b64encode(raw).decode()}


def _payload_values(payload: bytes, style: Style) -> Iterator[Json]:
    """The ways to show a payload, the most readable first."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return
    try:
        value = loads(text)
        if isinstance(value, dict) and style.write(value) == text:
            yield from _unwrapped(value)
            yield value
    except NotExact:
        pass
    yield text


def _unwrapped(value: dict[str, Json]) -> Iterator[Json]:
    """With the chunk in `bytes` as JSON."""
    try:
        chunk, style = styled(base64.b64decode(value["bytes"], validate=True).decode())
    except (KeyError, TypeError, ValueError):
        return
    if style == Style():
        yield {**value, "bytes": chunk}


def _unread_payload(value: Json, style: Style) -> bytes:
    if isinstance(value, str):
        return value.encode()
    chunk = value.get("bytes")
    if isinstance(chunk, dict | list):
        value = {**value, "bytes": base64.b64encode(Style().write(chunk).encode()).decode()}
    return style.write(value).encode()


def _split(body: bytes) -> Iterator[bytes]:
    """Frame by frame; what is no whole frame comes last, in one piece."""
    at = 0
    while len(body) - at >= 16:
        total, header_size = struct.unpack_from(">II", body, at)
        if total < 16 + header_size or total > len(body) - at:
            break
        yield body[at : at + total]
        at += total
    if at < len(body):
        yield body[at:]


def _payload(raw: bytes) -> bytes | None:
    if len(raw) < 16:
        return None
    total, header_size = struct.unpack_from(">II", raw)
    return raw[12 + header_size : -4] if total == len(raw) and total >= 16 + header_size else None


def _headers(raw: bytes) -> list[tuple[str, str]]:
    """Those that are strings, up to the first that is not."""
    (size,) = struct.unpack_from(">I", raw, 4)
    data, at = raw[12 : 12 + size], 0
    headers = []
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind, length = struct.unpack_from(">BH", data, at)
            if kind != _STRING:
                break
            headers.append((name, data[at + 3 : at + 3 + length].decode()))
            at += 3 + length
    except (struct.error, UnicodeDecodeError):
        pass
    return headers


def _frame(headers: list[tuple[str, str]], payload: bytes) -> bytes:
    """One frame with exactly these headers. Raises ValueError for what does not fit into one."""
    try:
        head = b"".join(
            bytes([len(name.encode())])
            + name.encode()
            + struct.pack(">BH", _STRING, len(value.encode()))
            + value.encode()
            for name, value in headers
        )
        prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    except struct.error as error:
        raise ValueError(str(error)) from None
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))
