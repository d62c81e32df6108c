"""Bundles of root certificates under the hash of their content: each run keeps its own, whatever others write.

One that was not used for a week is removed, unless a process still holds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .authority import clear_leftovers, write_whole

if sys.platform != "win32":
    import fcntl

FOLDER = "bundles"

UNUSED = 7 * 86400.0
"""Seconds after its last use in which a bundle stays: a command may outlive its run."""

_TOUCH_EVERY = 3600.0


def write(confdir: Path, content: bytes) -> Path:
    """The bundle of this content, which counts as used now. Raises `OSError`."""
    folder = confdir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    bundle = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.pem"
    for _ in range(3):  # it may be removed at this moment, for it was not used
        with suppress(FileNotFoundError):
            if bundle.stat().st_size != len(content):  # somebody has edited it
                break
            os.utime(bundle)
            return bundle
    write_whole(bundle, content, 0o644)
    return bundle


@contextmanager
def held(written: Callable[[], Path]) -> Iterator[Path]:
    """A bundle that nobody removes meanwhile. `written` writes it and says where."""
    bundle, file = _hold(written)
    with file:
        yield bundle


def _hold(written: Callable[[], Path]) -> tuple[Path, IO[bytes]]:
    while True:
        bundle = written()
        with suppress(FileNotFoundError):  # it was removed after all: write it again
            file = open(bundle, "rb")  # noqa: SIM115 the caller closes it
            if _lock(file, shared=True) and os.path.samestat(os.fstat(file.fileno()), os.stat(bundle)):
                return bundle, file
            file.close()


async def keep_used(bundle: Path) -> None:
    """Until it is cancelled: a run may take longer than a bundle is kept. Makes one that was lost again."""
    content = await asyncio.to_thread(bundle.read_bytes)
    while True:
        await asyncio.sleep(_TOUCH_EVERY)
        with suppress(OSError):
            write(bundle.parent.parent, content)


def remove_unused(confdir: Path) -> None:
    """Bundles, and the Java stores beside them, that were not used for a week."""
    clear_leftovers(confdir)
    clear_leftovers(confdir / FOLDER)
    with suppress(OSError):
        names = {file.name.partition(".")[0] for file in (confdir / FOLDER).iterdir()} - {""}
        for name in names:
            with suppress(OSError):
                _remove_unused(confdir / FOLDER / f"{name}.pem")


def _remove_unused(bundle: Path) -> None:
    if not _is_old(bundle):
        return
    if not bundle.exists():
        _unlink(bundle)
        return
    with open(bundle, "rb") as file:
        if _lock(file, shared=False) and _is_old(bundle):
            _unlink(bundle)


def _is_old(bundle: Path) -> bool:
    oldest = time.time() - UNUSED
    return all(file.stat().st_mtime < oldest for file in bundle.parent.glob(f"{bundle.stem}.*"))


def _unlink(bundle: Path) -> None:
    for file in bundle.parent.glob(f"{bundle.stem}.*"):
        file.unlink(missing_ok=True)


def _lock(file: IO[bytes], shared: bool) -> bool:
    """Whether it was free. Where there are no locks, the time of the last use has to do."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True
