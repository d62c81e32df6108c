"""The files below a directory of cassettes: found, claimed, written at once or not at all.

Paths are relative, with `/`.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...cassettes import names, parts
from ...system import foreign_files

_ATTRIBUTES = """\
# Written once by ai-cache; yours to change.
# Cassettes are for review. To fold them in pull requests add linguist-generated=true to the first line.
*.json text eol=lf
# Long values of requests. No line end in them may change.
parts/* -text linguist-generated=true
"""
_IGNORED = """\
# Written once by ai-cache.
.index
.used-*
.*.tmp
"""
_USED = ".used-"
_DONE = ".done"
_INDEX = ".index"
_LONGEST_RUN = 86400.0
"""Seconds. What a process noted as used counts for so long; it may have died without cleaning up."""

_PARTS = 32 << 20
"""Characters of parts that are kept in memory."""

Found = dict[str, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds, by path. What is no file has the size `NO_FILE`."""


class CassetteDirectory:
    """All that touches the disk. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._notes = f"{_USED}{os.getpid()}-{secrets.token_hex(4)}"
        self._seen: dict[str, tuple[int, Found]] = {}
        self._prepared = False
        self._parts: dict[str, str] = {}
        self._parts_size = 0

    # Finding

    def scan(self) -> Found:
        """All cassettes. Directories that did not change since the last scan are not read again."""
        found: Found = {}
        seen: dict[str, tuple[int, Found]] = {}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                changed = os.stat(self.root / folder).st_mtime_ns
                known = self._seen.get(folder)
                if known is None or known[0] != changed:
                    # The clock of a file system ticks slowly: what changed just now may change again unseen.
                    fresh = time.time_ns() - changed < 2_000_000_000
                    known = (0 if fresh else changed, self._listed(folder))
            except FileNotFoundError:
                continue
            seen[folder] = known
            for path, size_and_time in known[1].items():
                if size_and_time == _FOLDER:
                    waiting.append(path)
                else:
                    found[path] = size_and_time
        self._seen = seen
        return found

    def _listed(self, folder: str) -> Found:
        listed: Found = {}
        prefix = f"{folder}/" if folder else ""
        with os.scandir(self.root / folder) as items:
            for item in items:
                path = prefix + item.name
                if item.name.startswith(".") or path == names.PARTS:
                    continue
                if item.is_dir(follow_symlinks=False):
                    listed[path] = _FOLDER
                elif item.name.endswith(".json"):
                    listed[path] = _stat_of(item.stat(follow_symlinks=False))
        return listed

    def stat(self, path: str) -> tuple[int, int]:
        return _stat_of(os.stat(self.root / path, follow_symlinks=False))

    def read(self, path: str) -> bytes:
        return foreign_files.read(self.root / path)

    def why_no_file(self, path: str) -> str:
        """What is at `path` in place of a file, and what to do."""
        target = self.root / path
        try:
            if not target.is_symlink():
                foreign_files.opened(target).close()
        except OSError as error:
            return f"it {error}"
        return "it is a symbolic link, which is not followed; put the file itself there"

    # Writing

    def claim(self, scope: str, stem: str, number: int) -> str | None:
        """The path `SCOPE/STEM-NUMBER.json` as an empty file that is ours, or None where it is there already."""
        path = f"{scope}/{names.numbered(stem, number)}"
        self._make(self.root / scope)
        try:
            os.close(os.open(self.root / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return None
        return path

    def write(self, path: str, text: str) -> None:
        """At once or not at all: nobody ever reads half a file."""
        target = self.root / path
        self._make(target.parent)
        temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_bytes(text.encode())
            _patiently(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def write_part(self, name: str, content: str) -> None:
        """A part never changes: what is there stays."""
        path = f"{names.PARTS}/{name}"
        if not (self.root / path).exists():
            self.write(path, content)

    def move(self, path: str, target: str) -> None:
        _patiently(self.root / path, self.root / target)

    def remove(self, path: str) -> None:
        """The file, and the directories that it leaves empty."""
        with suppress(FileNotFoundError):
            (self.root / path).unlink()
        folder = (self.root / path).parent
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise OSError(f"{folder} leads out of {self.root}")  # a link in somebody's branch
        if not self._prepared:
            self._prepared = True
            for name, text in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
                with suppress(FileExistsError), open(self.root / name, "x", newline="\n") as file:
                    file.write(text)

    # Parts

    def part(self, name: str) -> str:
        """The content of a part. Raises `parts.BrokenPart`."""
        if not parts.is_name(name):
            raise parts.BrokenPart("it names a part as no part is named")
        known = self._parts.get(name)  # its name is made of its content: it is never out of date
        if known is not None:
            return known
        try:
            content = parts.checked(name, self.read(f"{names.PARTS}/{name}"))
        except OSError as error:
            why = error.strerror or error
            raise parts.BrokenPart(f"parts/{name} cannot be read ({why}); restore it from git") from None
        self._parts_size += len(content)
        if self._parts_size > _PARTS:
            self._parts, self._parts_size = {}, len(content)
        self._parts[name] = content
        return content

    # The index, and what other processes use

    def read_index(self, elsewhere: Path) -> bytes:
        """That of the directory, or the one that is kept `elsewhere` for it."""
        for path in (self.root / _INDEX, elsewhere):
            with suppress(OSError):
                return foreign_files.read(path)
        return b""

    def write_index(self, data: bytes, elsewhere: Path | None = None) -> None:
        if elsewhere is None:
            self.write(_INDEX, data.decode())
            return
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        temporary = elsewhere.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        _patiently(temporary, elsewhere)

    def note_used(self, *paths: str) -> None:
        """Tell other processes that this run needs `paths`; without any, that it is there."""
        self._make(self.root)
        with open(self.root / self._notes, "a", newline="\n", errors="surrogateescape") as file:
            file.writelines(path + "\n" for path in paths)

    def end_notes(self) -> None:
        """This run is over. Runs that go on must still leave alone what it used; the last one clears up."""
        others = [note for note in self.root.glob(f"{_USED}*") if note.name != self._notes]
        with suppress(OSError):
            if any(note.suffix != _DONE for note in others):
                (self.root / self._notes).rename(self.root / f"{self._notes}{_DONE}")
                return
            for note in (*others, self.root / self._notes):
                note.unlink()

    def used_by_others(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for note in self.root.glob(f"{_USED}*"):
                with suppress(OSError):
                    if note.name != self._notes and time.time() - note.stat().st_mtime < _LONGEST_RUN:
                        yield from foreign_files.read(note).decode(errors="surrogateescape").splitlines()


_FOLDER = (-1, -1)
NO_FILE = -2
"""The size of a link, a pipe, a socket or a device."""


def _stat_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_size if stat.S_ISREG(found.st_mode) else NO_FILE, found.st_mtime_ns


def _patiently(source: Path, target: Path) -> None:
    """Windows refuses to replace a file that another process is reading."""
    for wait in (0.01, 0.02, 0.05, 0.1):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(wait)
    os.replace(source, target)
