"""`ai-cache import`: recordings of other tools into a store."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import store_of
from ..entries.entry import Entry
from ..interchange.importing import BrokenRecording, Kept, NotARecording, Recorded, Skipped, read
from ..interchange.importing.taking import Taken, Taker, settings_for
from ..stores import Store, StoreError
from ..system import foreign_files
from ..wire.safe_text import one_line, scrubbed
from . import project
from .proxy import failed
from .sources import gather

SUMMARY = "put recordings of vcrpy, browsers (HAR) or mitmproxy, and what export wrote, into a store"

_NAMES = 3
"""Exchanges that are named for each reason."""
_ROOM = 10.0
"""Seconds to wait for room in the queue of a store."""
_CLOSE = 120.0
"""Seconds for the last writes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache import FILE_OR_DIR... [--store URL] [--namespace NS]"
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="FILE_OR_DIR", help="recordings; a directory with all in it"
    )
    parser.add_argument("--store", metavar="URL", help="where to (default: the store that run and serve use)")
    parser.add_argument("--namespace", metavar="NS", help="as ai_cache_namespace of the proxy that will answer")
    parser.add_argument("--hosts", action="append", metavar="GLOB", help="one more AI host; may be repeated")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", default=[], help="any other ai_cache_* option; may be repeated"
    )
    project.add_options(parser)


def main(arguments: argparse.Namespace) -> int:
    if arguments.namespace is not None:
        arguments.set = [*arguments.set, f"ai_cache_namespace={arguments.namespace}"]
    try:
        values = {name: found.value for name, found in gather(arguments, os.environ, Path.cwd()).items()}
        settings = settings_for(values)
        if settings.store.startswith("memory:"):
            raise SettingsError("import into memory: is gone at once; write --store sqlite:///PATH")
        return asyncio.run(_import(arguments.paths, settings))
    except (SettingsError, StoreError) as error:
        return failed(error)


@dataclass(slots=True)
class _Count:
    """What became of the exchanges."""

    seen: int = 0
    imported: int = 0
    replaced: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)
    """By reason, the names of those that were skipped."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """By name of a header field, the exchanges without it."""
    trouble: bool = False

    def skip(self, reason: str, name: str) -> None:
        self.skipped.setdefault(one_line(reason), []).append(name)

    def leave_out(self, header: str, name: str) -> None:
        self.left_out.setdefault(one_line(header, 40), []).append(name)

    def lines(self, url: str) -> Iterator[str]:
        noun = "exchange" if self.seen == 1 else "exchanges"
        yield f"ai-cache: imported {self.imported} of {self.seen} {noun} into {url}"
        if self.replaced:
            yield f"  of these replaced by a later answer (after 429, 5xx, polling, changes of state): {self.replaced}"
        fields = {
            f"header field {header} left out: it has a line end or a NUL": names
            for header, names in self.left_out.items()
        }
        for reason, names in sorted((self.skipped | fields).items(), key=lambda item: -len(item[1])):
            more = f", and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
            yield f"  {reason}: {len(names)} ({', '.join(map(one_line, names[:_NAMES]))}{more})"


async def _import(paths: Iterable[Path], settings: Settings) -> int:
    files = [found for path in paths for found in _files(path)]
    store = store_of(settings, writable=True)
    await store.open()
    count, taker, others = _Count(), Taker(settings), 0
    progress = _Progress(sum(_size(file) for file, _ in files))
    for file, named in files:
        try:
            await _import_file(file, taker, store, count, progress)
        except NotARecording as error:
            others += not named
            count.trouble |= named and _complain(progress, file, error)
        except (BrokenRecording, OSError) as error:
            count.trouble |= _complain(progress, file, error)
        progress.file_done(_size(file), count.seen)
    progress.clear()
    lost = store.dropped
    await store.close(_CLOSE)
    if store.dropped > lost:
        count.imported -= store.dropped - lost
        count.trouble |= _complain(progress, Path(store.url), OSError(f"{store.dropped - lost} could not be written"))
    print("\n".join(count.lines(store.url)))
    if others:
        print(f"  files that are no recordings: {others}")
    return 125 if count.trouble else 0


async def _import_file(file: Path, taker: Taker, store: Store, count: _Count, progress: _Progress) -> None:
    recordings = read(file)
    number = 0
    # In a thread: a store that speaks with a server needs the loop while a long cassette is parsed.
    while (recorded := await asyncio.to_thread(next, recordings, None)) is not None:
        number += 1
        count.seen += 1
        name = f"{file}#{number}"
        if isinstance(recorded, Skipped):
            count.skip(recorded.reason, name)
            continue
        if isinstance(recorded, Recorded):
            for header in recorded.left_out:
                count.leave_out(header, name)
        taken = Taken(recorded.entry) if isinstance(recorded, Kept) else await taker.take(recorded)
        if taken.entry is None:
            count.skip(taken.reason, name)
        elif await _put(store, taken.entry):
            count.imported += 1
            count.replaced += taken.replaces
        else:
            count.skip("the store did not take it", name)
        progress.show(count.seen)


async def _put(store: Store, entry: Entry) -> bool:
    """A proxy would rather drop a write than wait; an import waits for room in the queue."""
    deadline = time.monotonic() + _ROOM
    while not store.put(entry):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """The files of `path`, and whether it was named itself. Hidden ones in a directory are not looked at."""
    if not path.is_dir():
        yield path, True
        return
    for found in sorted(path.rglob("*")):
        if found.is_dir() or any(part.startswith(".") for part in found.relative_to(path).parts):
            continue
        yield found, not found.is_file()  # a pipe, a link to nowhere: said as if it had been named


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _complain(progress: _Progress, file: Path, error: Exception) -> bool:
    progress.clear()
    why = foreign_files.said(error)
    print(scrubbed(f"ai-cache: {one_line(str(file), 300)}: {one_line(why, 300)}"), file=sys.stderr)
    return True


class _Progress:
    """A bar on stderr for a person who has waited for a second. `total` in bytes."""

    _WIDTH = 30

    def __init__(self, total: int) -> None:
        self._total, self._done = max(total, 1), 0
        self._next = time.monotonic() + 1.0
        self._shown = False
        self._wanted = sys.stderr.isatty()

    def file_done(self, size: int, seen: int) -> None:
        self._done += size
        self.show(seen)

    def show(self, seen: int) -> None:
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next, self._shown = now + 0.1, True
        share = min(1.0, self._done / self._total)
        bar = ("#" * round(share * self._WIDTH)).ljust(self._WIDTH, ".")
        print(f"\r\x1b[Kai-cache: [{bar}] {share:4.0%}, {seen} exchanges", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
