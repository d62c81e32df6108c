"""Where a base URL may go: to AI hosts that are known here, and to what the user named."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from ..calls.own_address import MAGIC_HOST
from ..identity.hosts import HostList, ai_hosts
from ..wire.addresses import canonical, literal

LOCAL = ("localhost", "127.0.0.1", "::1")
"""What `--local` names."""


class Named(Enum):
    EXACTLY = auto()
    """By the user. That is consent, also for a loopback address."""
    BUILT_IN = auto()
    BY_GLOB = auto()
    """A glob of the user's fits it: he may not have thought of this one."""
    NOT = auto()


class Targets:
    """`hosts` are the values of `ai_cache_hosts`."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        given = list(hosts)
        self._exact = {canonical(host) for host in given if literal(host) is not None or not _is_glob(host)}
        self._built_in = ai_hosts()
        self._globs = HostList(host for host in given if literal(host) is None and _is_glob(host))

    def named(self, host: str) -> Named:
        name = canonical(host)
        if name == MAGIC_HOST:
            return Named.NOT
        if name in self._exact:
            return Named.EXACTLY
        if name in self._built_in:
            return Named.BUILT_IN
        return Named.BY_GLOB if name in self._globs else Named.NOT


def _is_glob(host: str) -> bool:
    return any(character in host for character in "*?[")
