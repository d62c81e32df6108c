"""Hosts whose calls without a key may share entries, and what the log says of how entries are kept apart."""

from __future__ import annotations

import logging
import re

from ..wire.safe_text import one_line, quoted
from .isolation import Isolation, is_claim

logger = logging.getLogger("ai-cache")

_REMEMBERED = 1000
"""Hosts that were told of. Names come from strangers."""

_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]*:[0-9a-f:.]*")


def parse_host(text: str) -> str:
    """An exact name, or an address. Raises ValueError."""
    name = _plain(text)
    if not _HOST.fullmatch(name) or re.fullmatch(r"[^:]*:\d+", name):
        raise ValueError(
            f"ai_cache_keyless_hosts has {quoted(text)}; write the exact name of a host without port or *, "
            "for example ollama"
        )
    return name


def _plain(host: str) -> str:
    return host.strip().lower().strip("[]").rstrip(".")


class KeylessHosts:
    """Those that the user named."""

    def __init__(self, named: frozenset[str]) -> None:
        self._named = named
        self._told: set[str] = set()

    def may_share(self, host: str) -> bool:
        return bool(self._named) and _plain(host) in self._named

    def passed(self, host: str, isolation: Isolation) -> None:
        """A call to `host` passed uncached since it does not say whose it is. The first one of a host is told of."""
        name = one_line(_plain(host))
        if name in self._told or len(self._told) >= _REMEMBERED:
            return
        self._told.add(name)
        if self.may_share(host) or (isolation.more and not isolation.by("credential")):
            mend = f"send all of them with every call, or change ai_cache_isolate={isolation}"
        else:
            mend = f"to let them share entries set ai_cache_keyless_hosts={name}"
        logger.warning(
            "ai-cache: calls to %s without %s pass uncached (no-credential); %s", name, _lacking(isolation), mend
        )


class Claims:
    """Principals that nobody checks. The first one is told of."""

    def __init__(self) -> None:
        self._told = False

    def seen(self, scope: tuple[bytes, ...], isolation: Isolation) -> None:
        if not self._told and isolation.by("credential") and any(map(is_claim, scope)):
            self._told = True
            logger.warning(
                "ai-cache: entries are kept apart by AWS account or by issuer and subject of a JWT; both are claims, "
                "and nobody checks them on a hit. On a network you do not trust use proxyauth with "
                "ai_cache_isolate=proxy-user"
            )


def _lacking(isolation: Isolation) -> str:
    names = {"credential": "an API key", "proxy-user": "a proxy user"}
    return " and ".join(names.get(member.kind, f"the header {member.header}") for member in isolation.members)
