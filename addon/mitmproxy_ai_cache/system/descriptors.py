"""How many files and connections this process may have open: each call of a client takes two.

Systems start processes with a low limit (256 on macOS, 1024 on Linux) that each may raise for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

if sys.platform != "win32":
    import resource

_MACOS = 10240
"""OPEN_MAX: what macOS takes where the hard limit is "unlimited"."""


@contextmanager
def raised() -> Iterator[int]:
    """The soft limit is the hard one meanwhile. Gives the soft limit of before; 0 where there are no limits."""
    if sys.platform == "win32":
        yield 0
        return
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, _MACOS):
        with suppress(ValueError, OSError):
            _set(limit if limit == hard else max(limit, before))
            break
    try:
        yield before
    finally:
        _set(before)


@contextmanager
def for_child(limit: int) -> Iterator[None]:
    """A process that is started meanwhile gets `limit` (0: ours), as it would without us: programs that use select()
    fail on descriptors from 1024 on."""
    if sys.platform == "win32" or not limit:
        yield
        return
    now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    _set(limit)
    try:
        yield
    finally:
        _set(now)


def _set(soft: int) -> None:
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
