"""What became of a recording, for who reviews it: where its request differs, and its answer as a diff of what it says.

Ids, times and chunks of a stream change with every recording and say nothing: only what a person would read counts.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .. import conversation
from ..conversation import Media, Other, Part, ToolResult, Vectors, about
from ..entries.entry import Entry
from ..explain import Difference, Miss, Recorded
from ..identity.identifier import Identifier
from . import json_text
from .json_text import Json, NotExact, OneLine
from .readable import shown

_MOST = 2000
"""Lines of an answer that are compared: beyond them a diff takes seconds, and nobody reads on."""
_LONG = 200
"""Characters of a line that is no text for people, such as a vector."""

_FIELDS = ("status", "format", "cacheable", "redacted", "protocol", "stream", "namespace")


@dataclass(frozen=True, slots=True)
class Change:
    """A recording before and after. All empty: it was recorded anew and says the same."""

    request: tuple[Difference, ...] = ()
    other_request: bool = False
    """The two requests have nothing in common."""
    uncounted: bool = False
    """The request has other bytes; what differs does not count for its key."""
    fields: tuple[tuple[str, str, str], ...] = ()
    """Name, before, after: `status`, `200`, `429`."""
    answer: tuple[str, ...] = ()
    """A unified diff (lines that begin with `@`, `-`, `+` or a space)."""

    @property
    def added(self) -> int:
        """Lines that are new in the answer."""
        return sum(line.startswith("+") for line in self.answer)

    @property
    def removed(self) -> int:
        return sum(line.startswith("-") for line in self.answer)

    @property
    def says_the_same(self) -> bool:
        return not (self.request or self.other_request or self.fields or self.answer)


def compare(before: Entry, after: Entry, identifier: Identifier) -> Change:
    """`identifier` makes the keys: what its rules leave out is no difference."""
    fields = [(name, str(getattr(before, name)).lower(), str(getattr(after, name)).lower()) for name in _FIELDS]
    explanation = Recorded([before], identifier).explain(_asked(after, identifier))
    other = explanation.verdict == "nothing-comparable"
    # What stands among the differences of the request already is not said twice.
    said = {difference.path for difference in explanation.differences}
    return Change(
        explanation.differences,
        other,
        not (explanation.differences or other) and before.request != after.request,
        tuple(field for field in fields if field[1] != field[2] and field[0] not in said),
        tuple(_diff(lines_of(before), lines_of(after))),
    )


def of_new(entry: Entry) -> Change:
    """A recording that was not there before."""
    return Change(answer=tuple(f"+{line}" for line in lines_of(entry)))


def _asked(entry: Entry, identifier: Identifier) -> Miss:
    stored = identifier.stored(entry)
    return Miss(stored.request, stored.call, stored.namespace)


def _diff(before: list[str], after: list[str]) -> Iterator[str]:
    """Without the two lines that name files."""
    return islice(difflib.unified_diff(before, after, lineterm="", n=2), 2, None)


def lines_of(entry: Entry) -> list[str]:
    """The answer as a person reads it, line by line."""
    lines = list(_lines(entry))
    if len(lines) <= _MOST:
        return lines
    rest = "\n".join(lines[_MOST:])
    return [*lines[:_MOST], f"... ({len(lines) - _MOST} more lines, {_digest(rest)})"]


def _lines(entry: Entry) -> Iterator[str]:
    told = conversation.answer(entry)
    value = shown(told, entry)
    parts = list(_all(part for message in told.messages for part in message.parts))
    if value is None or any(_is_more_than_shown(part) for part in parts):
        yield from _unreadable(entry)
        return
    yield from _members(value)
    for part in parts:
        if isinstance(part, Media) and part.data:
            yield f"{about(part)}, {_digest(part.data)}"


def _all(parts: Iterable[Part]) -> Iterator[Part]:
    """With the parts of results."""
    for part in parts:
        yield part
        if isinstance(part, ToolResult):
            yield from _all(part.content)


def _is_more_than_shown(part: Part) -> bool:
    """Whether it may change while what is said of it stays the same."""
    return isinstance(part, Vectors) or (isinstance(part, Other) and part.kind in ("left-out", "unread"))


def _members(value: dict[str, Json], indent: str = "") -> Iterator[str]:
    for name, member in value.items():
        if name == "choices":
            for number, choice in enumerate(member):
                yield f"choice {number}"
                yield from _members(choice, "  ")
        elif name == "steps":
            for step in member:
                yield from _members(step, indent)
        elif name == "tool_calls":
            for call in member:
                yield from _titled(f"call {call['name']}", call["arguments"], indent)
        elif name == "tool_results":
            for result in member:
                yield from _titled("result", result, indent)
        elif name == "other":
            for other in member:
                for kind, held in other.items():
                    yield from _titled(kind, held, indent)
        elif isinstance(member, OneLine):
            yield f"{indent}{name}: " + ", ".join(f"{key} {number}" for key, number in member.items())
        else:
            for each in member if isinstance(member, list) else [member]:
                text = each if isinstance(each, str) else json_text.render(each).rstrip("\n")
                yield from _text(f"{indent}{name}: ", text, f"{indent}  ")


def _titled(title: str, value: Json, indent: str) -> Iterator[str]:
    yield f"{indent}{title}"
    text = value if isinstance(value, str) else json_text.render(value).rstrip("\n")
    yield from (f"{indent}  {line}" for line in text.split("\n") if text)


def _text(name: str, text: str, indent: str) -> Iterator[str]:
    """On the line of its name where it is one line."""
    lines = text.split("\n")
    if len(lines) == 1:
        yield name + text
        return
    yield name.rstrip()
    yield from (f"{indent}{line}" for line in lines)


def _unreadable(entry: Entry) -> Iterator[str]:
    """An answer that is no conversation: its JSON, its text, or its size and a digest."""
    try:
        text = entry.body.decode()
        text = json_text.render(json_text.loads(text)) if entry.format == "json" else text
    except (UnicodeDecodeError, NotExact):
        yield f"{len(entry.body):,} bytes, {_digest(entry.body)}"
        return
    for line in text.splitlines():
        yield line if len(line) <= _LONG else f"{line[:_LONG]}... ({len(line):,} characters, {_digest(line)})"


def _digest(data: str | bytes) -> str:
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return hashlib.blake2b(data, digest_size=4).hexdigest()
