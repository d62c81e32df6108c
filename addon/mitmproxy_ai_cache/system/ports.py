"""Who has a port that is taken."""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


def is_taken(host: str, port: int) -> bool:
    """Whether nobody can listen there, for somebody does. Port 0 is always free."""
    return port != 0 and any(_is_taken(family, address) for family, address in _addresses(host, port))


def holder(host: str, port: int) -> tuple[str, int]:
    """Who listens there, as `NAME (pid N)`, and the pid. Empty and 0 where nobody says so."""
    if sys.platform == "linux":
        return _by_proc(host, port)
    return _by_lsof(port) if shutil.which("lsof") else ("", 0)


def taken(host: str, port: int) -> str:
    """`port N is in use by NAME (pid N)`."""
    name, _ = holder(host, port)
    return f"port {port} is in use" + (f" by {name}" if name else "")


def _addresses(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    except OSError:
        return []
    return [(family, (str(address[0]), port)) for family, _, _, _, address in found]


def _is_taken(family: int, address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.socket(family) as listener:
        if os.name == "posix":  # as asyncio does; elsewhere it means another thing
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _by_proc(host: str, port: int) -> tuple[str, int]:
    wanted = {address for _, (address, _) in _addresses(host, port)}
    inodes = {inode: user for address, inode, user in _listeners(port) if _meet(address, wanted)}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in {f"socket:[{inode}]" for inode in inodes}:
                        name = (process / "comm").read_text("utf-8", "replace").strip()
                        return f"{name} (pid {process.name})", int(process.name)
    for user in inodes.values():  # of somebody else, whose descriptors are not shown
        return f"a process of user {_user(user)}", 0
    return "", 0


def _listeners(port: int) -> Iterator[tuple[str, int, int]]:
    """Address, inode and user of each socket that listens on `port`."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]:
                words = line.split()
                address, _, number = words[1].partition(":")
                if words[3] == _LISTENS and int(number, 16) == port:
                    yield _address(address), int(words[9]), int(words[7])


def _address(text: str) -> str:
    """As /proc/net has it: words of 32 bits in the machine's order."""
    packed = bytes.fromhex(text)
    if sys.byteorder == "little":
        packed = b"".join(packed[at : at + 4][::-1] for at in range(0, len(packed), 4))
    found = ipaddress.ip_address(packed)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _meet(address: str, wanted: set[str]) -> bool:
    """Whether a listener at `address` is in the way of one at `wanted`."""
    return address in wanted or any(ipaddress.ip_address(each).is_unspecified for each in {address, *wanted})


def _user(number: int) -> str:
    if sys.platform != "win32":
        import pwd

        with suppress(KeyError):
            return pwd.getpwuid(number).pw_name
    return str(number)


def _by_lsof(port: int) -> tuple[str, int]:
    try:
        asked = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "", 0
    found = {line[0]: line[1:] for line in reversed(said.splitlines()) if line}
    pid = found.get("p", "")
    return (f"{found.get('c', '?')} (pid {pid})", int(pid)) if pid.isdecimal() else ("", 0)
