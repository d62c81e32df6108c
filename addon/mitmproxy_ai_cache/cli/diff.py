"""`ai-cache diff REV [DIR]`: what changed in the recordings, as a reviewer reads it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..cassettes import changes, file, names, parts
from ..cassettes.changes import Change
from ..cassettes.file import BrokenCassette
from ..configuration.settings import Settings, SettingsError
from ..entries.entry import Entry
from ..explain import Difference
from ..explain.shown import printable
from ..identity.identifier import Identifier
from ..stores import CASSETTES
from ..system import foreign_files
from . import cassettes, project
from .git import DISK, Changed, Contents, GitError, Repository
from .proxy import failed
from .sources import gather

SUMMARY = "show what changed in the recordings since a git revision, made for review"

_COLOURS = {"added": "32", "removed": "31", "changed": "33", "unreadable": "35", "+": "32", "-": "31", "@": "36"}
"""SGR parameters of ECMA-48."""
_PARTS_KEPT = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache diff [REV | REV1..REV2] [DIR] [--stat | --json]"
    parser.add_argument(
        "revision",
        nargs="?",
        default="HEAD",
        metavar="REV",
        help="what to compare the working tree with (default: HEAD); REV1..REV2 compares these two, REV1...REV2 what "
        "REV2 changed since both parted",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help=f"where the recordings are (default: as configured, else ./{cassettes.DIRECTORY})",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stat", action="store_true", help="one line a file")
    how.add_argument("--json", action="store_true", help="as one JSON document")
    project.add_options(parser)
    parser.set_defaults(store=None)


def main(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings.parse({name: found.value for name, found in _found(arguments).items()})
        directory = Path(cassettes.store(arguments.directory, arguments).removeprefix(CASSETTES)).expanduser()
        comparison = _Comparison.of(Repository.around(directory), arguments.revision)
        if not comparison.anything():
            raise GitError(f"there are no recordings at {printable(str(directory))}, neither now nor then")
        recordings, part_counts = comparison.run(settings)
        _print(recordings, part_counts, arguments)
        sys.stdout.flush()
    except (GitError, SettingsError) as error:
        return failed(error)
    except BrokenPipeError:  # somebody has read enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _found(arguments: argparse.Namespace) -> dict[str, Any]:
    return gather(arguments, os.environ, Path.cwd())


@dataclass(frozen=True, slots=True)
class Recording:
    """One file that is not what it was."""

    path: str
    """From the directory of recordings, with `/`."""
    status: str
    """`added`, `removed`, `changed`, `unreadable`."""
    name: str = ""
    """Protocol and model."""
    change: Change = field(default_factory=Change)
    problem: str = ""
    """Why it cannot be read, and on which side."""

    @property
    def scope(self) -> str:
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two states of a directory in git. `after` is None for the working tree."""

    repository: Repository
    before: str
    after: str | None

    @classmethod
    def of(cls, repository: Repository, revision: str) -> _Comparison:
        """`REV`, `REV1..REV2` or `REV1...REV2`; a side that is left out is HEAD, as git has it. Raises `GitError`."""
        for dots in ("...", ".."):
            one, separator, other = revision.partition(dots)
            if separator and not Path(revision).is_dir():  # `..` is a directory, too
                one, other = one or "HEAD", other or "HEAD"
                start = repository.fork(one, other) if dots == "..." else one
                return cls(repository, repository.tree(start), repository.tree(other))
        return cls(repository, repository.tree(revision), None)

    def anything(self) -> bool:
        """Whether one of the sides has the directory at all."""
        now = self.repository
        if self.after is None and (now.top / now.prefix).is_dir():
            return True
        return any(now.has(tree) for tree in (self.before, self.after) if tree)

    def run(self, settings: Settings) -> tuple[list[Recording], Counter[str]]:
        """The recordings by scope and file, and how many parts came and went."""
        identifier = Identifier(settings.identity)
        recordings: list[Recording] = []
        part_counts: Counter[str] = Counter()
        with self.repository.contents() as contents:
            reader = _Reader(self, contents)
            for changed in self.repository.changed(self.before, self.after):
                path = changed.path.removeprefix(self.repository.prefix)
                if path.startswith(f"{names.PARTS}/"):
                    part_counts[_status(changed)] += 1
                elif path.endswith(".json") and not any(word.startswith(".") for word in path.split("/")):
                    recordings.append(_recording(path, changed, reader, identifier))
        return sorted(recordings, key=lambda one: (one.scope, one.path)), part_counts


def _status(changed: Changed) -> str:
    return "added" if not changed.before else "removed" if not changed.after else "changed"


def _recording(path: str, changed: Changed, reader: _Reader, identifier: Identifier) -> Recording:
    sides: list[Entry | None] = []
    problems = []
    for content, side in ((changed.before, "before"), (changed.after, "now")):
        try:
            sides.append(reader.entry(changed.path, content) if content else None)
        except (BrokenCassette, GitError, OSError) as error:
            why = foreign_files.said(error)
            problems.append(why if not (changed.before and changed.after) else f"{side}: {why}")
    if problems:
        return Recording(path, "unreadable", problem=", ".join(problems))
    before, after = sides
    latest = after or before
    assert latest is not None
    name = " ".join(filter(None, (latest.protocol, latest.model)))
    if before is None or after is None:
        return Recording(path, _status(changed), name, changes.of_new(after) if after else Change())
    return Recording(path, "changed", name, changes.compare(before, after, identifier))


class _Reader:
    """Entries of cassettes on either side. A part's name is made of its content: it is the same on both."""

    def __init__(self, comparison: _Comparison, contents: Contents) -> None:
        self._comparison = comparison
        self._contents = contents
        self._part_ids: dict[str, str] | None = None
        self._part = lru_cache(_PARTS_KEPT)(self._read_part)

    def entry(self, path: str, content: str) -> Entry:
        """Raises `BrokenCassette`, `GitError`, OSError."""
        repository = self._comparison.repository
        data = foreign_files.read(repository.top / path) if content == DISK else self._contents.read(content)
        return file.decode(file.text_of(data), self._part).entry

    def _read_part(self, name: str) -> str:
        """Raises `BrokenPart`."""
        if not parts.is_name(name):
            raise parts.BrokenPart("it names a part as no part is named")
        repository = self._comparison.repository
        if self._part_ids is None:
            trees = (self._comparison.after, self._comparison.before)
            self._part_ids = {}
            for tree in filter(None, trees):
                self._part_ids |= repository.files(tree, names.PARTS)
        try:
            if name in self._part_ids:
                return parts.checked(name, self._contents.read(self._part_ids[name]))
            return parts.checked(name, foreign_files.read(repository.top / repository.prefix / names.PARTS / name))
        except OSError:
            raise parts.BrokenPart(f"{names.PARTS}/{name} is not there") from None


# What is printed


def _print(recordings: list[Recording], part_counts: Counter[str], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(_as_json(recordings, part_counts, arguments.revision))
        return
    paint = _paint if _wants_colours() else _plain
    scope = None
    width = max((len(one.path) for one in recordings), default=0)
    for one in recordings:
        if arguments.stat:
            print(f"{paint(one.status, f'{one.status:<10}')} {printable(one.path):<{width}}  {_stat(one)}".rstrip())
            continue
        if one.scope != scope:
            scope = one.scope
            print(printable(scope) or ".")
        name = printable(f"{one.path[len(scope) :].lstrip('/')}  {one.name}").rstrip()
        print(f"  {paint(one.status, f'{one.status:<10}')} {name}")
        for line in _details(one):
            print(f"    {paint(line[:1], printable(line))}".rstrip())
    print(_summary(recordings, part_counts))


def _details(one: Recording) -> Iterator[str]:
    if one.problem:
        yield f"  {one.problem}"
    if one.status != "changed":
        yield from one.change.answer
        return
    if one.change.other_request:
        yield "  request: another one altogether"
    for difference in one.change.request:
        yield f"  request {_sentence(difference)}"
    if one.change.uncounted:
        yield "  request differs only in what does not count for its key"
    for name, before, after in one.change.fields:
        yield f"  {name}: {before} -> {after}"
    if one.change.says_the_same and not one.change.uncounted:
        yield "  recorded anew; request and answer say the same"
    yield from one.change.answer


def _sentence(difference: Difference) -> str:
    """Unlike that of an explanation it speaks of before and after."""
    path, kind = difference.path, difference.kind
    if kind == "reordered":
        return f"{path}: the same {difference.sent} in another order"
    if kind == "changed":
        return f"{path}: {difference.recorded} -> {difference.sent}"
    return f"{path} {kind}: {difference.sent if kind == 'added' else difference.recorded}"


def _stat(one: Recording) -> str:
    change = one.change
    words = [one.problem]
    if change.other_request:
        words.append("another request")
    elif change.request:
        words.append(f"request {len(change.request)}")
    words += [f"{name} {before} -> {after}" for name, before, after in change.fields]
    if change.answer:
        words.append(f"answer +{change.added} -{change.removed}")
    if one.status == "changed" and change.says_the_same:
        words.append("says the same")
    return printable(", ".join(filter(None, words)))


def _summary(recordings: list[Recording], part_counts: Counter[str]) -> str:
    counts = Counter(one.status for one in recordings)
    said = [f"{counts[status]} {status}" for status in ("changed", "added", "removed", "unreadable") if counts[status]]
    same = sum(one.status == "changed" and one.change.says_the_same for one in recordings)
    line = f"recordings: {', '.join(said) or 'no changes'}"
    if same:
        line += f" ({same} of them say{'s' if same == 1 else ''} the same)"
    if part_counts:
        line += f"; parts: {', '.join(f'{count} {status}' for status, count in sorted(part_counts.items()))}"
    return line


def _as_json(recordings: list[Recording], part_counts: Counter[str], revision: str) -> str:
    files = [
        {
            "path": one.path,
            "scope": one.scope,
            "status": one.status,
            "call": one.name,
            "problem": one.problem,
            "request": [asdict(difference) for difference in one.change.request],
            "other_request": one.change.other_request,
            "fields": [{"name": name, "before": was, "after": now} for name, was, now in one.change.fields],
            "answer": list(one.change.answer),
            "says_the_same": one.status == "changed" and one.change.says_the_same,
        }
        for one in recordings
    ]
    return json.dumps({"revision": revision, "recordings": files, "parts": dict(part_counts)}, indent=2)


def _wants_colours() -> bool:
    """On a terminal, unless https://no-color.org says no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(kind: str, text: str) -> str:
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[m" if kind in _COLOURS else text


def _plain(kind: str, text: str) -> str:
    return text
