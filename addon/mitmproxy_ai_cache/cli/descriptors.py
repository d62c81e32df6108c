"""How many connections a proxy may have open at once."""

from __future__ import annotations

import sys

WANTED = 65536
"""A connection to us and one to a provider each take a descriptor; many systems allow a process 1,024 as it comes."""


def raise_limit() -> None:
    """As far as the system lets this process. Programs it starts inherit that, so it is not for `run`."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return  # macOS has a lower bound that it does not tell
