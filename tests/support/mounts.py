"""Commands in a mount namespace of their own: disks that are full or cannot be written, also for root."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

_UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


@functools.cache
def _works() -> bool:
    if not shutil.which("unshare"):
        return False
    probe = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def with_mounts(mounts: str, *command: str) -> list[str]:
    """`command` after the shell commands `mounts`, which only it sees. Skips the test where that is not allowed."""
    if not _works():
        pytest.skip("needs mounts in a namespace of its own")
    return [*_UNSHARE, "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *command]


def read_only(folder: Path) -> str:
    """A mount after which nothing in `folder` can be written."""
    name = shlex.quote(str(folder))
    return f"mount --bind {name} {name} && mount -o remount,bind,ro {name}"


def full(folder: Path, left: int) -> str:
    """A mount of 1 MB on `folder` of which only `left` bytes are free."""
    name = shlex.quote(str(folder))
    return f"mount -t tmpfs -o size=1m tmpfs {name}\nhead -c {(1 << 20) - left} /dev/zero >{name}/ballast"
