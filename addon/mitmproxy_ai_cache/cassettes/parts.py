"""Long values of requests stand once in files of their own: system prompts, lists of tools, images.

A text becomes `parts/LABEL-HASH.txt`, which a pull request shows line by line, any other value `parts/LABEL-HASH.json`;
the cassette has `{"$part": "LABEL-HASH.txt"}` instead. The name is made of the content, so two recordings that run at
once write the same file, and a part never changes. Responses name a part where their request did (OpenAI's Responses
repeat instructions and tools up to three times), but never begin one: an answer is to be read where it stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial

import orjson

from ..system import foreign_files
from .json_text import _UNSEEN, Json, Lines, NotExact, loads_own, render

LONG = 4096
"""Bytes of JSON from which a value becomes a part."""
_LONG_OLD = 1024
_LATEST = 2
"""The same for a text in all but the latest messages: every later turn repeats it. Of 20 turns of an agent it halves
what lies on the disk, and makes a sixth of what git packs; what is new in a turn still stands in its file."""

_LARGEST = 512 << 20
"""Characters of parts in one body."""

_REFERENCE = "$part"
_NAME = re.compile(r"[a-z0-9_-]{1,24}-[0-9a-f]{16}\.(?:txt|json)")
_REFERENCES = re.compile(rf'"\$part"\s*:\s*"({_NAME.pattern})"')
_CONVERSATIONS = frozenset({"messages", "input", "contents", "prompt", "message", "chat_history", "data"})
"""Members of a body that grow with every turn: only what is long within them becomes a part."""


class BrokenPart(ValueError):
    """A part is absent, or is not what it was."""


class Extraction:
    """Takes the long values out of one cassette. `taken` are the files to write, by name."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def request(self, body: Json) -> Json:
        """`body` with references. New parts are taken."""
        return self._walk(body, "body", LONG, new=True, depth=0)

    def response(self, body: Json) -> Json:
        """`body` with references to what `request` has taken."""
        return self._walk(body, "body", LONG, new=False, depth=0)

    def _walk(self, value: Json, label: str, long: int, new: bool, depth: int) -> Json:
        if isinstance(value, str):
            return self._text(value, label, new) if len(value) >= long else value
        if isinstance(value, list):
            old = len(value) - _LATEST if depth == 1 and label in _CONVERSATIONS else 0
            walked = [self._walk(v, label, _LONG_OLD if n < old else long, new, depth + 1) for n, v in enumerate(value)]
            whole: Json = Lines(walked) if isinstance(value, Lines) else walked
        elif isinstance(value, dict):
            whole = {_escaped(name): self._walk(item, name, long, new, depth + 1) for name, item in value.items()}
        else:
            return value
        if depth == 1 and label not in _CONVERSATIONS and not isinstance(value, Lines) and _size(whole) >= LONG:
            return self._value(whole, label, new)
        return whole

    def _text(self, text: str, label: str, new: bool) -> Json:
        if "\r" in text or "\0" in text or _UNSEEN.search(text):
            return self._value(text, label, new)
        try:
            return self._reference(text, label, ".txt", new) or text
        except UnicodeEncodeError:
            return text

    def _value(self, value: Json, label: str, new: bool) -> Json:
        try:
            return self._reference(render(value), label, ".json", new) or value
        except (NotExact, UnicodeEncodeError):
            return value

    def _reference(self, content: str, label: str, ending: str, new: bool) -> Json:
        digest = _digest(content)
        if new and digest not in self._names:
            self._names[digest] = f"{_label(label)}-{digest}{ending}"
            self.taken[self._names[digest]] = content
        return {_REFERENCE: self._names[digest]} if digest in self._names else None


def expanded(value: Json, content_of: Callable[[str], str]) -> Json:
    """`value` with the contents of its parts. Raises `BrokenPart`, or what `content_of` raises."""
    if isinstance(value, list):
        return [expanded(item, content_of) for item in value]
    if not isinstance(value, dict):
        return value
    if _REFERENCE in value and len(value) == 1:
        name = value[_REFERENCE]
        content = content_of(name)
        return content if name.endswith(".txt") else expanded(loads_own(content), partial(_text_only, content_of))
    return {_unescaped(name): expanded(item, content_of) for name, item in value.items()}


def _text_only(content_of: Callable[[str], str], name: str) -> str:
    """Parts name texts at most: nobody may build a tree of them that grows without end."""
    if not (isinstance(name, str) and name.endswith(".txt")):
        raise BrokenPart("a part names a part that is no text")
    return content_of(name)


def bounded(content_of: Callable[[str], str]) -> Callable[[str], str]:
    """`content_of` that ends where one body names more than anybody records: a part may be named many times."""
    left = _LARGEST

    def bounded_content_of(name: str) -> str:
        nonlocal left
        content = content_of(name)
        left -= len(content)
        if left < 0:
            raise BrokenPart(f"its parts make more than {_LARGEST >> 20} MiB; record it again")
        return content

    return bounded_content_of


def named(text: str) -> frozenset[str]:
    """The parts that the text of a cassette or of a part refers to. Within a string the quotes would be escaped."""
    return frozenset(_REFERENCES.findall(text))


def checked(name: str, data: bytes) -> str:
    """The content of the part `name` from the bytes of its file. A checkout may have made its line ends CRLF.

    Raises `BrokenPart`.
    """
    if not is_name(name):
        raise BrokenPart("a part has a name that no part has")
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        text = ""
    if _digest(text) != name.rpartition(".")[0][-16:]:
        why = foreign_files.problem(data) or "it was changed; restore it from git"
        raise BrokenPart(f"parts/{name}: {why}")
    return text


def is_name(name: object) -> bool:
    """Whether `name` may be a part's; anything else could lead out of the directory."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


def _digest(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _size(value: Json) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return 0


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:24] or "part"


def _escaped(name: str) -> str:
    """A member of the body that could be taken for a reference gets one `$` more."""
    return "$" + name if name.startswith("$") and name.lstrip("$") == "part" else name


def _unescaped(name: str) -> str:
    return name[1:] if name.startswith("$$") and name.lstrip("$") == "part" else name
