"""A body as a reviewer reads it, from which the exact bytes come back.

`encode` answers the members `encoding` and `body` (and `before`, `after`: white space around JSON, `rest`: what
follows the last whole event). `encoding` is a kind and how its JSON was written, `sse-crlf-spaced` for example:

    json         body: the value
    json-array   a stream that is one array (Gemini); body: its elements
    sse          body: events; each its fields in order, `data` as JSON where it is an object or a list
    ndjson       body: lines, as JSON where they are an object or a list
    eventstream  body: frames of AWS; their name or headers and their payload, or their base64
    text         body: the text
    base64       body: the base64

An event or line that its fields do not give back is a string: itself. All is checked when it is written.
"""

from __future__ import annotations

import base64
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from . import frames
from .json_text import Json, Lines, NotExact, Style, loads, styled, trimmed

_FIELD = re.compile(r"(event|data|id|retry): (.*)", re.DOTALL)
_LONGEST_PADDING = 4096
"""Spaces. Anthropic fills up its events with some before the last brace."""


def encode(data: bytes, format: str = "") -> dict[str, Json]:
    """The members of `data`, nothing for no bytes. `format` is one of `framing.FORMATS`, or unknown."""
    if not data:
        return {}
    for kind in (_KINDS[format], _json) if format in _KINDS else (_json,):
        try:
            members = kind(data)
            if decode(members) == data:
                return members
        except (NotExact, UnicodeDecodeError, ValueError, RecursionError):
            continue
    return plain(data)


def plain(data: bytes) -> dict[str, Json]:
    """As text, or as base64 where it is none."""
    try:
        return {"encoding": "text", "body": data.decode()} if data else {}
    except UnicodeDecodeError:
        return {"encoding": "base64", "body": base64.b64encode(data).decode()}


def decode(members: dict[str, Json]) -> bytes:
    """The bytes. Raises `NotExact`, ValueError, KeyError or TypeError for members that `encode` did not make."""
    if "encoding" not in members:
        return b""
    kind, *words = members["encoding"].split("-")
    body = members["body"]
    if kind == "text":
        return _string(body).encode()
    if kind == "base64":
        return base64.b64decode(body, validate=True)
    array = kind == "json" and "array" in words
    crlf = "crlf" in words
    style = Style.of([word for word in words if word not in ("array", "crlf")])
    if kind == "eventstream":
        try:
            return b"".join(frames.unread(item, style) for item in body)
        except struct.error as error:
            raise ValueError(str(error)) from None
    if array:
        text = "[" + _BETWEEN.join(style.write(item) for item in body) + _CLOSING
    elif kind == "json":
        text = style.write(body)
    elif kind in ("sse", "ndjson"):
        newline = "\r\n" if crlf else "\n"
        write = _event_text if kind == "sse" else _line_text
        end = newline * 2 if kind == "sse" else newline
        text = "".join(write(item, style, newline) + end for item in body) + members.get("rest", "")
    else:
        raise ValueError(f"unknown encoding {kind}")
    return f"{members.get('before', '')}{text}{members.get('after', '')}".encode()


def _string(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("the body is no text")
    return value


def _members(kind: str, words: Iterable[str], body: Json, **more: str) -> dict[str, Json]:
    return {"encoding": "-".join([kind, *words]), **{name: text for name, text in more.items() if text}, "body": body}


# JSON


def _json(data: bytes) -> dict[str, Json]:
    before, text, after = trimmed(data.decode())
    value, style = styled(text)
    return _members("json", style.words, value, before=before, after=after)


_BETWEEN, _CLOSING = "\n,\r\n", "\n]"


def _json_array(data: bytes) -> dict[str, Json]:
    """As Google writes a stream without `alt=sse`: elements indented by 2, joined as nobody else does."""
    before, text, after = trimmed(data.decode())
    if not (text.startswith("[{") and text.endswith("}" + _CLOSING)):
        raise NotExact("not that of Google")
    items = text[1 : -len(_CLOSING)].split(_BETWEEN)
    value, style = styled(items[0])
    return _members(
        "json-array", style.words, [value, *(styled(item)[0] for item in items[1:])], before=before, after=after
    )


# Events and lines


def _sse(data: bytes) -> dict[str, Json]:
    text = data.decode()
    newline = "\r\n" if "\r\n" in text else "\n"
    *events, rest = text.split(newline * 2)
    style = _common_style(_data_lines(events, newline))
    body = Lines(_event(event, style, newline) for event in events)
    return _members("sse", (["crlf"] if newline != "\n" else []) + list(style.words), body, rest=rest)


def _ndjson(data: bytes) -> dict[str, Json]:
    text = data.decode()
    newline = "\r\n" if "\r\n" in text else "\n"
    *lines, rest = text.split(newline)
    style = _common_style(lines)
    body = Lines(_value(line, style) for line in lines)
    return _members("ndjson", (["crlf"] if newline != "\n" else []) + list(style.words), body, rest=rest)


def _data_lines(events: Iterable[str], newline: str) -> Iterator[str]:
    for event in events:
        for line in event.split(newline):
            if line.startswith("data: "):
                yield line.removeprefix("data: ")


def _common_style(texts: Iterable[str]) -> Style:
    """The style that writes most of them."""
    values = []
    for text in texts:
        try:
            values.append((text, *styled(_unpadded(text)[0])))
        except NotExact:
            continue
    styles = Counter(style for _, _, style in values)
    if len(styles) < 2:
        return next(iter(styles), Style())
    return max(styles, key=lambda style: sum(_same(style, value, _unpadded(text)[0]) for text, value, _ in values))


def _same(style: Style, value: Json, text: str) -> bool:
    try:
        return style.write(value) == text
    except NotExact:
        return False


def _unpadded(text: str) -> tuple[str, int]:
    """Without the spaces before its last brace, and how many they were."""
    if text.endswith(" }"):
        core = text[:-1].rstrip(" ")
        return core + "}", len(text) - len(core) - 1
    return text, 0


def _value(text: str, style: Style) -> Json:
    """The object or list that `style` writes as `text`; else `text`."""
    try:
        value = loads(text)
        return value if isinstance(value, dict | list) and style.write(value) == text else text
    except NotExact:
        return text


def _data(text: str, style: Style) -> dict[str, Json] | None:
    """`data` as JSON, `pad` where it is padded, `style` where it is written unlike the others. None for a text."""
    core, spaces = _unpadded(text)
    candidates: list[tuple[str, dict[str, Json]]] = [(text, {})]
    if 0 < spaces <= _LONGEST_PADDING:
        candidates.append((core, {"pad": spaces}))
    for candidate, padding in candidates:
        if not isinstance(value := _value(candidate, style), str):
            return {"data": value, **padding}
        with suppress(NotExact):
            value, own = styled(candidate)
            return {"data": value, **padding, "style": "-".join(own.words)}
    return None


def _event(event: str, style: Style, newline: str) -> Json:
    fields: dict[str, Json] = {}
    for line in event.split(newline):
        field = _FIELD.fullmatch(line)
        if field is None or field[1] in fields:
            return event
        fields[field[1]] = field[2]
    if "data" in fields:
        fields |= _data(fields["data"], style) or {}
    return fields if _event_text(fields, style, newline) == event else event


def _event_text(item: Json, style: Style, newline: str) -> str:
    if isinstance(item, str):
        return item
    lines = []
    for name, value in item.items():
        if name in ("pad", "style"):
            continue
        own = Style.of([word for word in item["style"].split("-") if word]) if "style" in item else style
        text = value if isinstance(value, str) else own.write(value)
        if name == "data" and "pad" in item:
            if not 0 < item["pad"] <= _LONGEST_PADDING:
                raise ValueError("so much padding is not written here")
            text = text[:-1] + " " * item["pad"] + "}"
        lines.append(f"{name}: {text}")
    return newline.join(lines)


def _line_text(item: Json, style: Style, _newline: str) -> str:
    return item if isinstance(item, str) else style.write(item)


# Frames


def _eventstream(data: bytes) -> dict[str, Json]:
    style = _common_style(frames.payloads(data))
    return _members("eventstream", style.words, Lines(frames.read(data, style)))


_KINDS: dict[str, Callable[[bytes], dict[str, Json]]] = {
    "sse": _sse,
    "ndjson": _ndjson,
    "eventstream": _eventstream,
    "json-array": _json_array,
}
