"""Leases on a shared server: which process fetches an answer that several want.

ai-cache:1:lease:KEY    the token of who holds it, for 10 s; renewed while it is held
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

LEASE = 10.0
"""Seconds until the lease of a process that died is free."""
RENEW_EVERY = 3.0
CLAIM_TIMEOUT = 0.25
"""Seconds that asking for one may take; then the process fetches as if it had it."""

_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
_RENEW = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
)


def lease_name(key: str) -> str:
    return f"ai-cache:1:lease:{key}"


class Leases:
    """Those of this process. `client` is redis-py's; `attempt` runs a command and keeps what goes wrong from us."""

    def __init__(self, client: Any, attempt: Callable[[Callable[[], Awaitable[Any]]], Awaitable[bool]]) -> None:
        self._client = client
        self._attempt = attempt
        self._held: dict[str, str] = {}
        self._renewal: asyncio.Task[None] | None = None

    @property
    def held(self) -> list[str]:
        return list(self._held)

    def reserve(self, key: str) -> str:
        """A token to take the lease with; empty where this process holds it, or asks for it already."""
        if key in self._held:
            return ""
        self._held[key] = secrets.token_hex(8)
        return self._held[key]

    async def take(self, key: str, token: str) -> bool:
        """Whether it was free. Raises what redis-py raises: then the server may or may not have noted us down."""
        name = lease_name(key)
        taken = await self._client.set(name, token, nx=True, px=int(LEASE * 1000))
        # redis-py sends a command again whose connection broke, so the token that stands there may be our own.
        if not taken and await self._client.get(name) != token.encode():
            self.drop(key)
            return False
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_all(), name="ai-cache leases")
        return True

    def drop(self, key: str) -> str:
        """Forget one here; its token, or nothing where it was not held."""
        return self._held.pop(key, "")

    async def give_back(self, key: str, token: str) -> None:
        """Only where it is still ours."""
        await self._client.eval(_RELEASE, 1, lease_name(key), token)

    async def _renew_all(self) -> None:
        while self._held:
            await asyncio.sleep(RENEW_EVERY)
            for key, token in list(self._held.items()):
                if self._held.get(key) == token:
                    await self._attempt(partial(self._renew, key, token))

    async def _renew(self, key: str, token: str) -> None:
        await self._client.eval(_RENEW, 1, lease_name(key), token, str(int(LEASE * 1000)))

    def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
