"""The generation of a namespace: a random token in the names of its entries, so that one write forgets them all.

A token that is lost (evicted, expired) is replaced by a new one, never by an old one: what was purged stays purged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from ...wire.bounded import BoundedMap
from .near import FRESH

_KNOWN = 1000
"""Namespaces whose generation is remembered."""

FetchGeneration = Callable[[str], Awaitable[str]]
"""Asks the server for the token at a name; empty where there is none."""


GENERATION = "ai-cache:1:generation:"


def generation_name(namespace: str) -> str:
    return GENERATION + quote(namespace, safe="", errors="surrogatepass")


def new_token() -> str:
    return secrets.token_hex(8)


class Generations:
    """What this process knows of them, for at most `FRESH` seconds."""

    def __init__(self) -> None:
        self._known: BoundedMap[str, tuple[float, str]] = BoundedMap(_KNOWN)
        self._fetching: dict[str, asyncio.Task[str]] = {}

    def known(self, namespace: str) -> str:
        """Empty where it must be asked for."""
        since, token = self._known.get(namespace, (0.0, ""))
        if not token or time.monotonic() - since > FRESH:
            return ""
        self._known.touch(namespace)
        return token

    def namespaces(self) -> list[str]:
        """Those that were asked for last."""
        return list(self._known)

    def learn(self, namespace: str, token: str) -> None:
        self._fetching.pop(namespace, None)  # what is on its way may be older
        self._known.put(namespace, (time.monotonic(), token))

    def forget(self, namespace: str) -> None:
        self._fetching.pop(namespace, None)
        self._known.pop(namespace)

    async def current(self, namespace: str, fetch: FetchGeneration) -> str:
        """The token, by `fetch` where it is not known; who asks meanwhile waits for the same answer."""
        if token := self.known(namespace):
            return token
        task = self._fetching.get(namespace)
        if task is None:
            task = asyncio.ensure_future(fetch(generation_name(namespace)))
            self._fetching[namespace] = task
            task.add_done_callback(lambda done: self._fetched(namespace, done))
        # Who gives up waiting leaves the others theirs.
        token = await asyncio.shield(task)
        return self.known(namespace) or token

    def _fetched(self, namespace: str, task: asyncio.Task[str]) -> None:
        current = self._fetching.get(namespace) is task
        if current:
            del self._fetching[namespace]
        if not task.cancelled() and task.exception() is None and task.result() and current:
            self.learn(namespace, task.result())
