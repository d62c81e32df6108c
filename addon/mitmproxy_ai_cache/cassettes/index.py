"""The index of a directory of cassettes: what each file answers, so that they need not all be read at every start.

It is never in git and may be lost at any time. A row counts while size and time of change of its file are the same, or
else its content is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import orjson

_VERSION = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_SETTLED = 2_000_000_000
"""Nanoseconds. A file that was changed later than this before the index was written may change again within the same
tick of the file system's clock: its time says nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file. `changed` in nanoseconds, 0 where it says nothing."""

    size: int
    changed: int
    digest: str
    key: str
    """With `-n` for the n-th answer."""
    created: float
    """Unix time, in seconds."""
    namespace: str
    issued: str
    parts: tuple[str, ...]

    def is_of(self, size: int, changed: int) -> bool:
        return self.size == size and self.changed == changed


def digest_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def encode(rows: Mapping[str, Row], rules: str, now: int) -> bytes:
    """The file. `now` in nanoseconds; `rules` changes whenever the keys may."""
    lines = {
        path: astuple(row if row.changed < now - _SETTLED else replace(row, changed=0))
        for path, row in rows.items()
        if not _SURROGATE.search(path)  # a name that is no UTF-8 has no place in JSON
    }
    return orjson.dumps({"version": _VERSION, "rules": rules, "rows": lines})


def decode(data: bytes, rules: str) -> dict[str, Row]:
    """The rows by path; none where the file is of other rules or broken."""
    try:
        index = orjson.loads(data)
        if index["version"] != _VERSION or index["rules"] != rules:
            return {}
        return {path: _row(line) for path, line in index["rows"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _row(line: list[object]) -> Row:
    match line:
        case [int(size), int(changed), str(digest), str(key), float(created), str(namespace), str(issued), [*parts]]:
            return Row(size, changed, digest, key, created, namespace, issued, tuple(map(str, parts)))
    raise ValueError("no row")
