"""Which namespaces a shared server has entries of: those with a generation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from .client import Client
from .generations import GENERATION, Generations, generation_name

_KEYS = 2000
"""Keys that the server looks at in one piece: 0.2 ms."""
_GOOD = 20.0
"""What was found is good for so many times what it took to find."""
_AT_ONCE = 100


class Namespaces:
    """`fetch` asks the server for the token at a name. No list of them is kept on the server, which may evict it: all
    keys of the server are looked at, 100,000 in 15 ms. Raises what redis-py raises."""

    def __init__(self, client: Client, known: Generations, fetch: Callable[[str], Awaitable[str]]) -> None:
        self._client = client
        self._known = known
        self._fetch = fetch
        self._found: set[str] = set()
        self._good_until = 0.0
        self._finding: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self._finding is not None:
            self._finding.cancel()

    async def generations(self, only: str | None, deadline: float) -> dict[str, str]:
        """The current token of each namespace, or of `only` that. Raises `TimeoutError` where that takes longer than
        `deadline` seconds; what was begun goes on, for who asks again."""
        if only is None:
            await self._find(deadline)
        spaces = list(self._found.union(self._known.namespaces())) if only is None else [only]
        tokens = []
        for at in range(0, len(spaces), _AT_ONCE):
            tokens += await asyncio.gather(*map(self._token, spaces[at : at + _AT_ONCE]))
        return {space: token for space, token in zip(spaces, tokens, strict=True) if token}

    async def _token(self, namespace: str) -> str:
        """Not remembered: there may be more of them than those that look-ups should find known."""
        return self._known.known(namespace) or await self._fetch(generation_name(namespace))

    async def _find(self, deadline: float) -> None:
        if time.monotonic() < self._good_until:
            return
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._scan(), name="ai-cache namespaces")
            self._finding.add_done_callback(lambda task: task.cancelled() or task.exception())  # who waits says it
        await asyncio.wait_for(asyncio.shield(self._finding), max(deadline, 0.001))

    async def _scan(self) -> None:
        began, found = time.monotonic(), set()
        async for name in self._client.scan_iter(match=GENERATION + "*", count=_KEYS):
            found.add(unquote(name.decode("utf-8", "replace").removeprefix(GENERATION), errors="surrogatepass"))
        self._found = found
        self._good_until = time.monotonic() + _GOOD * (time.monotonic() - began)
