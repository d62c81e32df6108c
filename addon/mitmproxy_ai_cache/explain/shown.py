"""Values as a person reads them in one line: shortened around what changed, nothing a terminal would act on."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from ..redact.entries import hidden_value
from ..wire.json_body import Json

WIDTH = 60
"""Characters of a value that are shown, quotes and dots not counted."""

ABSENT: Any = object()
"""The value of a member or item that is not there."""

_TAKEN = frozenset("protocol host scheme port namespace method path headers query form body".split())
"""Names of parts of a request. A member at the top of a body that is called so is `body.host`."""

_PLAIN_NAME = re.compile(r"[\w$@/:+-]+")
_SECRET = re.compile(r"(?i)key|token|secret|auth|password|credential|cookie")
_SECRET_MEMBER = re.compile(r"(?i)(?:proxy-)?authorization|.*(?:api[-_]?key|secret|password|access[-_]?token)")
_NOT_SHOWN = "(not shown)"
_WORD = re.compile(r"[\w.:+-]")
_LONGEST_WORD = 16
_DEEPEST = 8


def printable(text: str) -> str:
    """`text` with control, format and lone surrogate characters escaped; letters of every script stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def name_of(path: tuple[Any, ...], of_body: bool = True) -> str:
    """`("messages", 4, "content", 0, "text")` -> `messages[4].content[0].text`. A pair of numbers is a run of items."""
    text = "body" if of_body and (not path or path[0] in _TAKEN or not isinstance(path[0], str)) else ""
    for step in path:
        if isinstance(step, tuple):
            text += f"[{step[0]}..{step[1]}]" if step[0] != step[1] else f"[{step[0]}]"
        elif isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            text += f".{_cut(step)}" if text else _cut(step)
        else:
            text += f"[{json.dumps(_cut(printable(step)), ensure_ascii=False)}]"
    return text


def is_secret_header(name: str) -> bool:
    return bool(_SECRET.search(name))


def pair(recorded: Json, sent: Json, name: str = "") -> tuple[str, str]:
    """Both values, shortened so that the change is seen. `name` is the member they stand in."""
    if _SECRET_MEMBER.fullmatch(name) and isinstance(recorded, str) and isinstance(sent, str):
        return _NOT_SHOWN, _NOT_SHOWN
    recorded, sent = hidden_value(recorded, name), hidden_value(sent, name)
    if isinstance(recorded, str) and recorded == sent:  # they differ in a secret
        return _NOT_SHOWN, _NOT_SHOWN
    if isinstance(recorded, str) and isinstance(sent, str):
        before, after = change(recorded, sent)
        one, other = (_around(text, before, after, printable) for text in (recorded, sent))
        if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):  # they would look the same
            one, other = (_around(text, before, after, _escaped) for text in (recorded, sent))
        return f'"{one}"', f'"{other}"'
    return one_value(recorded, name), one_value(sent, name)


def _escaped(text: str) -> str:
    """`text` in ASCII: backslashes and accents told apart from what looks the same."""
    return text.encode("unicode_escape").decode()


def one_value(value: Json, name: str = "") -> str:
    if isinstance(value, str) and _SECRET_MEMBER.fullmatch(name):
        return _NOT_SHOWN
    return _cut(printable(_written(hidden_value(value, name))), WIDTH)


def change(one: str, other: str) -> tuple[int, int]:
    """How many characters at the begin and at the end are the same, whole words left together."""
    shortest = min(len(one), len(other))
    before = _common(one, other, shortest)
    after = _common(one[::-1], other[::-1], shortest - before)
    for _ in range(_LONGEST_WORD):
        if not (before and _WORD.match(one[before - 1])):
            break
        before -= 1
    for _ in range(_LONGEST_WORD):
        if not (after and _WORD.match(one[-after])):
            break
        after -= 1
    return before, after


def _common(one: str, other: str, longest: int) -> int:
    """The length of the common prefix, up to `longest`: by halves, comparing slices in C."""
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _around(text: str, before: int, after: int, escape: Callable[[str], str]) -> str:
    """`...in [Paris] today...`: the change in brackets where something stands around it."""
    middle = text[before : len(text) - after]
    if not before and not after:
        return _cut(escape(middle), WIDTH)
    room = max(10, (WIDTH - len(middle)) // 2)
    left = text[max(0, before - room) : before]
    right = text[len(text) - after : len(text) - after + room]
    return (
        ("..." if len(left) < before else "")
        + f"{escape(left)}[{_cut(escape(middle), WIDTH - 20)}]{escape(right)}"
        + ("..." if len(right) < after else "")
    )


def _cut(text: str, limit: int = WIDTH) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _written(value: Json, depth: int = 0) -> str:
    """A canonical value as the client may have written it; what would not be shown anyway is left out."""
    if isinstance(value, str):
        return json.dumps(value[: WIDTH + 1], ensure_ascii=False)
    if isinstance(value, list | dict) and depth > _DEEPEST:
        return "..."
    if isinstance(value, list):
        return "[" + ", ".join(_written(item, depth + 1) for item in value[:WIDTH]) + "]"
    if not isinstance(value, dict):
        return json.dumps(value)
    if value.keys() == {"#n"}:
        return str(Decimal(value["#n"]))
    members = value["#p"] if value.keys() == {"#p"} else value.items()
    return "{" + ", ".join(f"{_written(name)}: {text}" for name, text in _shown_members(members, depth + 1)) + "}"


def _shown_members(members: Iterable[tuple[str, Json]], depth: int) -> Iterator[tuple[str, str]]:
    for written, item in members:
        name = member_name(written)
        secret = isinstance(item, str) and _SECRET_MEMBER.fullmatch(name)
        yield name, _NOT_SHOWN if secret else _written(item, depth)


def member_name(name: str) -> str:
    """The name a client wrote for one of the canonical form."""
    return name[1:] if name.startswith("#") else name
