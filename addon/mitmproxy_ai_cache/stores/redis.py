"""A store that a team or a CI fleet shares: Redis or Valkey, without modules.

One key per entry, written by one atomic `SET ... EX`; the server evicts by its own `maxmemory-policy`. A server that is
slow, frozen or gone costs a few calls their time budget; then the breaker opens and look-ups fail at once until a probe
in the background finds it well again.

    ai-cache:1:entry:KEY    u32 size of the packed answer | packed answer | packed request
    ai-cache:1:issued:ID    the key of the entry whose answer issued ID
"""

from __future__ import annotations

import asyncio
import logging
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from ..entry import Entry
from .base import Store, StoreError, StoreUnavailable
from .breaker import PROBE_EVERY, Breaker
from .near import NearCache

logger = logging.getLogger("ai-cache")

_ENTRY, _ISSUED = "ai-cache:1:entry:", "ai-cache:1:issued:"
_QUEUE = 1000
_QUEUE_BYTES = 256 << 20
_CONNECT = 2.0
"""Seconds for a connection at start-up and for a probe."""
_WRITE = 5.0
"""Seconds for a write. Nobody waits for it but the writes behind it."""
_FOR_EVER = 10 * 365 * 86400
"""Seconds an entry without a time to live is kept, so that nothing stays in a shared server without end."""


@dataclass(slots=True)
class _Write:
    key: str
    packed: bytes | None
    """The packed answer; None removes."""
    request: bytes = b""
    expires: int = 0
    issued: str = ""

    @property
    def size(self) -> int:
        return len(self.packed or b"") + len(self.request)


class RedisStore(Store):
    """`url` as redis-py takes it: `redis://`, `rediss://` (TLS; `?ssl_ca_certs=FILE`), `unix://`."""

    def __init__(self, url: str, near_size: int) -> None:
        self.url = shown(url)
        self._client: Redis = Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT,
            socket_timeout=_WRITE,
            retry=Retry(NoBackoff(), 1),  # a pooled connection the server has closed meanwhile
            max_connections=64,
        )
        self._near = NearCache(near_size)
        self._breaker = Breaker()
        self._pending: dict[str, _Write] = {}
        self._pending_bytes = 0
        self._queue: asyncio.Queue[_Write | None] = asyncio.Queue(_QUEUE)
        self._writer: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start, and say what is wrong with the server in one line. The store works as soon as the server does."""
        self._writer = asyncio.create_task(self._write_all(), name="ai-cache redis writer")
        try:
            await asyncio.wait_for(self._ping(), _CONNECT)
        except (RedisError, OSError, TimeoutError) as error:
            while not self._breaker.is_open:
                self._breaker.failed()
            self._start_probe()
            raise StoreError(self._said(error)) from error

    async def _ping(self) -> None:
        await self._client.get(_ENTRY + "0")

    # Reading

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        waiting = self._pending.get(key)
        if waiting is not None:
            return waiting.packed
        near = self._near.get(key)
        if near is not None:
            return near
        if self._breaker.is_open:
            raise StoreUnavailable(f"{self.url} does not answer")
        try:
            value = await self._client.get(_ENTRY + key)
        except asyncio.CancelledError:
            self._failed(TimeoutError("the time budget of a look-up"))
            raise
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise StoreUnavailable(self._said(error)) from error
        self._succeeded()
        packed = _answer_of(value)
        if packed is not None:
            self._near.put(key, packed)
        return packed

    def _succeeded(self) -> None:
        if self._breaker.succeeded():
            logger.warning("ai-cache: %s answers again", self.url)

    def _failed(self, error: BaseException) -> None:
        if self._breaker.failed():
            logger.warning("ai-cache: %s; calls go on as misses until it answers again", self._said(error))
            self._start_probe()

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._probe_until_well(), name="ai-cache redis probe")

    async def _probe_until_well(self) -> None:
        while self._breaker.is_open:
            await asyncio.sleep(PROBE_EVERY)
            with suppress(RedisError, OSError, TimeoutError):
                await asyncio.wait_for(self._ping(), _CONNECT)
                self._succeeded()

    def _said(self, error: BaseException) -> str:
        """What went wrong, with the host and the mend."""
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
            return f"{self.url} refuses the password ({text}); write it into the URL: redis://:PASSWORD@HOST:PORT"
        if "certificate" in text.lower():
            return f"{self.url}: {text}; name the authority with ?ssl_ca_certs=FILE"
        return f"{self.url} does not answer ({text})"

    async def count(self) -> int:
        """All keys of the database: ours, where it is ours alone."""
        with suppress(RedisError, OSError, TimeoutError):
            return int(await asyncio.wait_for(self._client.dbsize(), _CONNECT))
        return 0

    # Writing

    def put(self, entry: Entry) -> bool:
        write = _Write(
            entry.key,
            entry.pack_answer(),
            entry.pack_request(),
            max(1, int(entry.ttl)) if entry.ttl else _FOR_EVER,
            entry.issued,
        )
        return self._hand_over(write)

    def remove(self, key: str, namespace: str = "") -> None:
        self._near.remove(key)
        self._hand_over(_Write(key, None))

    def remove_issuer(self, issued: str) -> None:
        if issued:
            self._hand_over(_Write("", None, issued=issued))

    def _hand_over(self, write: _Write) -> bool:
        if self._pending_bytes + write.size > _QUEUE_BYTES or self._breaker.is_open or self._writer is None:
            self.dropped += 1
            return False
        try:
            self._queue.put_nowait(write)
        except asyncio.QueueFull:
            self.dropped += 1
            return False
        self._pending_bytes += write.size
        if write.key:
            self._pending[write.key] = write
        return True

    async def _write_all(self) -> None:
        while (write := await self._queue.get()) is not None:
            try:
                await asyncio.wait_for(self._write(write), _WRITE)
                self._succeeded()
            except (RedisError, OSError, TimeoutError) as error:
                self.dropped += 1
                self._failed(error)
            finally:
                self._pending_bytes -= write.size
                if self._pending.get(write.key) is write:
                    del self._pending[write.key]

    async def _write(self, write: _Write) -> None:
        if write.packed is not None:
            value = struct.pack(">I", len(write.packed)) + write.packed + write.request
            await self._client.set(_ENTRY + write.key, value, ex=write.expires)
            self._near.put(write.key, write.packed)
            if write.issued:
                await self._client.set(_ISSUED + write.issued, write.key, ex=write.expires)
        elif write.key:
            await self._client.delete(_ENTRY + write.key)
        else:
            key: Any = await self._client.get(_ISSUED + write.issued)
            if key:
                self._near.remove(key.decode())
                await self._client.delete(_ENTRY + key.decode(), _ISSUED + write.issued)

    async def close(self, deadline: float = 5.0) -> None:
        if self._writer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await self._queue.put(None)
                    await asyncio.wait([self._writer])
            if not self._writer.done():
                logger.warning("ai-cache: %d writes did not reach %s in time", self._queue.qsize(), self.url)
                self._writer.cancel()
            self._writer = None
        if self._probe is not None:
            self._probe.cancel()
        with suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._client.aclose(), 1)


def shown(url: str) -> str:
    """`url` as it may be said: without user, password and parameters."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = parts.hostname or "localhost"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 6379}{parts.path}"


def _answer_of(value: Any) -> bytes | None:
    """The packed answer in a stored value. A value that was tampered with fails its checksum later."""
    if not isinstance(value, bytes):
        return None
    if len(value) < 4:
        return value
    (size,) = struct.unpack_from(">I", value)
    return value[4 : 4 + size]
