"""A conversation as plain text, for a terminal: nothing in it acts on one, lines of a text stay lines.

What was said is indented, so that no text can look like a heading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from ..explain.shown import printable
from .entries import in_words
from .reading import one_line
from .values import Audio, Conversation, Message, Other, Part, Refusal, Text, Thinking, ToolCall, ToolResult

_INDENT = "  "
_SHORT = 100
"""Characters of a description."""


def printable_lines(text: str) -> Iterator[str]:
    for line in text.replace("\r\n", "\n").split("\n"):
        yield printable(line.expandtabs(4))


def conversation_lines(told: Conversation) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each is a heading."""
    if told.settings:
        yield "settings", True
        for name, value in told.settings:
            yield f"{_INDENT}{printable(name)}: {printable(one_line(value, 200))}", False
    if told.tools:
        yield f"tools ({len(told.tools)})", True
        for tool in told.tools:
            about = f": {printable(one_line(tool.description, _SHORT))}" if tool.description else ""
            yield f"{_INDENT}{printable(tool.name)}{about}", False
    for message in told.messages:
        yield from _message(printable(message.role), message)
    for number, message in enumerate(told.answer, 1):
        which = f" {number} of {len(told.answer)}" if len(told.answer) > 1 else ""
        yield from _message(f"answer{which}", message)


def answer_lines(told: Conversation) -> Iterator[str]:
    """The answer alone, not indented; several are apart by an empty line."""
    for number, message in enumerate(told.answer):
        if number:
            yield ""
        for part in message.parts:
            if not isinstance(part, Thinking):
                yield from _part(part)


def _message(heading: str, message: Message) -> Iterator[tuple[str, bool]]:
    yield heading, True
    for part in message.parts:
        for line in _part(part):
            yield f"{_INDENT}{line}" if line else "", False


def _part(part: Part) -> Iterable[str]:
    match part:
        case Refusal(text):
            return _titled("[refusal]", printable_lines(text))
        case Text(text):
            return printable_lines(text)
        case Thinking(text):
            return _titled("[thinking]", printable_lines(text) if text else ())
        case ToolCall(id_, name, arguments):
            number = f" {printable(id_)}" if id_ else ""
            return _titled(f"[call{number}] {printable(name)}", printable_lines(_spaced(arguments)))
        case ToolResult(id_, content, error):
            number = f" {printable(id_)}" if id_ else ""
            inner = (line for each in content for line in _part(each))
            return _titled(f"[{'error' if error else 'result'}{number}]", inner)
        case Audio() if part.transcript:
            return _titled(f"[{printable(in_words(part))}]", printable_lines(part.transcript))
        case Other(kind, json):
            return _titled(f"[{printable(kind)}]", printable_lines(json))
        case _:
            return [f"[{printable(in_words(part))}]"]


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield title
    for line in lines:
        yield f"{_INDENT}{line}" if line else ""


def _spaced(arguments: str) -> str:
    """JSON as a person reads it; as it is where it is short or none."""
    if len(arguments) <= _SHORT:
        return arguments
    try:
        return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_INDENT_2).decode()
    except (ValueError, TypeError):
        return arguments
