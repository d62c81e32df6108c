"""What the commands have in common that look into a store: their conditions, the open store, the walk through it."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import store_of
from ..entries.entry import Entry
from ..entries.selection import EVERYTHING, Selection
from ..entries.vault import VARIABLE
from ..explain.shown import printable
from ..stores import Store, StoreError
from ..wire import units
from ..wire.safe_text import scrubbed
from . import project
from .progress import Progress
from .sources import gather

FAILURE = 2
"""Exit code of wrong usage and of stores that cannot be read."""

_CONDITIONS = ("run", "model", "host", "contains", "before", "after")
_AT_ONCE = 200
_TURN = 0.3
"""Seconds between two looks at the progress."""


class WrongUsage(ValueError):
    """The arguments make no sense. One line for a user."""


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Of which entries."""
    group = parser.add_argument_group("conditions", "Several must all be met.")
    group.add_argument("--run", metavar="RUN", help="what one run of the proxy kept")
    group.add_argument("--model", metavar="GLOB", help="for example 'gpt-4o*'")
    group.add_argument("--host", metavar="GLOB", help="for example '*.openai.azure.com'")
    group.add_argument("--namespace", metavar="NAME", help="what is kept in a namespace; '' for what is in none")
    group.add_argument("--before", metavar="AGE", help="what is older than AGE, for example 30d")
    group.add_argument("--after", metavar="AGE", help="what is younger than AGE, for example 1h")


def add_contains(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contains", metavar="TEXT", help="text in the URL, the request or the answer, as it was sent")


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="URL", help="the store (default: as configured)")
    project.add_options(parser)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"for programs: {what}")


def selected(arguments: argparse.Namespace, now: float) -> Selection:
    """The conditions of a command line. Raises `WrongUsage`."""
    given: dict[str, Any] = {name: getattr(arguments, name, None) for name in ("key", *_CONDITIONS, "namespace")}
    key = given["key"] = given["key"].lower() if given["key"] is not None else None
    if key is not None and not re.fullmatch(r"[0-9a-f]{4,64}(-\d*)?", key):
        raise WrongUsage("a KEY is 4 to 64 hex digits, as X-AI-Cache-Key shows them")
    for name in _CONDITIONS:
        if given[name] == "":
            raise WrongUsage(f"--{name} is empty; write what is meant, or leave it out")
    for name in ("before", "after"):
        if given[name] is not None:
            try:
                given[name] = now - units.duration(given[name])
            except ValueError as error:
                raise WrongUsage(f"--{name}: {error}") from None
    return Selection(**given)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Raises `SettingsError`."""
    found = gather(arguments, os.environ, Path.cwd())
    return Settings.parse({name: value.value for name, value in found.items()})


@asynccontextmanager
async def opened(arguments: argparse.Namespace, writable: bool = False) -> AsyncIterator[Store]:
    """The store that is configured or named. Raises `SettingsError`, `StoreError`, `WrongUsage`."""
    settings = settings_of(arguments)
    if settings.store.startswith("memory:"):
        raise WrongUsage("a store in memory is seen by its own proxy alone; write --store sqlite:///PATH")
    if writable:  # what is no store is refused as it is for a look: only a proxy makes one, or sets one aside
        async with opened(arguments):
            pass
    store = store_of(settings, writable)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def walk(store: Store, selection: Selection, what: str, limit: float = math.inf) -> AsyncIterator[Entry]:
    """The newest `limit` entries of `selection`, with a bar for a person who waits. Raises `StoreError`."""
    shown, unreadable, after = 0, 0, ""
    total = await store.count()
    if selection in (EVERYTHING, Selection()):
        total = int(min(total, limit))  # as far as it goes
    with Progress(what, total) as progress:
        while True:
            page = await store.browse(selection, after, int(min(_AT_ONCE, limit - shown)), _TURN)
            unreadable += page.unreadable
            progress.advance(page.searched)
            if page.entries and sys.stdout.isatty():
                progress.clear()
            for entry in page.entries:
                yield entry
            shown, after = shown + len(page.entries), page.next
            if not after or shown >= limit:
                break
    if unreadable:
        entries = "entry" if unreadable == 1 else "entries"
        say(f"{unreadable} {entries} could not be read: damaged, or encrypted with another {VARIABLE}")


def say(text: str) -> None:
    """One line on stderr."""
    print(f"ai-cache: {printable(scrubbed(text))}", file=sys.stderr, flush=True)


def answered(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """The exit code of a command. Errors are one line; who stops reading is not told of any."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = asyncio.run(work())
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written at the end
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        return FAILURE
    except (WrongUsage, SettingsError, StoreError) as error:
        say(str(error))
        return FAILURE


def now() -> float:
    return time.time()


def date(when: float) -> str:
    """Local time, to the minute."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
    except (ValueError, OverflowError, OSError):  # a file may say anything
        return "?"
