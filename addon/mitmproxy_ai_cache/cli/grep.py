"""`ai-cache grep TEXT`: the entries that mention a text, with the lines where they do."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import conversation
from ..conversation import Conversation, Message, Text, Thinking, ToolCall, ToolResult
from ..entries.entry import Entry
from ..entries.search_text import unescaped
from ..entries.selection import Selection, in_url
from ..redact.entries import hidden
from . import records, stored
from .ls import add_limit
from .stored import FAILURE as FAILURE

SUMMARY = "find entries by a text in their requests and answers, and show where"

_LINES = 3
"""Lines of one entry that are shown, unless more are asked for."""
_AROUND = 60
"""Characters before and behind the text that are shown at least."""
_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A line that mentions the text."""

    where: str
    """A role, `answer`, `url`, or `request` and `response` for what no message holds."""
    text: str
    """The line, long ones cut around the text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("contains", metavar="TEXT", help="as it was said; upper and lower case differ")
    parser.add_argument("--key", metavar="KEY", help="only the entry of this key, or of those that begin with it")
    stored.add_conditions(parser)
    parser.add_argument("--lines", type=int, default=_LINES, metavar="N", help="of each entry (default: %(default)s)")
    parser.add_argument("-l", "--list", action="store_true", help="the entries only, without the lines")
    add_limit(parser, math.inf)
    stored.add_json(parser, "one JSON object a line, as of ls, with `lines`")
    stored.add_store(parser)


def main(arguments: argparse.Namespace) -> int:
    """The exit code is that of grep: 1 where nothing was found."""
    return stored.answered(partial(_search, arguments))


async def _search(arguments: argparse.Namespace) -> int:
    now = stored.now()
    selection = stored.selected(arguments, now)
    found = 0
    show = _shown(selection, now, arguments)
    async with stored.opened(arguments) as store:
        async for entry in stored.walk(store, selection, "searching", arguments.limit):
            found += 1
            show(entry)
    return 0 if found else 1


def _shown(selection: Selection, now: float, arguments: argparse.Namespace) -> Any:
    text = selection.contains or ""
    limit = 0 if arguments.list else max(arguments.lines, 0)
    if arguments.json:
        return lambda entry: records.put(
            records.record(entry) | {"lines": [{"where": line.where, "text": line.text} for line in lines(entry, text)]}
        )
    from .matches import Printer

    printer = Printer(text)

    def show(entry: Entry) -> None:
        here = list(lines(entry, text))
        printer.entry(records.row(entry, now))
        for line in here[:limit]:
            printer.line(line.where, line.text)
        if limit and len(here) > limit:
            printer.more(len(here) - limit)

    return show


def lines(entry: Entry, text: str) -> Iterator[Line]:
    """Where `entry` mentions `text`: in what was said, or else in the bodies as they were sent; without secrets."""
    entry = hidden(entry)
    nothing = True
    for where, said in _said(conversation.of(entry)):
        for line in _with(said, text):
            nothing = False
            yield Line(where, line)
    if in_url(entry.url, text):
        nothing = False
        yield Line("url", entry.url)
    if nothing:
        for where, body in (("request", entry.request), ("response", entry.body)):
            yield from (Line(where, line) for line in _with(_layer(body.decode("utf-8", "replace"), text), text))


def _said(talk: Conversation) -> Iterator[tuple[str, str]]:
    for message in talk.messages:
        yield from ((message.role, text) for text in _texts(message))
    for message in talk.answer:
        yield from (("answer", text) for text in _texts(message))
    for tool in talk.tools:
        yield from (("tools", text) for text in (tool.name, tool.description, tool.schema))
    for name, value in talk.settings:
        yield "settings", f"{name}: {value}"


def _texts(message: Message) -> Iterator[str]:
    for part in message.parts:
        match part:
            case Text(text) | Thinking(text):
                yield text
            case ToolCall(_, name, arguments):
                yield f"{name}({arguments})"
            case ToolResult(_, content):
                yield from _texts(Message(message.role, content))


def _layer(said: str, text: str) -> str:
    """The layer of JSON's escapes in which `text` stands."""
    for _ in range(_LAYERS):
        if text in said:
            break
        said = unescaped(said)
    return said


def _with(said: str, text: str) -> Iterator[str]:
    """The lines of `said` that `text` stands in; one of several lines is a line of its own."""
    begin = said.find(text)
    while begin >= 0:
        end = begin + len(text)
        first = said.rfind("\n", 0, begin) + 1
        last = said.find("\n", end)
        last = len(said) if last < 0 else last
        yield _cut(said[first:last], begin - first, end - first)
        begin = said.find(text, max(last, end, begin + 1))


def _cut(line: str, begin: int, end: int) -> str:
    """The part of a line around the text."""
    first, last = max(0, begin - _AROUND), end + 2 * _AROUND
    return ("…" if first else "") + line[first:last] + ("…" if last < len(line) else "")
