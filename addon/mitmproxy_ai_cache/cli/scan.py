"""`ai-cache scan PATH...`, `ai-cache scan --store URL`: secrets in what is about to be committed, or in a store."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import store_of
from ..entries.entry import Entry, short_key
from ..redact import Finding, Pattern, parse_pattern, redact, redact_fields, redact_url
from ..stores import StoreError
from ..wire.safe_text import one_line
from .proxy import failed

SUMMARY = "look for keys, tokens and passwords in files or in a store; exit code 1 where there are any"

_SKIPPED = frozenset(".git .hg .svn .venv node_modules __pycache__ .mypy_cache .ruff_cache .pytest_cache".split())
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Found:
    """One secret. `line` is 0 for an entry of a store, whose `file` is its key and the part of it."""

    file: str
    line: int
    kind: str
    shown: str
    signed: bool

    def __str__(self) -> str:
        where = f"{one_line(self.file, 400)}:{self.line}" if self.line else one_line(self.file, 400)
        note = "  (in a signed field, which is never altered)" if self.signed else ""
        return f"{where}: {self.kind}  {self.shown}{note}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="*", type=Path, metavar="PATH", help="a file, or a directory with all below it")
    parser.add_argument("--store", metavar="URL", help="look into the entries of this store instead")
    parser.add_argument(
        "--redact", action="append", default=[], metavar="NAME=REGEX", help="one more kind of secret; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def main(arguments: argparse.Namespace) -> int:
    if bool(arguments.path) == bool(arguments.store):
        return failed(ValueError("scan looks at files or at a store; write ai-cache scan PATH... or --store URL"))
    try:
        extra = tuple(parse_pattern(text) for text in arguments.redact)
    except ValueError as error:
        return failed(ValueError(str(error).replace("ai_cache_redact has", "--redact is", 1)))
    if arguments.store:
        try:
            return asyncio.run(_scan_store(arguments.store, extra, arguments.json))
        except (SettingsError, StoreError) as error:
            return failed(error)
    for path in arguments.path:
        if not path.exists():
            return failed(FileNotFoundError(f"there is no {one_line(str(path), 400)}"))
    return _scan_files(arguments.path, extra, arguments.json)


def _scan_files(paths: list[Path], extra: tuple[Pattern, ...], as_json: bool) -> int:
    verdict = files = 0
    for path in _files(paths):
        data = path.read_bytes()
        if data.startswith(_SQLITE):
            _say(f"{one_line(str(path), 400)} is a database; look into it with --store sqlite:///{path}")
            continue
        files += 1
        for finding in sorted(redact(data, extra).findings, key=lambda one: one.start):
            line = data.count(b"\n", 0, finding.start) + 1
            verdict |= _show(Found(str(path), line, finding.kind, finding.shown, not finding.changed), as_json)
    if not verdict:
        _say(f"no secrets in {files} file{'s' if files != 1 else ''}")
    return verdict


def _files(paths: list[Path]) -> Iterator[Path]:
    """The files below `paths` in a fixed order. Links below a directory are not followed."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in path.walk():
            below[:] = sorted(set(below) - _SKIPPED)
            yield from (folder / name for name in sorted(names) if _is_plain_file(folder / name))


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


async def _scan_store(url: str, extra: tuple[Pattern, ...], as_json: bool) -> int:
    settings = Settings.parse({"ai_cache_store": url})
    store = store_of(settings, writable=False)
    verdict = count = 0
    await store.open()
    try:
        async for entry in _entries(store.entries()):
            count += 1
            for part, finding in _of_entry(entry, extra):
                shown = Found(f"{short_key(entry.key)} {part}", 0, finding.kind, finding.shown, not finding.changed)
                verdict |= _show(shown, as_json)
    finally:
        await store.close()
    if not verdict:
        _say(f"no secrets in {count} entr{'ies' if count != 1 else 'y'}")
    return verdict


async def _entries(entries: AsyncIterator[Entry]) -> AsyncIterator[Entry]:
    """Each entry once."""
    seen: set[tuple[str, str]] = set()
    async for entry in entries:
        if (entry.namespace, entry.key) not in seen:
            seen.add((entry.namespace, entry.key))
            yield entry


def _of_entry(entry: Entry, extra: tuple[Pattern, ...]) -> Iterator[tuple[str, Finding]]:
    parts = {
        "url": redact_url(entry.url, extra).findings,
        "request headers": redact_fields(entry.request_headers, extra)[1],
        "request body": redact(entry.request, extra).findings,
        "answer headers": redact_fields(entry.headers, extra)[1],
        "answer body": redact(entry.body, extra).findings,
    }
    for part, findings in parts.items():
        for finding in findings:
            yield part, finding


def _show(found: Found, as_json: bool) -> int:
    """Prints it. What stands in a signed field nobody can mend: it is said and does not count."""
    print(orjson.dumps(asdict(found)).decode() if as_json else found)
    return 0 if found.signed else 1


def _say(line: str) -> None:
    print(f"ai-cache: {line}", file=sys.stderr)
