"""Which hosts are AI providers. A call to any other host is recognised by its path and body alone.

On these hosts `record` keeps and `replay` answers everything, and `replay` refuses what is not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from ..protocols.providers import host_globs, side_traffic


def is_side_traffic(host: str, path: str) -> bool:
    """Settings, feature flags and telemetry: passed, never kept; in a strict replay refused, and no miss."""
    return side_traffic().match(f"{host.lower()} {path}") is not None


class HostList:
    """Host globs compiled to one expression. `*` stands for any characters, dots included."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._match = re.compile("|".join(translate(glob.lower()) for glob in globs) or r"(?!)").match

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and self._match(host.lower().rstrip(".")) is not None


def ai_hosts(more: Iterable[str] = ()) -> HostList:
    """Those of the table of providers, and `more`."""
    return HostList((*host_globs(), *more))
