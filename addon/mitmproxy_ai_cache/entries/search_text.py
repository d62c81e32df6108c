"""Text that is looked for in bodies, however JSON escapes it there.

Exact is to undo JSON's escapes layer by layer, which takes a hundred times as long as a look at the bytes. So the
bytes are asked first, in a way that never says no to what the exact way finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DEPTH = 3
"""How often JSON stands in JSON: a tool's arguments in an answer, and what a tool made of them."""

_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
_HALF = re.compile("[\ud800-\udfff]")
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_LETTERS = {value: name for name, value in _NAMED.items()}

_BARE_CLASS = r"A-Za-z0-9 _\-.,:;!?()\[\]{}@#$%*|~^"
_BARE = re.compile(rf"[{_BARE_CLASS}]+")
"""What no writer of JSON escapes, though all of it may be."""
_RUN = re.compile(rf"[{_BARE_CLASS}\x80-\ud7ff\ue000-\ufffc\ufffe-\U0010ffff]+")
"""What no writer of JSON escapes by anything but `\\u`; without what may stand for bytes that are no UTF-8."""
_PIECE = re.compile(rf"{_BARE.pattern}|\\+|.", re.DOTALL)
_ESCAPED_BARE = re.compile(rb"\\u00(?:2[0134589aAcCdDeE]|3[0-9aAbBfF]|[457][0-9a-fA-F]|6[1-9a-fA-F])")
"""One of those escaped all the same, or a backslash."""


class SearchText:
    """`text` as it may stand in a body."""

    __slots__ = ("_anchor", "_bare", "_escaped", "_loose", "_plain", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._plain: bytes | None = None
        """The whole text, where it never is escaped."""
        self._bare = b""
        """The longest part that never is."""
        self._loose: re.Pattern[bytes] | None = None
        foreign = next((character for character in text if character > "\x7f"), "")
        self._anchor, self._escaped = foreign.encode("utf-8", "replace"), b"u%04x" % _first_unit(foreign)
        if not _HALF.search(text) and "\ufffd" not in text:
            self._plain = text.encode() if _BARE.fullmatch(text) else None
            self._bare = max(_BARE.findall(text), key=len, default="").encode()
            self._loose = re.compile(b"".join(map(_forms, _PIECE.findall(text))))

    def is_in(self, body: bytes) -> bool:
        if self._plain is not None and self._plain in body:
            return True
        return self._may_be_in(body) and _in_text(body, self.text)

    def _may_be_in(self, body: bytes) -> bool:
        """False only where it is not. True where it nearly always is; what stands there plainly was seen before."""
        if self._loose is None:
            return True
        if self._plain is None and self._bare in body and self._has_anchor(body) and self._loose.search(body):
            return True
        return b"\\u00" in body and _ESCAPED_BARE.search(body) is not None

    def _has_anchor(self, body: bytes) -> bool:
        """Whether a form of its first character beyond ASCII is there: to find some bytes is quicker than to match."""
        if not self._anchor:
            return True
        return self._anchor in body or (b"\\u" in body and self._escaped in body.lower())


def _forms(piece: str) -> bytes:
    """Matches a piece of text as it is and escaped, behind any number of backslashes: each layer doubles them."""
    if _BARE.fullmatch(piece):
        return re.escape(piece.encode())
    if piece[0] == "\\":
        return rb"\\++"
    units = piece.encode("utf-16-be")
    escaped = rb"\\++".join(b"u(?i:%04x)" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    forms = [re.escape(piece.encode()), escaped]
    if letter := _LETTERS.get(piece):
        forms.append(letter.encode())
    return rb"\\*+(?:" + b"|".join(forms) + b")"


def _first_unit(character: str) -> int:
    return int.from_bytes(character.encode("utf-16-be", "surrogatepass")[:2])


def _in_text(body: bytes, text: str) -> bool:
    return any(text in said for said in layers(body))


def layers(body: bytes) -> Iterator[str]:
    """A body as it is sent, and below each layer of escapes: it holds a text that one of these holds."""
    said = body.decode("utf-8", "replace")
    yield said
    for _ in range(_DEPTH):
        plain = unescaped(said)
        if plain == said:
            return
        yield plain
        said = plain


def runs(text: str) -> list[bytes]:
    """The parts of a text that stand in one piece in each body that holds it and no `\\u`: no other escape becomes a
    character of theirs."""
    return [run.encode() for run in _RUN.findall(text)]


def unescaped(said: str) -> str:
    """Without one layer of JSON's escapes, wherever they stand. Characters in two halves become one."""
    if "\\" not in said:
        return said
    plain = _ESCAPE.sub(lambda match: _character(match[1]), said)
    if _HALF.search(plain):
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def _character(escaped: str) -> str:
    return chr(int(escaped[1:], 16)) if len(escaped) == 5 else _NAMED.get(escaped, escaped)
