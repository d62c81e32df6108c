"""`ai-cache ls`: what is in the store, newest first."""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial

from . import records, stored
from .stored import FAILURE as FAILURE

SUMMARY = "list what is in the store, newest first"

_LIMIT = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help="the key, or its beginning as X-AI-Cache-Key shows it")
    stored.add_conditions(parser)
    stored.add_contains(parser)
    add_limit(parser, _LIMIT)
    parser.add_argument("--all", dest="limit", action="store_const", const=math.inf, help="all, however many")
    stored.add_json(parser, "one JSON object a line")
    stored.add_store(parser)


def add_limit(parser: argparse.ArgumentParser, default: float) -> None:
    said = "all" if default == math.inf else default
    parser.add_argument(
        "--limit", type=positive, default=default, metavar="N", help=f"at most N entries (default: {said})"
    )


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries; write for example 20")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    return stored.answered(partial(_list, arguments))


async def _list(arguments: argparse.Namespace) -> int:
    now = stored.now()
    selection = stored.selected(arguments, now)
    async with stored.opened(arguments) as store:
        found = stored.walk(store, selection, "searching", arguments.limit)
        shown = 0
        if arguments.json:
            async for entry in found:
                records.put(records.record(entry))
                shown += 1
        else:
            from .tables import Table

            with Table(records.COLUMNS) as table:
                async for entry in found:
                    table.add(records.row(entry, now))
            shown = table.rows
        count = await store.count()
        cut = shown == arguments.limit < count
        if cut or not (shown or arguments.json) or (sys.stderr.isatty() and not arguments.json):
            entries = "entry" if count == 1 else "entries"
            more = "; --all shows all of them" if cut else ""
            stored.say(f"{shown:,} of {count:,} {entries} in {store.url}{more}")
    return 0
