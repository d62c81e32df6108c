"""`ai-cache show KEY`: an entry of the store as a conversation, as JSON, as its bytes, or as a curl command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial

from .. import conversation
from ..conversation import Conversation
from ..conversation.curl import NoCommand, command
from ..conversation.data import entry_data
from ..conversation.reading import amount
from ..conversation.text import answer_lines, conversation_lines
from ..entries.entry import Entry, short_key
from ..explain.shown import printable
from ..redact.entries import hidden
from ..wire import units
from . import stored
from .rm import line
from .stored import FAILURE as FAILURE
from .stored import WrongUsage

SUMMARY = "show an entry: what was asked, what was answered, and where that is from"

_CANDIDATES = 20
_LABEL = 10
"""Characters of the names in the head."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="the key, or its beginning as X-AI-Cache-Key shows it")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="everything, for programs")
    how.add_argument("--raw", action="store_true", help="the bytes of the answer")
    how.add_argument("--request", action="store_true", help="the bytes of the request's body")
    how.add_argument("--answer", action="store_true", help="the text of the answer and nothing else")
    how.add_argument("--curl", action="store_true", help="a command that asks the same; the credential is a variable")
    stored.add_store(parser)


def main(arguments: argparse.Namespace) -> int:
    return stored.answered(partial(_show, arguments))


async def _show(arguments: argparse.Namespace) -> int:
    key = stored.selected(arguments, stored.now()).key
    assert key is not None
    async with stored.opened(arguments) as store:
        entries = await store.find(key, _CANDIDATES + 1)
        where = store.url
    exact = [entry for entry in entries if entry.key == key]
    if len(entries) == 1 or exact:
        _write((exact or entries)[0], arguments)
        return 0
    if not entries:
        stored.say(f"no entry of {where} has a key that begins with {key}")
        return 1
    stored.say(f"several keys begin with {key}; write more of the one you mean:")
    for entry in entries[:_CANDIDATES]:
        rest = line(entry).removeprefix(short_key(entry.key)).lstrip()
        print(f"  {printable(entry.key)}  {rest}", file=sys.stderr)
    if len(entries) > _CANDIDATES:
        print("  ...", file=sys.stderr)
    return 1


def _write(entry: Entry, arguments: argparse.Namespace) -> None:
    if arguments.raw or arguments.request:
        sys.stdout.buffer.write(entry.body if arguments.raw else entry.request)
        return
    entry = hidden(entry)
    if arguments.json:
        print(json.dumps(entry_data(entry, time.time()), indent=2))
    elif arguments.curl:
        try:
            print(command(entry))
        except NoCommand as error:
            raise WrongUsage(str(error)) from None
        if entry.redacted:
            stored.say("a secret in this request was replaced by a placeholder")
    elif arguments.answer:
        _print(answer_lines(conversation.of(entry)))
    else:
        told = conversation.of(entry)
        _print(f"{name:<{_LABEL}} {value}" for name, value in head(entry, told, time.time()))
        bold, plain = ("\x1b[1m", "\x1b[0m") if _colours() else ("", "")
        for text, is_heading in conversation_lines(told):
            print(f"\n{bold}{text}{plain}" if is_heading else text)


def _print(lines: Iterable[str]) -> None:
    for text in lines:
        print(text)


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def head(entry: Entry, told: Conversation, now: float) -> Iterator[tuple[str, str]]:
    """What is known of an entry beside its bodies: names and printable values."""
    yield "key", printable(entry.key)
    yield (
        "kept",
        f"{_date(entry.created)}, {units.human_duration(max(0.0, now - entry.created))} ago, {_fresh(entry, now)}",
    )
    for name, value in (("run", entry.run), ("namespace", entry.namespace), ("issued", entry.issued)):
        if value:
            yield name, printable(value)
    yield "asked", printable(f"{entry.method} {entry.url}")
    for name, value in entry.request_headers:
        yield "header", printable(f"{name}: {value}")
    yield "protocol", printable(" ".join(filter(None, (entry.protocol or "-", entry.model))))
    stream = f"stream ({entry.format})" if entry.stream else entry.format
    finish = [f"finished: {printable(told.finish)}"] if told.finish else []
    yield "answer", ", ".join([str(entry.status), printable(stream), amount(len(entry.body)), *finish])
    if entry.input_tokens or entry.output_tokens:
        yield "tokens", f"{entry.input_tokens:,} in, {entry.output_tokens:,} out"
    if entry.total:
        first = f"{units.human_duration(entry.first_byte)} to the first byte, " if entry.first_byte else ""
        yield "took", f"{first}{units.human_duration(entry.total)} in all"
    for note in _notes(entry):
        yield "note", note


def _date(created: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    except (ValueError, OverflowError, OSError):
        return "at no time that there is"


def _fresh(entry: Entry, now: float) -> str:
    if not entry.ttl:
        return "never stale"
    left = entry.fresh_until - now
    return f"fresh for {units.human_duration(left)}" if left > 0 else f"stale for {units.human_duration(-left)}"


def _notes(entry: Entry) -> Iterator[str]:
    if entry.redacted:
        yield "a secret in it was replaced by a placeholder"
    if entry.live:
        yield "the answer depends on what lies outside the request (tools, URLs, files)"
    if not entry.cacheable:
        yield "kept for record and replay only"
