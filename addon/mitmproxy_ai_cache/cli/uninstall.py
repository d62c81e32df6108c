"""`ai-cache uninstall`: what ai-cache has made on this machine, where, and how large; with `--yes` it is removed."""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..explain.shown import printable
from ..system import places
from ..wire.units import human_size
from . import trusted
from .outer import alive
from .proxy import StartError, failed

SUMMARY = "list what ai-cache has made on this machine and where; remove it with --yes"

_URL = "http://127.0.0.1:8484"

_STAYS = """\
Not in this list, and never removed: recordings, databases and ai-cache.toml files in your projects; answers in Redis;
certificates that you added to a trust store yourself (certs.md).
The program itself: uv tool uninstall mitmproxy-ai-cache, pipx uninstall mitmproxy-ai-cache, pip uninstall
mitmproxy-ai-cache, or delete the clone."""


@dataclass(frozen=True, slots=True)
class Made:
    """Files of one kind. `names`: their paths below `folder`, as a pattern; anything else there is not ours."""

    what: str
    folder: Path
    names: re.Pattern[str]


@dataclass(slots=True)
class _Found:
    files: list[Path] = field(default_factory=list)
    size: int = 0


def made() -> tuple[Made, ...]:
    cache, data = places.cache_directory(), places.data_directory()
    number = r"[0-9a-f]"
    return (
        Made("answers (the default store)", cache, re.compile(r"cache\.sqlite3(\..*\.aside)?(-wal|-shm|-journal)?")),
        Made("indexes of recordings", cache / "cassettes", re.compile(rf"{number}{{16}}\.json")),
        Made(
            "the certificate authority",
            data / "ca",
            re.compile(r"((broken|\.new)-[^/]*/)?mitmproxy-(ca|dhparam)[a-z0-9.-]*|\.new-[^/]*"),
        ),
        Made(
            "bundles of certificates",
            data / "ca",
            re.compile(rf"ca-bundle\.(pem|p12)|bundles/({number}{{32}}\.(pem|p12)|\.new-[^/]*)"),
        ),
        Made("trusted ai-cache.toml files", trusted.directory(), re.compile(rf"{number}{{64}}|\.{number}{{16}}\.tmp")),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="remove what is listed")


def main(arguments: argparse.Namespace) -> int:
    kinds = [(kind, _found(kind)) for kind in made()]
    for kind, found in kinds:
        if found.files:
            count = f"{len(found.files)} file{'s' * (len(found.files) != 1)}"
            print(f"{kind.what:<28}  {human_size(found.size):>7}  {count:<10}  {printable(str(kind.folder))}")
    files = [file for _, found in kinds for file in found.files]
    if not files:
        print("ai-cache has made nothing on this machine")
    code = 0
    if files and arguments.yes:
        if alive(_URL):
            return failed(StartError(f"an ai-cache proxy runs at {_URL}; stop it first"))
        code = _remove(files)
    elif files:
        print("To remove these files: ai-cache uninstall --yes")
    print(_STAYS)
    return code


def _found(kind: Made) -> _Found:
    found = _Found()
    if not places.is_nowhere(kind.folder):
        for path, size in _below(kind.folder):
            if kind.names.fullmatch(path.relative_to(kind.folder).as_posix()):
                found.files.append(path)
                found.size += size
    return found


def _below(folder: Path, depth: int = 2) -> Iterator[tuple[Path, int]]:
    """Plain files and their sizes. A link is somebody else's doing: it is neither followed nor removed."""
    if folder.is_symlink():
        return
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            how = path.lstat()
            if stat.S_ISREG(how.st_mode):
                yield path, how.st_size
            elif stat.S_ISDIR(how.st_mode) and depth > 1:
                yield from _below(path, depth - 1)


def _remove(files: list[Path]) -> int:
    code = 0
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            print(f"ai-cache: {printable(str(file))}: {error.strerror}", file=sys.stderr)
            code = 1
    folders = {folder for file in files for folder in file.parents if folder.name != ""}
    ours = (places.cache_directory(), places.data_directory())
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        if any(folder == top or top in folder.parents for top in ours):
            with suppress(OSError):  # what is not ours is in it
                os.rmdir(folder)
    for top in ours:
        if top.is_dir():
            print(f"not made by ai-cache, so it stays: {printable(str(top))}: {', '.join(_names(top))}")
    print(f"removed {len(files)} file{'s' * (len(files) != 1)}" if not code else "some files could not be removed")
    return code


def _names(folder: Path) -> list[str]:
    return [printable(path.name)[:60] for path in sorted(folder.iterdir())[:10]]
