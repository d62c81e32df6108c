"""The file of the SQLite store: made, migrated in place, and set aside where it cannot be used.

Whatever its state, the proxy starts and nothing is deleted.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from ...system.places import is_nowhere
from ..base import StoreError

logger = logging.getLogger("ai-cache")

VERSION = 2
"""`PRAGMA user_version`. Older files are migrated in place by `_MIGRATIONS`, newer ones are set aside."""

_APPLICATION_ID = 0x41494331
"""`PRAGMA application_id`: "AIC1". A file without it that has tables is somebody else's."""

_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        used REAL NOT NULL,
        expires REAL,
        size INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        model TEXT NOT NULL,
        url TEXT NOT NULL,
        namespace TEXT NOT NULL,
        issued TEXT,
        answer BLOB NOT NULL,
        request BLOB NOT NULL
    );
    CREATE INDEX entry_used ON entry (used);
    CREATE INDEX entry_expires ON entry (expires) WHERE expires IS NOT NULL;
    CREATE INDEX entry_issued ON entry (issued) WHERE issued IS NOT NULL;
    CREATE TABLE total (entries INTEGER NOT NULL, size INTEGER NOT NULL);
    INSERT INTO total VALUES (0, 0);
    CREATE TRIGGER entry_added AFTER INSERT ON entry
        BEGIN UPDATE total SET entries = entries + 1, size = size + new.size; END;
    CREATE TRIGGER entry_removed AFTER DELETE ON entry
        BEGIN UPDATE total SET entries = entries - 1, size = size - old.size; END;
    """,
    """
    CREATE TABLE search (id INTEGER PRIMARY KEY, run TEXT NOT NULL, signature BLOB NOT NULL);
    CREATE INDEX search_run ON search (run);
    CREATE TRIGGER search_added AFTER INSERT ON search
        BEGIN UPDATE total SET size = size + length(new.signature); END;
    CREATE TRIGGER search_removed AFTER DELETE ON search
        BEGIN UPDATE total SET size = size - length(old.signature); END;
    CREATE TRIGGER entry_search AFTER DELETE ON entry
        BEGIN DELETE FROM search WHERE id = old.id; END;
    """,
)
"""From version n to n+1. `expires` is `KEEP_EXPIRED` before the time until which an entry is kept. `total` makes the
size of a million entries known without counting them. `search` is apart from `entry`, for it is read in one go: its
rows are small."""

BUSY = 5.0
"""Seconds to wait for a lock of another process."""


Files = tuple[int, int, int]
"""Device and inode of the file, inode of the WAL beside it (0 for none)."""


def files_at(path: Path) -> Files | None:
    """What `path` leads to now. A connection goes on with the files it opened when others get their names."""
    try:
        file = os.stat(path)
    except OSError:
        return None
    try:
        return file.st_dev, file.st_ino, os.stat(f"{path}-wal").st_ino
    except OSError:
        return file.st_dev, file.st_ino, 0


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)


def open_or_set_aside(path: Path) -> sqlite3.Connection:
    """A connection for writes; it waits for locks. Raises `StoreError`, `OSError` and `sqlite3.Error`.

    A damaged file, or one from a newer version, is set aside and a fresh one begun.
    """
    if is_nowhere(path):
        raise StoreError(f"{path}: there is no home directory; set HOME, or name a store (ai_cache_store)")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(2):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        files = files_at(path)
        connection = connect(path)
        try:
            reason = _make_ready(connection)
            if not reason:
                return connection
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError) and not is_damage(error):
                raise
            reason = f"it is damaged ({error})"
        connection.close()
        if reason == _FOREIGN:
            raise StoreError(f"{path} is {_FOREIGN}; name another file in ai_cache_store")
        set_aside(path, reason, files)
    raise sqlite3.OperationalError("a fresh file could not be opened either")


def open_for_look_ups(path: Path) -> sqlite3.Connection:
    """A connection beside the one for writes: it waits for nobody. Raises `sqlite3.Error`."""
    connection = connect(path)
    try:
        # The last connection to close writes the WAL into the file, which takes its time: never this one.
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.execute("SELECT entries, size FROM total").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_as_it_is(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, not even the time of the file. Raises `StoreError` and `sqlite3.Error`."""
    if not path.exists():
        raise StoreError(f"nothing is stored at {path} yet")
    # Without a WAL beside it nobody writes to it now; and SQLite would leave files of its own there.
    options = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not _is_ours(connection):
            raise StoreError(f"{path} is {_FOREIGN}; name another file in ai_cache_store")
        if not 1 <= version <= VERSION:  # before 2 nothing was signed, which is read as it is
            raise StoreError(f"{path} has format {version}, this version reads {VERSION}; open it in mode cache once")
        connection.execute("SELECT entries, size FROM total").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


_FOREIGN = "a database of another program"


def _make_ready(connection: sqlite3.Connection) -> str:
    """Migrate the file; or why it cannot be used."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not _is_ours(connection):
        return _FOREIGN
    if version > VERSION:
        return f"it was written by a newer version (format {version}, this one knows {VERSION})"
    use_wal(connection)
    if version < VERSION:
        _migrate(connection)
    connection.execute("SELECT entries, size FROM total").fetchone()
    return ""


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to `VERSION`, each step in a transaction; two proxies may start at once."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version >= VERSION:
            connection.execute("COMMIT")
            return
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        for statement in _statements(_MIGRATIONS[version]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")


def set_aside(path: Path, reason: str, files: Files | None) -> None:
    """Rename the file and its companions, unless another process has put new ones there. Nothing is deleted."""
    now = files_at(path)
    if now is None or (files is not None and now[:2] != files[:2]):
        return
    name = _rename(path, ("", "-wal", "-shm", "-journal"))
    logger.warning("ai-cache: %s was set aside as %s: %s", path, name, reason)


def part_from(path: Path, files: Files) -> None:
    """Where another file has taken the name, the WAL of the one that was there must not be taken for its own."""
    now = files_at(path)
    if now is not None and now[:2] != files[:2] and now[2] == files[2] != 0:
        _rename(path, ("-wal", "-shm"))


def _rename(path: Path, suffixes: tuple[str, ...]) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.{stamp}.aside")
    number = 1
    while any(Path(f"{aside}{suffix}").exists() for suffix in suffixes):
        number += 1
        aside = path.with_name(f"{path.name}.{stamp}-{number}.aside")
    for suffix in suffixes:
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside.name


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file is a store, or still empty."""
    if connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID:
        return True
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0


def use_wal(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Readers that do not wait for writers. Switching to WAL does not wait for others that do the same: several
    proxies may start at once."""
    deadline = time.monotonic() + BUSY
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if kind_of(error) != "locked" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("the file system cannot keep a write-ahead log")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


_KINDS = {
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_CORRUPT: "damaged",
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def kind_of(error: Exception) -> str:
    """A word for what went wrong: `disk-full`, `locked`, `damaged`, or `disk` for all else."""
    if isinstance(error, OSError):
        return "disk-full" if error.errno in _NO_ROOM else "disk"
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return "disk-full"
    if "no such table" in str(error) or "no such column" in str(error):
        return "damaged"
    return _KINDS.get(code & 0xFF, "disk")  # the low byte is the kind, the rest says where


def is_damage(error: Exception) -> bool:
    """Whether the file's content is at fault, not a lock, the disk or permissions."""
    return kind_of(error) == "damaged"


def _statements(script: str) -> list[str]:
    """The statements of a script, triggers in one piece."""
    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
