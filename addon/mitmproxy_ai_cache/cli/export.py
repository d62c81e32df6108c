"""`ai-cache export`: entries as a HAR archive, as JSONL, or as cassettes."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from ..cassettes.file import sequence_of
from ..configuration.settings import Settings
from ..configuration.store_of import store_of
from ..entries.entry import Entry
from ..identity.identifier import key_of
from ..interchange.exporting import har, lines
from ..stores import CASSETTES, Store, StoreError
from . import stored
from .stored import FAILURE as FAILURE
from .stored import WrongUsage

SUMMARY = "write entries to JSONL or a HAR archive, which import reads, or as cassettes, which are a store"

FORMATS = ("jsonl", "har", "cassettes")
_ROOM = 30.0
"""Seconds to wait for room in the queue of a store."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache export FILE_OR_DIR [--format FORMAT] [conditions] [--store URL]"
    parser.epilog = (
        "JSONL brings back each entry as it was, under its key. HAR and cassettes are read by their requests: what "
        "was redacted, or kept apart by credential, gets another key there."
    )
    parser.add_argument("target", metavar="FILE_OR_DIR", help="x.jsonl, x.har, a directory for cassettes, or -")
    parser.add_argument("--format", choices=FORMATS, help="where the name does not tell")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--key", metavar="KEY", help="the key, or its beginning as X-AI-Cache-Key shows it")
    stored.add_conditions(parser)
    stored.add_contains(parser)
    stored.add_store(parser)


def main(arguments: argparse.Namespace) -> int:
    return stored.answered(partial(_export, arguments))


def format_of(target: str, named: str | None) -> str:
    """Raises `WrongUsage`."""
    if named:
        return named
    if target.startswith(CASSETTES) or target.endswith(os.sep) or Path(target).is_dir():
        return "cassettes"
    ending = Path(target).suffix.lower()
    if target == "-" or ending in (".jsonl", ".ndjson"):
        return "jsonl"
    if ending == ".har":
        return "har"
    raise WrongUsage(f"what shall {target!r} be? Write --format jsonl, har or cassettes")


async def _export(arguments: argparse.Namespace) -> int:
    target, form = arguments.target, format_of(arguments.target, arguments.format)
    selection = stored.selected(arguments, stored.now())
    settings = stored.settings_of(arguments)
    async with stored.opened(arguments) as store:
        found = stored.walk(store, selection, "exporting")
        if form == "cassettes":
            count = await _to_cassettes(found, target.removeprefix(CASSETTES), settings)
        else:
            with _written(target, arguments.force) as file:
                count = await (_to_har if form == "har" else _to_lines)(found, file, settings)
    if store.vault is not None:
        stored.say("the store is encrypted, what was written is not")
    entries = "entry" if count == 1 else "entries"
    stored.say(f"{count:,} {entries} of {store.url} written to {'stdout' if target == '-' else target}")
    return 0


async def _to_lines(found: AsyncIterator[Entry], file: IO[bytes], settings: Settings) -> int:
    count = 0
    async for entry in found:
        file.write(lines.encode(entry))
        count += 1
    return count


async def _to_har(found: AsyncIterator[Entry], file: IO[bytes], settings: Settings) -> int:
    with _Spool() as spool:
        await spool.fill(found)
        others = _Others(settings)
        file.write(har.beginning())
        for number, entry in enumerate(spool.oldest_first()):
            others.look_at(entry)
            file.write(b"," * (number > 0) + har.encode(entry))
        file.write(har.END)
        others.say()
        return len(spool)


async def _to_cassettes(found: AsyncIterator[Entry], directory: str, settings: Settings) -> int:
    with _Spool() as spool:
        await spool.fill(found)
        others = _Others(settings)
        cassettes = store_of(replace(settings, store=CASSETTES + directory), writable=True)
        await cassettes.open()
        try:
            for entry in spool.oldest_first():
                others.look_at(entry)
                await _put(cassettes, entry)
            await cassettes.flushed(_ROOM)
        finally:
            await cassettes.close(_ROOM)
        if cassettes.dropped:
            raise StoreError(f"{cassettes.dropped} of {len(spool)} could not be written to {directory}")
        others.say()
        return len(spool)


async def _put(store: Store, entry: Entry) -> None:
    """Wait for room in the queue. What is given up for good is counted by the store."""
    before, deadline = store.dropped, time.monotonic() + _ROOM
    while not store.put(entry):
        if time.monotonic() > deadline:
            return
        store.dropped = before
        await store.flushed(1.0)
        await asyncio.sleep(0.01)


class _Others:
    """Counts entries that an import will put under another key."""

    def __init__(self, settings: Settings) -> None:
        self._key: Callable[[Entry], str] = key_of(settings.identity)
        self._count = 0

    def look_at(self, entry: Entry) -> None:
        try:
            self._count += self._key(entry) != entry.key.partition("-")[0]
        except Exception:  # a request that no key can be made of
            self._count += 1

    def say(self) -> None:
        if self._count:
            stored.say(
                f"{self._count:,} of them will have another key: redacted, kept apart by credential, or made under "
                "other rules; a .jsonl file keeps all keys"
            )


class _Spool:
    """Entries on their way in a file without a name, to be read again in another order."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed by `__exit__`
        self._places: list[tuple[float, int, int]] = []

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    async def fill(self, found: AsyncIterator[Entry]) -> None:
        async for entry in found:
            self._places.append((entry.created, sequence_of(entry.key), self._file.tell()))
            self._file.write(lines.encode(entry))

    def oldest_first(self) -> Iterator[Entry]:
        """The answers of a sequence come in their order."""
        for _, _, place in sorted(self._places):
            self._file.seek(place)
            yield lines.decode(self._file.readline())


@contextmanager
def _written(target: str, force: bool) -> Iterator[IO[bytes]]:
    """A file that is there in whole or not at all, for its owner alone: there are prompts in it."""
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    if not path.absolute().parent.is_dir():
        raise WrongUsage(f"there is no directory {path.absolute().parent}")
    if path.exists() and not force:
        raise WrongUsage(f"{target} is there already; --force replaces it")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
