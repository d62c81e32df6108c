"""Files that others wrote: read so that none hangs us or fills the memory, and told what is wrong with them.

Every line says what to do.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from ..wire import units

LARGEST = 512 << 20
"""Bytes of a file that is read at once. The longest bodies that are kept by default have 10 MiB."""

AGAIN = "restore it from git, or record it again"

_KINDS = {
    stat.S_IFIFO: "is a pipe, not a file; write what it gives to a file and name that",
    stat.S_IFSOCK: "is a socket, not a file; name a file",
    stat.S_IFCHR: "is a device, not a file; name a file",
    stat.S_IFBLK: "is a device, not a file; name a file",
    stat.S_IFDIR: "is a directory, not a file; name a file",
}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

_CONFLICT = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)
_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "it is a Git LFS pointer, not the recording; run: git lfs pull"),
    (b"version http://git-media.io/v/", "it is a Git LFS pointer, not the recording; run: git lfs pull"),
    (b"version https://hawser.github.com/spec/", "it is a Git LFS pointer, not the recording; run: git lfs pull"),
    (b"/annex/objects/", "it is a git-annex pointer, not the recording; run: git annex get"),
    (b"\0GITCRYPT\0", "it is encrypted; run: git-crypt unlock"),
    (b"\x1f\x8b", "it is compressed; unpack it with gunzip"),
    (b"\x28\xb5\x2f\xfd", "it is compressed; unpack it with unzstd"),
    (b"\xfd7zXZ", "it is compressed; unpack it with unxz"),
    (b"BZh", "it is compressed; unpack it with bunzip2"),
    (b"PK\x03\x04", "it is a zip archive; unpack it with unzip"),
    (b"\xff\xfe\0\0", "it is UTF-32; save it as UTF-8"),
    (b"\0\0\xfe\xff", "it is UTF-32; save it as UTF-8"),
    (b"\xff\xfe", "it is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16; save it as UTF-8"),
)


class NotAFile(OSError):
    """What is there is not read. The message is a line that says what it is and what to do."""


def opened(path: Path) -> BinaryIO:
    """The file, open to be read. Raises `NotAFile` for what is none, before it is opened: a pipe would wait for its
    writer, and a device may do anything. Raises OSError."""
    try:
        _refuse(os.stat(path).st_mode)
        number = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile("is a symbolic link that leads back to itself; remove it") from None
        raise
    try:
        _refuse(os.fstat(number).st_mode)  # it may be another one by now
        return os.fdopen(number, "rb")
    except OSError:
        os.close(number)
        raise


def _refuse(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFile(_KINDS.get(stat.S_IFMT(mode), "is not a file; name a file"))


def read(path: Path, largest: int = LARGEST) -> bytes:
    """All of the file, at most `largest` bytes. Raises `NotAFile`, OSError."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > largest else file.read(largest + 1)
    if size > largest or len(data) > largest:
        raise NotAFile(f"is longer than the {units.human_size(largest)} that are read of a file; split it")
    return data


def said(error: Exception) -> str:
    """What `error` says of a file, without its name."""
    if isinstance(error, NotAFile):
        return f"it {error}"
    if isinstance(error, PermissionError):
        return "it may not be read; make it readable: chmod u+r"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def problem(data: bytes) -> str:
    """What makes this no recording, with the mend; empty where it is nothing of the kind."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    for beginning, why in _BEGINNINGS:
        if data.startswith(beginning):
            return why
    if not data.strip():
        return f"it is empty; {AGAIN}"
    if not data[:4096].strip(b"\0"):
        return f"it begins with NUL bytes, as after a crash of the machine; {AGAIN}"
    return conflict(data)


def conflict(data: bytes) -> str:
    """Where git could not merge two versions of a file; empty where there is nothing of it."""
    found = _CONFLICT.search(data)
    if found is None:
        return ""
    line = data.count(b"\n", 0, found.start()) + 1
    return f"it has the marks of a merge conflict (line {line}); resolve the conflict"
