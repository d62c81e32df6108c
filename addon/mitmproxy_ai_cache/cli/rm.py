"""`ai-cache rm`: remove entries from the store, by key, run, model, host, namespace, age or content."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import orjson

from ..entries.entry import Entry, short_key
from ..entries.selection import EVERYTHING, Selection, host_of
from ..explain.shown import printable
from ..stores import Store, StoreError
from ..wire.safe_text import one_line
from . import stored
from .stored import FAILURE as FAILURE
from .stored import WrongUsage

SUMMARY = "remove entries from the store; several conditions must all be met"

_SHOWN = 10
_FLUSH_EVERY = 500
"""Removals: below what any store's queue of writes holds."""
_PATIENCE = 60.0
"""Seconds for a batch of removals."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help="the key, or its beginning as X-AI-Cache-Key shows it")
    stored.add_conditions(parser)
    stored.add_contains(parser)
    parser.add_argument("--all", action="store_true", help="everything")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    stored.add_json(parser, "one JSON object with the keys")
    stored.add_store(parser)


def main(arguments: argparse.Namespace) -> int:
    return stored.answered(partial(_remove, arguments))


def _selected(arguments: argparse.Namespace) -> Selection:
    """Raises `WrongUsage`."""
    selection = stored.selected(arguments, stored.now())
    if selection.given or arguments.all:
        return selection if selection.given else EVERYTHING
    raise WrongUsage(
        "say what to remove: a KEY, --run, --model, --host, --namespace, --before, --after, --contains or --all"
    )


async def _remove(arguments: argparse.Namespace) -> int:
    selection = _selected(arguments)
    dry_run = arguments.dry_run
    async with stored.opened(arguments, writable=not dry_run) as store:
        if store.purges_at_once and selection.given == ("namespace",) and not dry_run and not arguments.json:
            assert selection.namespace is not None
            await store.purge(selection.namespace)
            print(f"the namespace {printable(selection.namespace)!r} is empty now ({store.url})")
            return 0
        keys = await _each(store, selection, arguments)
    kept = min(len(keys), store.dropped)  # the last removals are done when it is closed
    count = len(keys) - kept
    if arguments.json:
        _put({"store": store.url, "dry_run": dry_run, "removed": count, "failed": kept, "keys": keys})
    else:
        entries = "entry" if count == 1 else "entries"
        print(f"{count} {entries} {'would be ' if dry_run else ''}removed from {store.url}")
    if kept:
        raise StoreError(
            f"{kept} more could not be removed: {', '.join(store.failures) or 'the store did not take it'}"
        )
    return 0


async def _each(store: Store, selection: Selection, arguments: argparse.Namespace) -> list[str]:
    """The keys of what matched; the first of them as lines."""
    seen: dict[tuple[str, str], None] = {}  # a server may name an entry twice
    async for entry in stored.walk(store, selection, "removing"):
        if (entry.namespace, entry.key) in seen:
            continue
        seen[entry.namespace, entry.key] = None
        if not arguments.json and len(seen) <= _SHOWN:
            print(line(entry))
        elif not arguments.json and len(seen) == _SHOWN + 1:
            print("...")
        if arguments.dry_run:
            continue
        store.remove(entry.key, entry.namespace)
        if len(seen) % _FLUSH_EVERY == 0:
            await store.flushed(_PATIENCE)
    await store.flushed(_PATIENCE)
    return [key for _, key in seen]


def _put(document: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def line(entry: Entry) -> str:
    """Key, date, protocol, model, host."""
    parts = (
        short_key(entry.key),
        stored.date(entry.created),
        entry.protocol or "-",
        entry.model or "-",
        host_of(entry) or "-",
    )
    return one_line("  ".join(parts), 200)
