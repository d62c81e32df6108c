"""`ai-cache prune [DIR] [-- COMMAND]`: remove recordings that a replay no longer asks for, or that are too old."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..cassettes import names, parts
from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import directory_of, store_of
from ..explain.shown import printable
from ..stores import CASSETTES, Store, StoreError
from ..stores.capabilities import StoredFile
from ..stores.cassettes.directory import CassetteDirectory
from ..wire import units
from . import cassettes, replaying, run
from .proxy import StartError, add_options, failed, proxy, settings_of

SUMMARY = "remove recordings that a command no longer asks for, or that are too old"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache prune [options] [DIR] [--max-age AGE] [--dry-run] [-- COMMAND [ARG ...]]"
    parser.epilog = (
        "COMMAND is run with the recordings, offline; when it succeeds and nothing is missing, those that it did not "
        "ask for are removed. Give it all your tests. Parts of requests that no recording names any more are removed "
        "in any case."
    )
    add_options(parser, port=0, mode=False)
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help=f"where the recordings are (default: as configured, else ./{cassettes.DIRECTORY})",
    )
    parser.add_argument(
        "--max-age", type=_duration, dest="older_than", metavar="AGE", help="also remove what is older, for example 30d"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    parser.add_argument("--allow-host", action="append", metavar="GLOB", help="as of ai-cache replay")
    parser.add_argument("--keep-credentials", action="store_true", help="as of ai-cache replay")
    parser.add_argument("--local", action="store_true", help="as of ai-cache replay")
    # The rest of what a replay is asked for.
    parser.set_defaults(mode="replay", min_hits=1, strict_unused=False, max_age=None)


def _duration(text: str) -> float:
    try:
        return units.duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: argparse.Namespace) -> int:
    try:
        arguments.store = cassettes.store(arguments.directory, arguments)
        arguments.set += [f"ai_cache_allow_hosts={glob}" for glob in arguments.allow_host or ()]
        settings = settings_of(arguments)
        if not settings.store.startswith(CASSETTES):
            raise StartError("prune looks at cassettes; write ai-cache prune DIR, or for other stores ai-cache rm")
        return asyncio.run(_prune(arguments, settings))
    except (StartError, SettingsError, StoreError) as error:
        return failed(error)


async def _prune(arguments: argparse.Namespace, settings: Settings) -> int:
    directory = directory_of(settings)
    if arguments.command:
        code, files = await _replayed(arguments, settings)
        if code:
            print("ai-cache: nothing is removed", file=sys.stderr)
            return code
    else:
        files = await _files(settings)
    if not files:
        raise StartError(f"there are no recordings at {printable(str(directory))}")
    doomed = _doomed(files, bool(arguments.command), arguments.older_than)
    _spare(doomed, CassetteDirectory(directory).used_by_others())
    for path, why in doomed.items():
        print(f"{printable(str(directory / path))}  {why}")
    orphans = _orphans(directory, doomed.keys())
    if not arguments.dry_run and (doomed or orphans):
        await _remove(settings, list(doomed), orphans)
    said = f"{_count(len(doomed), 'recording')} and {_count(len(orphans), 'part')}"
    would = "would be " if arguments.dry_run else ""
    print(f"{said} {would}removed, {_count(len(files) - len(doomed), 'recording')} left")
    if not arguments.command and arguments.older_than is None:
        print("ai-cache: recordings are removed with --max-age AGE or -- COMMAND", file=sys.stderr)
    return 0


async def _replayed(arguments: argparse.Namespace, settings: Settings) -> tuple[int, list[StoredFile]]:
    """The exit code of COMMAND or of the verdict on its replay, and all recordings."""
    with run.signals() as forward:
        replaying.check(settings, arguments)
        async with proxy(arguments, log_calls=False) as running:
            with run.command_environment(running, settings, arguments) as environ:
                code = await run.wait_for(arguments.command, environ, forward)
            stats, store = running.stats, running.store
            problems = replaying.verdict(stats, store, arguments)
    if not arguments.quiet:
        print("\n".join(f"ai-cache: {line}" for line in stats.summary()[:1]), file=sys.stderr)
    for problem in problems:
        print(f"ai-cache: replay failed: {printable(problem)}", file=sys.stderr)
    if code:
        print(f"ai-cache: {printable(arguments.command[0])} ended with exit code {code}", file=sys.stderr)
    return code or (replaying.FAILED if problems else 0), _files_of(store)


async def _files(settings: Settings) -> list[StoredFile]:
    """Raises `StoreError`."""
    store = store_of(settings, writable=False)
    await store.open()
    await store.close()
    return _files_of(store)


def _files_of(store: Store | None) -> list[StoredFile]:
    return store.as_files.files() if store is not None and store.as_files is not None else []


def _doomed(files: Iterable[StoredFile], after_a_run: bool, older_than: float | None) -> dict[str, str]:
    """The paths to remove, and why. `older_than` in seconds."""
    now = time.time()
    doomed = {}
    for file in files:
        age = now - file.created
        if after_a_run and not file.used:
            doomed[file.path] = "not used"
        elif older_than is not None and age > older_than:
            doomed[file.path] = f"{units.human_duration(age)} old"
    return doomed


def _spare(doomed: dict[str, str], used: Iterable[str]) -> None:
    """Leave what a recording that goes on in another process needs."""
    spared = [path for path in set(used) if doomed.pop(path, None) is not None]
    if spared:
        said = "is left because another run uses it" if len(spared) == 1 else "are left because another run uses them"
        print(f"ai-cache: {_count(len(spared), 'recording')} {said}", file=sys.stderr)


async def _remove(settings: Settings, paths: list[str], orphans: Iterable[str]) -> None:
    """Raises `StoreError` where something is still there."""
    directory = directory_of(settings)
    store = store_of(settings, writable=True)
    assert store.as_files is not None
    await store.open()
    try:
        await store.as_files.delete(paths)
    finally:
        await store.close()
    if left := [path for path in paths if (directory / path).exists()]:
        raise StoreError(f"{_count(len(left), 'recording')} could not be removed, {printable(left[0])} among them")
    try:
        _remove_parts(directory, orphans)
    except OSError as error:
        raise StoreError(f"the parts in {directory / names.PARTS} could not be removed: {error.strerror}") from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# Parts


def _orphans(directory: Path, doomed: Iterable[str]) -> list[str]:
    """The parts that nothing names when `doomed` are gone."""
    folder = directory / names.PARTS
    there = {file.name for file in folder.iterdir() if parts.is_name(file.name)} if folder.is_dir() else set()
    return sorted(there - _needed(directory, doomed))


def _needed(directory: Path, doomed: Iterable[str] = ()) -> set[str]:
    """The parts that are named without `doomed`.

    Whatever looks like a cassette counts, also what cannot be read: a merge that is not done needs its parts.
    """
    folder = directory / names.PARTS
    gone = {directory / path for path in doomed}
    waiting: set[str] = set()
    for file in directory.rglob("*.json"):
        if file.parent != folder and file not in gone:
            waiting |= _named(file)
    needed: set[str] = set()
    while waiting:
        needed |= waiting
        waiting = set().union(*(_named(folder / name) for name in waiting if name.endswith(".json"))) - needed
    return needed


def _named(file: Path) -> frozenset[str]:
    try:
        return parts.named(file.read_text("utf-8", "replace"))
    except (FileNotFoundError, IsADirectoryError):
        return frozenset()


def _remove_parts(directory: Path, orphans: Iterable[str]) -> None:
    """A process that records may name one in this very moment: then it is put back. Raises OSError."""
    folder = directory / names.PARTS
    contents = {name: (folder / name).read_bytes() for name in orphans if (folder / name).is_file()}
    for name in contents:
        (folder / name).unlink(missing_ok=True)
    while missed := contents.keys() & _needed(directory):
        for name in missed:
            (folder / name).write_bytes(contents.pop(name))
    with suppress(OSError):
        folder.rmdir()  # only where it is empty
