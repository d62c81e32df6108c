"""JSON whose exact bytes come back: a value, and the style it was written in.

Numbers that Python would spell otherwise (`1.50`, `1E3`, `-0`) are kept as they stand: as a string that begins with
`MARK`, which no text we take may contain. What a style cannot say (mixed escapes, members twice) is no JSON here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import orjson

Json = Any

MARK = "\ue000"
"""Begins a string that stands for a number. U+E000 is for private use; a text that has it is kept as text."""

_MARKED = re.compile(f'"{MARK}([^"]*)"')
_MARKED_ASCII = re.compile(r'"\\ue000([^"]*)"')
_PLAIN_FLOAT = re.compile(r"-?\d+\.\d+")
_LONGEST_INTEGER = 18
"""Digits. Longer ones leave 64 bits, and some parsers."""

_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
"""Characters that a reviewer cannot see, or that turn the order of what he sees."""

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_HTML_ESCAPED = re.compile("[<>&\u2028\u2029]")
_LINE_START = re.compile(r"^ +", re.MULTILINE)
_SPACE = " \t\r\n"


class NotExact(ValueError):
    """No JSON, or none that we could write again byte for byte."""


class Lines(list[Json]):
    """A list that is written with one item on a line, however long."""


class OneLine(dict[str, Json]):
    """An object that is written on one line."""


def loads(text: str) -> Json:
    """The value, odd numbers marked. Raises `NotExact`."""
    if MARK in text or "\\ue000" in text or "\\uE000" in text:
        raise NotExact("it has U+E000")
    return loads_own(text)


def loads_own(text: str) -> Json:
    """The value of what `render` wrote. Raises `NotExact`."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise NotExact(str(error)) from None


def _float(text: str) -> float | str:
    value = float(text)
    return value if _PLAIN_FLOAT.fullmatch(text) and repr(value) == text else MARK + text


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _LONGEST_INTEGER and text != "-0" else MARK + text


def _constant(text: str) -> Json:
    raise NotExact(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_integer, parse_constant=_constant)


@dataclass(frozen=True, slots=True)
class Style:
    """How a JSON text was written. The names of the members that are set make its name."""

    spaced: bool = False
    """`", "` and `": "`, as Python's json writes."""
    colon: bool = False
    """`","` and `": "`, as Google's streams are written."""
    indent: int = 0
    ascii: bool = False
    """All else is `\\uXXXX`."""
    html: bool = False
    """`<`, `>` and `&` are `\\uXXXX`, as Go writes."""

    @property
    def words(self) -> tuple[str, ...]:
        words = [word for word in ("spaced", "colon", "ascii", "html") if getattr(self, word)]
        return (*words, f"indent{self.indent}") if self.indent else tuple(words)

    @classmethod
    def of(cls, words: list[str]) -> Style:
        """Raises ValueError for a word that names no style."""
        known = {"spaced", "colon", "ascii", "html", "indent2", "indent4"}
        if strange := set(words) - known:
            raise ValueError(f"unknown encoding {'-'.join(sorted(strange))}")
        indent = 2 if "indent2" in words else 4 if "indent4" in words else 0
        return cls("spaced" in words, "colon" in words, indent, "ascii" in words, "html" in words)

    def write(self, value: Json) -> str:
        """The text. Raises `NotExact` where `value` cannot be written."""
        try:
            text = self._escaped(self._laid_out(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise NotExact(str(error)) from None
        return _MARKED_ASCII.sub(r"\1", text) if self.ascii else _MARKED.sub(r"\1", text)

    def _laid_out(self, value: Json) -> str:
        if self.indent:
            text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
            return text if self.indent == 2 else _LINE_START.sub(lambda spaces: spaces[0] * 2, text)
        if not (self.spaced or self.colon or self.ascii):
            return orjson.dumps(value).decode()
        separators = (", " if self.spaced else ",", ": " if self.spaced or self.colon else ":")
        return json.dumps(value, ensure_ascii=self.ascii, separators=separators)

    def _escaped(self, text: str) -> str:
        if self.ascii and self.indent:
            text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
        return _HTML_ESCAPED.sub(lambda found: _HTML[found[0]], text) if self.html else text


_FLAT = (Style(), Style(spaced=True), Style(colon=True))
_INDENTED = (Style(indent=2), Style(indent=4))


def styled(text: str) -> tuple[Json, Style]:
    """The value of `text` and the style that writes it again. Raises `NotExact`."""
    value = loads(text)
    if not isinstance(value, dict | list):
        raise NotExact("no object and no list")
    escapes = [(False, False)]
    if "\\u" in text:
        escapes += [(True, False), (False, True), (True, True)]
    for layout in _INDENTED if "\n" in text else _FLAT:
        for ascii_only, html in escapes:
            style = replace(layout, ascii=ascii_only, html=html)
            if style.write(value) == text:
                return value, style
    raise NotExact("no style writes it so")


def trimmed(text: str) -> tuple[str, str, str]:
    """The white space before, the text, the white space after."""
    core = text.lstrip(_SPACE)
    before = text[: len(text) - len(core)]
    stripped = core.rstrip(_SPACE)
    return before, stripped, core[len(stripped) :]


def render(value: Json) -> str:
    """`value` for people: indented by 2, lists of numbers and items of `Lines` on a line each. Ends with a newline.

    Raises `NotExact` where it cannot be written.
    """
    out: list[str] = []
    try:
        _render(value, "\n", out)
        text = "".join(out)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotExact(str(error)) from None
    text = _MARKED.sub(r"\1", text)
    if not text.isascii():
        text = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text + "\n"


def _render(value: Json, line: str, out: list[str]) -> None:
    """`line` is a newline and the indentation of the line `value` begins on."""
    below = line + "  "
    if isinstance(value, dict) and value and not isinstance(value, OneLine):
        separator = "{"
        for name, member in value.items():
            out += (separator, below, _ONE_LINE(name), ": ")
            _render(member, below, out)
            separator = ","
        out += (line, "}")
    elif isinstance(value, list) and value and (isinstance(value, Lines) or not all(map(_is_number, value))):
        separator = "["
        for item in value:
            out += (separator, below)
            if isinstance(value, Lines):
                out.append(_ONE_LINE(item))
            else:
                _render(item, below, out)
            separator = ","
        out += (line, "]")
    else:
        out.append(_ONE_LINE(value))


_ONE_LINE = json.JSONEncoder(ensure_ascii=False).encode


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.startswith(MARK))
