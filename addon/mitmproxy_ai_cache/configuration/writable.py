"""Whether a store can be written, asked before anything is bought whose answer could not be kept."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ..stores import CASSETTES, StoreError
from ..system.places import is_nowhere
from .settings import Settings

logger = logging.getLogger("ai-cache")

_SQLITE = "sqlite:///"

_PROBE = bytes(65536)
"""What a disk must have room for. Permissions alone say nothing: root has all of them on a read-only disk, too."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something cannot be written."""

    path: Path
    reason: str

    @classmethod
    def of(cls, path: Path, error: OSError) -> Trouble:
        return cls(path, error.strerror or str(error))

    def __str__(self) -> str:
        return f"{self.path} cannot be written ({self.reason})"


def trouble(settings: Settings) -> Trouble | None:
    """Why the store of `settings` cannot be written, if it is to be. Of a Redis it is known when it is opened."""
    path = Path(settings.store.removeprefix(CASSETTES).removeprefix(_SQLITE))
    path = Path(os.path.expanduser(path))
    if is_nowhere(path):
        return Trouble(path, "there is no home directory")
    if not settings.stores:
        return None
    if settings.store.startswith(CASSETTES):
        return _of_folder(path, path)
    return _of_file(path) if settings.store.startswith(_SQLITE) else None


def settled(settings: Settings) -> Settings:
    """`settings` with a store that can be written: memory in place of the default one, of which it warns.

    Raises `StoreError` where a recording has named another one: what it buys would be lost.
    """
    found = trouble(settings)
    if found and settings.store_named and settings.records:
        raise StoreError(refused(found))
    if found is None or settings.store_named:
        return settings  # the store itself says what it cannot do
    logger.warning("ai-cache: %s", in_memory(found))
    return replace(settings, store="memory:")


def in_memory(found: Trouble) -> str:
    """The warning where nobody named the store."""
    return (
        f"{found}: answers are kept in memory, for this run only; name a store that can be written with ai_cache_store"
    )


def refused(found: Trouble) -> str:
    """The error where answers would be bought to be kept."""
    return f"no recordings can be made at {found.path}: {found.reason}"


def _of_file(file: Path) -> Trouble | None:
    if not file.exists():
        return _of_folder(file.parent, file)
    try:
        os.close(os.open(file, os.O_RDWR))
    except OSError as error:
        return Trouble.of(file, error)
    # SQLite has files beside its own. A full disk is the store's own trouble, which may pass while it runs.
    return None if os.access(file.parent, os.W_OK) else Trouble(file, os.strerror(errno.EACCES))


def _of_folder(folder: Path, named: Path) -> Trouble | None:
    try:
        folder.mkdir(mode=0o777 if folder == named else 0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
    except OSError as error:
        return Trouble.of(named, error)
    return None
