"""Which cassette answers which key, and what becomes of the files of a run.

One thread does all of it; others may look at `rows`, `paths`, `used` and `problems`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...cassettes import file, index, json_text, names, parts, similar
from ...cassettes.file import BrokenCassette, Cassette
from ...cassettes.index import Row
from ...cassettes.leaks import Compose, compose
from ...entries.entry import Entry
from ...redact import Pattern
from ...system import foreign_files
from ...system.places import cache_directory, is_nowhere
from ...wire.safe_text import one_line
from ..capabilities import Settled
from .directory import NO_FILE, CassetteDirectory

logger = logging.getLogger("ai-cache")

_LIKE = 0.5
"""How alike two requests must be for one to take the other's place, unless a test has ended and named its scope: a run
that asked for a part only must not lose the rest."""
_CLAIMED = 60_000_000_000
"""Nanoseconds. A file that is empty for longer was left by a process that died."""


class CassetteIndex:
    """The files of a directory by key, and what this run has read and written of them."""

    def __init__(self, root: Path, key_of: Callable[[Entry], str], rules: str, writable: bool) -> None:
        self.directory = CassetteDirectory(root)
        self.compose: Compose = compose
        """Writes the text of an entry; a long one is better written elsewhere."""
        self.rows: dict[str, Row] = {}
        self.paths: dict[str, tuple[str, ...]] = {}
        """The files of a key; the newest answers."""
        self.problems: dict[str, str] = {}
        self.used: set[str] = set()
        """Answered from or written in this run."""
        self._key_of = key_of
        self._rules = f"{file.VERSION} {rules}"
        self._writable = writable
        self._before: dict[str, str] = {}
        """What was there when the run began: digests by path."""
        self._made: set[str] = set()
        """New files of this run that have no settled name yet."""
        self._begun_anew: set[str] = set()
        self._loose: set[str] = set()
        """Parts that may be in use no more."""
        self._taken: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._indexed: dict[str, Row] = {}

    # Reading

    def load(self) -> None:
        if self._writable:
            self.directory.note_used()
        self._indexed = index.decode(self.directory.read_index(self._index_elsewhere()), self._rules)
        self.rescan()
        self._before = {path: row.digest for path, row in self.rows.items()}
        if self.rows.keys() != self._indexed.keys() or any(row is not self._indexed[p] for p, row in self.rows.items()):
            self.write_index()
        self._indexed = {}

    def rescan(self) -> None:
        """Take in what is new or changed, let go what is no more there."""
        found = self.directory.scan()
        for path in [path for path in self.rows if path not in found]:
            self._forget(path)
        for path in [path for path in self.problems if path not in found]:
            del self.problems[path]
        for path, stat in found.items():
            row = self.rows.get(path)
            if row is None or not row.is_of(*stat):
                self.take_in(path, stat)

    def take_in(self, path: str, stat: tuple[int, int]) -> None:
        """Read one file, or believe the index about it."""
        row = self._indexed.get(path)
        if row is not None and row.is_of(*stat):
            self._place(path, row)
            return
        if self._writable and stat[0] == 0 and time.time_ns() - stat[1] < _CLAIMED:
            return  # another process is about to write it
        try:
            if stat[0] == NO_FILE:
                raise BrokenCassette(self.directory.why_no_file(path))
            data = self.directory.read(path)
            digest = index.digest_of(data)
            known = next((row for row in (row, self.rows.get(path)) if row and row.digest == digest), None)
            if known is not None:
                self._place(path, replace(known, size=len(data), changed=stat[1]))
                return
            self._place(path, self._row(data, digest, stat[1]))
            self.problems.pop(path, None)
        except (BrokenCassette, OSError) as error:
            self._forget(path)
            self._complain(path, foreign_files.said(error))

    def _row(self, data: bytes, digest: str, changed: int) -> Row:
        cassette = self._decoded(data, response=False)
        entry = cassette.entry
        try:
            base = self._key_of(entry)
        except Exception as error:
            raise BrokenCassette(f"its key cannot be computed ({type(error).__name__}: {error})") from error
        key = base if cassette.sequence == 1 else f"{base}-{cassette.sequence}"
        named = tuple(sorted(cassette.parts))
        return Row(len(data), changed, digest, key, entry.created, entry.namespace, entry.issued, named)

    def _decoded(self, data: bytes, *, request: bool = True, response: bool = True) -> Cassette:
        return file.decode(file.text_of(data), self.directory.part, request=request, response=response)

    def entry(self, path: str, *, request: bool) -> Entry | None:
        """What `path` says, None where it is not what its row is of. Raises OSError, `BrokenCassette`."""
        row = self.rows.get(path)
        data = self.directory.read(path)
        if row is None or row.digest != index.digest_of(data):
            return None
        return replace(self._decoded(data, request=request).entry, key=row.key)

    def _complain(self, path: str, why: str) -> None:
        if self.problems.get(path) != why:
            self.problems[path] = why
            shown = one_line(str(self.directory.root / path), 300)
            logger.warning("ai-cache: cassette %s is left out: %s", shown, one_line(why, 300))

    def reread(self, path: str) -> None:
        """`path` is not what its row is of."""
        try:
            stat = self.directory.stat(path)
        except OSError:
            self._forget(path)
            return
        if row := self.rows.get(path):
            self.rows[path] = replace(row, digest="")
        self.take_in(path, stat)

    def broken(self, path: str, error: Exception) -> None:
        self._forget(path)
        self._complain(path, foreign_files.said(error))

    # The tables

    def _place(self, path: str, row: Row) -> None:
        self._forget(path)
        self.rows[path] = row
        paths = (*self.paths.get(row.key, ()), path)
        self.paths[row.key] = tuple(sorted(paths, key=lambda path: (-self.rows[path].created, path)))
        scope, _, name = path.rpartition("/")
        stem, number = names.split(name)
        self._taken[scope, stem].add(number)

    def _forget(self, path: str) -> None:
        row = self.rows.pop(path, None)
        if row is None:
            return
        self._loose.update(row.parts)
        rest = tuple(other for other in self.paths.get(row.key, ()) if other != path)
        if rest:
            self.paths[row.key] = rest
        else:
            self.paths.pop(row.key, None)
        scope, _, name = path.rpartition("/")
        stem, number = names.split(name)
        self._taken[scope, stem].discard(number)

    # Writing

    def put(self, entry: Entry, patterns: tuple[Pattern, ...] = ()) -> None:
        """Write `entry`: over the file that has its key, or under the next free number. `patterns` find secrets that
        are no one else's.

        Raises OSError, `NotWritable`, `HoldsSecret`.
        """
        text, contents = self.compose(entry, patterns)
        there = self.paths.get(entry.key)
        claimed = not there
        if there:
            path = there[0]
            if file.sequence_of(entry.key) == 1:
                self._begun_anew.add(entry.key)
        else:
            path = self._claimed(names.scope_of(entry.namespace), names.stem_of(entry))
            self._made.add(path)
        try:
            for name, content in contents.items():
                self.directory.write_part(name, content)
            self.directory.write(path, text)
        except OSError:
            if claimed:
                self.directory.remove(path)
            raise
        for name, content in contents.items():
            self.directory.write_part(name, content)  # another process may have cleared it away meanwhile
        self._written(path, entry, text)
        self.use(path)

    def _written(self, path: str, entry: Entry, text: str) -> None:
        data = text.encode()
        size, changed = self.directory.stat(path)
        named = tuple(sorted(parts.named(text)))
        created = float(int(entry.created))
        digest = index.digest_of(data)
        row = Row(len(data), changed, digest, entry.key, created, entry.namespace, entry.issued, named)
        self.problems.pop(path, None)
        self._place(path, row if size == len(data) else replace(row, changed=0))

    def _claimed(self, scope: str, stem: str) -> str:
        taken = self._taken[scope, stem]
        number = 1
        while number in taken or (path := self.directory.claim(scope, stem, number)) is None:
            taken.add(number)
            number += 1
        return path

    def use(self, path: str) -> None:
        if path not in self.used:
            self.used.add(path)
            if self._writable:
                with suppress(OSError):
                    self.directory.note_used(path)

    def remove(self, paths: Iterable[str]) -> None:
        """Raises OSError."""
        for path in paths:
            self.directory.remove(path)
            self._forget(path)
            self._made.discard(path)

    # Settling

    def settle(self, namespace: str | None, drop: bool) -> Settled:
        """Give the new files of `namespace` (None: of all) the names of the old ones they replace. Raises OSError."""
        self.rescan()
        result = Settled()
        others = set(self.directory.used_by_others())
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for path, row in self.rows.items():
            if namespace is None or row.namespace == namespace:
                scope, _, name = path.rpartition("/")
                groups[row.namespace, scope, names.split(name)[0]].append(path)
        asked = {self.rows[path].namespace for path in self.used if path in self.rows}
        for (within, scope, stem), group in groups.items():
            if within in asked:
                self._settle_group(within, scope, stem, group, others, drop, 0.0 if namespace else _LIKE, result)
        for path in self.used & self._before.keys() & self.rows.keys():
            if self._before[path] != self.rows[path].digest and path not in result.modified:
                result.modified.append(path)
        self.clear_parts()
        return result

    def _settle_group(
        self,
        namespace: str,
        scope: str,
        stem: str,
        group: list[str],
        others: set[str],
        drop: bool,
        alike: float,
        result: Settled,
    ) -> None:
        made = [path for path in group if path in self._made]
        old = [path for path in group if path not in others and self._is_unused(path)]
        for one, other in similar.pairs(self._recordings(made), self._recordings(old), alike):
            self._move(one.path, other.path)
            made.remove(one.path)
            old.remove(other.path)
            result.modified.append(other.path)
        gone = [path for path in old if (drop and namespace) or self._is_outdated(path)]
        self.remove(gone)
        result.removed += gone
        for path in sorted(made, key=_number):
            result.added.append(self._renumbered(path, scope, stem))
        self._made.difference_update(made)

    def _is_unused(self, path: str) -> bool:
        """Whether it was there before, as it is, and nobody asked for it in this run."""
        return path not in self.used and self._before.get(path) == self.rows[path].digest

    def _is_outdated(self, path: str) -> bool:
        """A later answer of a sequence that was begun anew, or one of two files of a key."""
        key = self.rows[path].key
        base = key.partition("-")[0]
        return (key != base and base in self._begun_anew) or self.paths[key][0] != path

    def _recordings(self, paths: Iterable[str]) -> list[similar.Recording]:
        recordings = []
        for path in paths:
            body = None
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                body = json_text.loads_own(self.directory.read(path).decode())["request"].get("body")
            sequence = file.sequence_of(self.rows[path].key)
            recordings.append(similar.Recording.of(path, _number(path), sequence, body))
        return recordings

    def _renumbered(self, path: str, scope: str, stem: str) -> str:
        """At the lowest free number, where that is lower."""
        for number in range(1, _number(path)):
            if number in self._taken[scope, stem]:
                continue
            if target := self.directory.claim(scope, stem, number):
                self._move(path, target)
                return target
        return path

    def _move(self, path: str, target: str) -> None:
        row = self.rows[path]
        self.directory.move(path, target)
        self._forget(path)
        self._forget(target)
        _, changed = self.directory.stat(target)
        self._place(target, replace(row, changed=changed))
        self._made.discard(path)
        self.used.discard(path)
        self.use(target)

    def clear_parts(self) -> None:
        """Remove the parts that nothing names any more. Another process may name one in this very moment."""
        doomed = self._loose - self._parts_in_use()
        while doomed:
            contents = {}
            for name in doomed:
                with suppress(parts.BrokenPart):
                    contents[name] = self.directory.part(name)
                    self.directory.remove(f"{names.PARTS}/{name}")
            self.rescan()
            needed = self._parts_in_use()
            for name in contents.keys() & needed:
                self.directory.write_part(name, contents[name])
            below = {name for content in contents.values() for name in parts.named(content)}
            doomed = below - needed - contents.keys()
        self._loose.clear()

    def _parts_in_use(self) -> set[str]:
        """All that files and parts name; also files that cannot be read now: a merge that is not done needs them."""
        used: set[str] = set()
        waiting = {name for row in self.rows.values() for name in row.parts}
        for path in self.problems:
            with suppress(OSError):
                waiting |= parts.named(self.directory.read(path).decode(errors="replace"))
        while waiting:
            used |= waiting
            below: set[str] = set()
            for name in waiting:
                if name.endswith(".json"):
                    with suppress(parts.BrokenPart):
                        below |= parts.named(self.directory.part(name))
            waiting = below - used
        return used

    # The index

    def write_index(self) -> None:
        with suppress(OSError):
            elsewhere = None if self._writable else self._index_elsewhere()
            if self.rows and not (elsewhere and is_nowhere(elsewhere)):
                self.directory.write_index(index.encode(self.rows, self._rules, time.time_ns()), elsewhere)

    def _index_elsewhere(self) -> Path:
        """Where a directory that may not be changed has its index."""
        name = hashlib.blake2b(str(self.directory.root.resolve()).encode("utf-8", "surrogateescape"), digest_size=8)
        return cache_directory() / "cassettes" / f"{name.hexdigest()}.json"


def _number(path: str) -> int:
    return names.split(path.rpartition("/")[2])[1]
