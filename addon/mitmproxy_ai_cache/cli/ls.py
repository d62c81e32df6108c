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
        if arguments.json:
            async for entry in found:
                records.put(records.record(entry))
            return 0
        from .tables import Table

        with Table(records.COLUMNS) as table:
            async for entry in found:
                table.add(records.row(entry, now))
        if sys.stderr.isatty() or not table.rows:
            count = await store.count()
            stored.say(f"{table.rows:,} of {count:,} entries in {store.url}" + _hint(table.rows, count, arguments))
    return 0


def _hint(shown: int, count: int, arguments: argparse.Namespace) -> str:
    return "; --all shows all of them" if shown == arguments.limit < count else ""
