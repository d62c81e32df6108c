"""What `ai-cache diff` asks git: revisions, what changed between them, and contents."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..explain.shown import printable

_PLAIN_FILE = "100"
"""How the modes of files begin; links and submodules have others."""


class GitError(ValueError):
    """git is not there, or cannot do what was asked. One line for a user."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One file that is another one on the two sides. Contents by their ids, empty where there is none."""

    path: str
    """From the top of the repository, with `/`."""
    before: str
    after: str
    """`DISK` where it is that of the working tree."""


DISK = "disk"


@dataclass(frozen=True, slots=True)
class Repository:
    """A working tree. `prefix` is the directory that is looked at, from its top, with `/` at its end or empty."""

    top: Path
    prefix: str

    @classmethod
    def around(cls, directory: Path) -> Repository:
        """The one `directory` is in; it need not be there any more. Raises `GitError`."""
        wanted = directory.absolute().resolve()
        start = next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())
        top = Path(
            _git(start, "rev-parse", "--show-toplevel").decode("utf-8", "surrogateescape").rstrip("\n")
        ).resolve()
        inside = wanted.relative_to(top).as_posix()
        return cls(top, "" if inside == "." else f"{inside}/")

    def tree(self, revision: str) -> str:
        """The id of what `revision` (a commit, tag, branch, stash) holds. Raises `GitError`."""
        found = "" if revision.startswith("-") else self._id(f"{revision}^{{tree}}")
        if found:
            return found
        hint = f"; for that directory write ai-cache diff HEAD {revision}" if Path(revision).is_dir() else ""
        raise GitError(f"there is no revision {printable(revision)!r} in this repository{hint}")

    def fork(self, one: str, other: str) -> str:
        """The commit from which both went on: the left side of `ONE...OTHER`. Raises `GitError`."""
        self.tree(one), self.tree(other)
        try:
            return self._run("merge-base", one, other).decode().strip()
        except GitError:
            raise GitError(f"{printable(one)} and {printable(other)} have no commit in common") from None

    def changed(self, before: str, after: str | None) -> list[Changed]:
        """What differs below `prefix` between two trees, or a tree and the working tree with what is not added yet."""
        sides = [before] if after is None else [before, after]
        raw = self._run("diff", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "-z", *sides, *self._below())
        found = {change.path: change for change in _changes(raw)}
        if after is None:
            for path in self._names("ls-files", "--others", "--exclude-standard", "-z", *self._below()):
                # Taken out of the index and still there: it is changed, not removed.
                known = found.get(path)
                found[path] = Changed(path, known.before if known else "", DISK)
        return sorted(found.values(), key=lambda change: change.path)

    def has(self, tree: str) -> bool:
        """Whether anything stands below `prefix`."""
        return not self.prefix or bool(self._run("ls-tree", "-z", "--full-tree", tree, "--", self.prefix))

    def files(self, tree: str, folder: str) -> dict[str, str]:
        """The ids of the files that stand in `folder` (below `prefix`) of a tree, by their names."""
        found = {}
        for line in self._names("ls-tree", "-z", "--full-tree", tree, "--", f"{self.prefix}{folder}/"):
            head, _, path = line.partition("\t")
            mode, kind, content = head.split(" ")
            if kind == "blob" and mode.startswith(_PLAIN_FILE):
                found[path.rpartition("/")[2]] = content
        return found

    @contextmanager
    def contents(self) -> Iterator[Contents]:
        """Reads contents, all by one process."""
        with subprocess.Popen(
            _command("cat-file", "--batch"), cwd=self.top, env=_environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield Contents(process.stdin, process.stdout)

    def _below(self) -> tuple[str, ...]:
        return ("--", self.prefix) if self.prefix else ("--",)

    def _names(self, *arguments: str) -> list[str]:
        return [os.fsdecode(name) for name in self._run(*arguments).split(b"\0") if name]

    def _id(self, name: str) -> str:
        try:
            return self._run("rev-parse", "--verify", "--quiet", name).decode().strip()
        except GitError:
            return ""

    def _run(self, *arguments: str) -> bytes:
        return _git(self.top, *arguments)


class Contents:
    """`git cat-file --batch`."""

    def __init__(self, asks: IO[bytes], says: IO[bytes]) -> None:
        self._asks = asks
        self._says = says

    def read(self, content: str) -> bytes:
        """Raises `GitError` where it is not there: a clone without all contents, a merge that is not done."""
        self._asks.write(content.encode() + b"\n")
        self._asks.flush()
        head = self._says.readline().split()
        if len(head) != 3:
            raise GitError(f"git has no content {content[:12]}")
        data = self._says.read(int(head[2]))
        self._says.read(1)
        return data


_RAW = re.compile(r":+(\d+) (\d+) ([0-9a-f]+) ([0-9a-f]+) ([A-Z])\d*")


def _changes(raw: bytes) -> Iterator[Changed]:
    """`git diff --raw -z`: `:MODE MODE ID ID STATUS`, NUL, path, NUL. A side without a plain file has no content."""
    words = iter(raw.split(b"\0"))
    for head, path in zip(words, words, strict=False):
        found = _RAW.fullmatch(head.decode())
        if found is None:
            continue
        was, now, before, after, status = found.groups()
        there = (before if was.startswith(_PLAIN_FILE) else "", after if now.startswith(_PLAIN_FILE) else "")
        # Zeros stand for a content that git has not hashed: that on the disk. So does a merge that is not done.
        on_disk = status == "U" or (there[1] and not there[1].strip("0"))
        yield Changed(os.fsdecode(path), there[0] if there[0].strip("0") else "", DISK if on_disk else there[1])


def _git(folder: Path, *arguments: str) -> bytes:
    """What git says. Raises `GitError`."""
    try:
        done = subprocess.run(_command(*arguments), cwd=folder, env=_environ(), capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git is not installed, or not in PATH") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0].removeprefix("fatal: ")
    if "not a git repository" in said:
        raise GitError(f"{printable(str(folder))} is in no git repository")
    raise GitError(f"git {arguments[0]}: {printable(said) or f'exit code {done.returncode}'}")


def _command(*arguments: str) -> list[str]:
    return ["git", "-c", "diff.autoRefreshIndex=true", "--literal-pathspecs", "--no-pager", *arguments]


def _environ() -> dict[str, str]:
    """Messages are looked into: they must be English."""
    return {**os.environ, "LC_ALL": "C"}
