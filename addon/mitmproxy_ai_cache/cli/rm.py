"""`ai-cache rm`: remove entries from the store, by key, run, model, host, namespace, age or content."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path

from .. import replay, units
from ..entry import Entry
from ..selection import Selection, host_of
from ..settings import Settings, SettingsError
from ..store_of import store_of
from ..stores import Store, StoreError
from .proxy import failed
from .sources import gather

SUMMARY = "remove entries from the store; several conditions must all be met"

_SHOWN = 10
_FLUSH_EVERY = 500
"""Removals: below what any store's queue of writes holds."""
_PATIENCE = 60.0
"""Seconds for a batch of removals."""


class WrongUsage(ValueError):
    """The conditions make no sense. One line for a user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help="the key, or its beginning as X-AI-Cache-Key shows it")
    parser.add_argument("--run", metavar="RUN", help="what one run of the proxy kept")
    parser.add_argument("--model", metavar="GLOB", help="for example 'gpt-4o*'")
    parser.add_argument("--host", metavar="GLOB", help="for example '*.openai.azure.com'")
    parser.add_argument("--namespace", metavar="NAME", help="what is kept in a namespace; '' for what is in none")
    parser.add_argument("--before", metavar="AGE", help="what is older than AGE, for example 30d")
    parser.add_argument("--contains", metavar="TEXT", help="text in the URL, the request or the answer, as it was sent")
    parser.add_argument("--all", action="store_true", help="everything")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    parser.add_argument("--store", metavar="URL", help="the store (default: as configured)")


def main(arguments: argparse.Namespace) -> int:
    try:
        selection = selected(arguments, time.time())
        found = gather(arguments, os.environ, Path.cwd())
        settings = Settings.parse({name: value.value for name, value in found.items()})
        return asyncio.run(_remove(settings, selection, arguments.dry_run))
    except (WrongUsage, SettingsError, StoreError) as error:
        return failed(error)


def selected(arguments: argparse.Namespace, now: float) -> Selection:
    """The conditions of a command line. Raises `WrongUsage`."""
    key = arguments.key
    if key is not None and not re.fullmatch(r"[0-9a-f]{4,64}(-\d*)?", key):
        raise WrongUsage("a KEY is 4 to 64 hex digits, as X-AI-Cache-Key shows them")
    for name in ("run", "model", "host", "contains", "before"):
        if getattr(arguments, name) == "":
            raise WrongUsage(f"--{name} is empty; write what to remove, or --all")
    before = None
    if arguments.before is not None:
        try:
            before = now - units.duration(arguments.before)
        except ValueError as error:
            raise WrongUsage(f"--before: {error}") from None
    selection = Selection(
        key=key,
        run=arguments.run,
        model=arguments.model,
        host=arguments.host,
        namespace=arguments.namespace,
        before=before,
        contains=arguments.contains,
        all=arguments.all,
    )
    if not selection.given:
        raise WrongUsage(
            "say what to remove: a KEY, --run, --model, --host, --namespace, --before, --contains or --all"
        )
    return selection


async def _remove(settings: Settings, selection: Selection, dry_run: bool) -> int:
    store = store_of(settings, writable=True)
    try:
        await store.open()
        if store.purges_at_once and selection.given == ("namespace",) and not dry_run:
            assert selection.namespace is not None
            await store.purge(selection.namespace)
            print(f"the namespace {replay.printable(selection.namespace)!r} is empty now ({store.url})")
            return 0
        count = await _each(store, selection, dry_run)
    finally:
        await store.close()
    kept = min(count, store.dropped)
    entries = "entry" if count - kept == 1 else "entries"
    print(f"{count - kept} {entries} {'would be ' if dry_run else ''}removed from {store.url}")
    if kept:
        raise StoreError(
            f"{kept} more could not be removed: {', '.join(store.failures) or 'the store did not take it'}"
        )
    return 0


async def _each(store: Store, selection: Selection, dry_run: bool) -> int:
    """How many entries matched; the first of them as lines."""
    seen: set[int] = set()  # a server may name an entry twice
    async for entry in store.entries():
        if hash(entry.key) in seen or not selection.matches(entry):
            continue
        seen.add(hash(entry.key))
        count = len(seen)
        if count <= _SHOWN:
            print(line(entry))
        elif count == _SHOWN + 1:
            print("...")
        if dry_run:
            continue
        store.remove(entry.key, entry.namespace)
        if count % _FLUSH_EVERY == 0:
            await store.flushed(_PATIENCE)
    await store.flushed(_PATIENCE)
    return len(seen)


def line(entry: Entry) -> str:
    """Key, date, protocol, model, host."""
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
    parts = (replay.short(entry.key), date, entry.protocol or "-", entry.model or "-", host_of(entry) or "-")
    return replay.printable("  ".join(parts), 200)
