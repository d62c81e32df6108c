"""TCP connections of this machine, as Linux lists them."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

from ..wire.addresses import canonical

Peer = tuple[str, int]

_LISTS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_end_of(local: Peer, remote: Peer) -> bool:
    """Whether a socket of this machine has these two ends. False where that cannot be known."""
    mark = f":{local[1]:04X}"
    for listed in _LISTS:
        try:
            lines = listed.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, ours, theirs, *_ = line.split()
            if ours.endswith(mark) and _end(ours) == local and _end(theirs) == remote:
                return True
    return False


def _end(text: str) -> Peer:
    """`0100007F:1F90` -> 127.0.0.1 and 8080: words in the byte order of the machine, the port as a number."""
    address, _, port = text.partition(":")
    words = bytes.fromhex(address)
    if sys.byteorder == "little":
        words = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return canonical(str(ipaddress.ip_address(words))), int(port, 16)
