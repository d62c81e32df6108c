"""The files of settings that the user trusts, remembered in the user's own data directory.

One small file for each path and content. It names its own inode and time of change: a repository that is checked out
where the data directory is cannot bring one along.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

import platformdirs


def directory() -> Path:
    return Path(platformdirs.user_data_dir("ai-cache")) / "trusted"


def remembers(file: Path, digest: str) -> bool:
    """Whether the user trusts this content at this place."""
    note = _note(file, digest)
    with suppress(OSError, ValueError):
        return note.read_text("utf-8") == _content(file, digest, note.stat())
    return False


def remember(file: Path, digest: str) -> None:
    """Raises `OSError`."""
    note = _note(file, digest)
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = note.with_name(f".{secrets.token_hex(8)}.tmp")
    when = time.time_ns() // 1000 * 1000
    try:
        with open(partial, "x", encoding="utf-8", newline="\n") as written:
            written.write(_content(file, digest, os.fstat(written.fileno()), when))
        os.utime(partial, ns=(when, when))
        os.replace(partial, note)
    finally:
        partial.unlink(missing_ok=True)


def forget(file: Path) -> int:
    """How many contents of `file` were trusted."""
    count = 0
    for note in directory().glob("[0-9a-f]*"):
        with suppress(OSError, ValueError):
            if note.read_text("utf-8").splitlines()[:1] == [_place(file)]:
                note.unlink()
                count += 1
    return count


def _note(file: Path, digest: str) -> Path:
    return directory() / hashlib.sha256(f"{_place(file)}\n{digest}".encode()).hexdigest()


def _place(file: Path) -> str:
    """Its directory without links: another directory with the same file may have other recordings."""
    return str(file.parent.resolve() / file.name).encode("utf-8", "backslashreplace").decode()


def _content(file: Path, digest: str, stat: os.stat_result, changed: int | None = None) -> str:
    when = stat.st_mtime_ns // 1000 if changed is None else changed // 1000
    return f"{_place(file)}\n{digest}\n{stat.st_ino} {when}\n"
