"""A store that a team or a CI fleet shares: Redis or Valkey, without modules.

One key per entry, written by one atomic `SET ... EX`; the server evicts by its own `maxmemory-policy`. A server that is
slow, frozen or gone costs a few calls their time budget; then the breaker opens and look-ups fail at once until a probe
in the background finds it well again.

What is kept there under which name: names.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from ...entries.entry import KEEP_EXPIRED, BrokenEntry, Entry
from ...entries.selection import Selection
from ..base import Store, StoreError, StoreUnavailable
from ..filtering import Packed
from ..pages import NoSuchPage, Page, rank_of
from . import client
from .client import CONNECT, CONNECTIONS, WRITE
from .errors import answered
from .generations import Generations, generation_name, new_token
from .leases import CLAIM_TIMEOUT, Leases
from .names import ENTRY, FOR_EVER, entry_name, generation_of, issued_name, joined, key_of, parts
from .namespaces import Namespaces
from .near import NearCache
from .reads import RedisReads
from .recent import Command, Recent
from .redis_pages import RedisBrowser
from .server_state import ServerState
from .url import parse
from .values import RedisValues
from .write_queue import Name, Write, WriteQueue

# When a connection breaks, not only redis-py's own errors come through: asyncio's transports have raised TypeError. So
# whatever a command raises is a failure of the server, counted and said, and no error of a call.

logger = logging.getLogger("ai-cache")

_COUNTED = 20_000
"""Keys. A larger database is not walked to count what is ours."""
_FOUND = 1000
"""Names of one beginning of a key that are looked at."""
_AT_ONCE = 8
"""Entries that are fetched together when all are walked."""


class RedisStore(Store):
    """`url`: see url.py. One that is not `writable` leaves the server as it is."""

    purges_at_once = True
    _said_unordered = False

    def __init__(self, url: str, near_size: int, writable: bool = True) -> None:
        self._server = parse(url)
        self.url = self._server.shown
        self._writable = writable
        self._client = client.client(self._server)
        together = self._server.kind != "cluster"
        self._reads = RedisReads(self._client, together)
        self._recent = Recent(self._client, together, self._say_unordered)
        self._near = NearCache(near_size)
        self._generations = Generations()
        self._state = ServerState(self._server, self.failures, self._ping)
        self._queue = WriteQueue(self._perform)
        self._leases = Leases(self._client, self._attempt)
        self._browser = RedisBrowser(
            self._recent,
            RedisValues(self._client, together),
            Namespaces(self._client, self._generations, self._token),
            self._names,
            self._is_live,
            self._unpacked,
            writable,
        )
        self._on_wire = asyncio.Semaphore(CONNECTIONS)
        self._reading: dict[Name, object] = {}

    async def open(self) -> None:
        """Start, and say what is wrong with the server in one line. The store works as soon as the server does."""
        if self._writable:
            self._queue.start()
        try:
            await asyncio.wait_for(self._ping(), CONNECT)
        except Exception as error:
            raise StoreError(self._state.away(error)) from error
        self._state.succeeded()

    async def _ping(self) -> None:
        await self._client.get(ENTRY + "0")

    @property
    def works(self) -> bool:
        return not self._state.is_away

    @property
    def queued(self) -> int:
        return len(self._queue)

    # Reading

    async def read(self, key: str, namespace: str = "") -> bytes | None:
        name = (namespace, key)
        waiting = self._queue.pending(name)
        if waiting is not None:
            return waiting.packed
        generation = self._generations.known(namespace)
        if generation and (near := self._near.get(name, generation)) is not None:
            return near
        # What is replaced or removed while we read it must not come into the near cache.
        mark = self._reading[name] = object()
        try:
            generation, packed = await self._ask(partial(self._fetch, name))
            if packed is not None and self._reading.get(name) is mark:
                self._near.put(name, packed, generation)
        finally:
            if self._reading.get(name) is mark:
                del self._reading[name]
        return packed

    async def _fetch(self, name: Name) -> tuple[str, bytes | None]:
        """The generation and the packed answer; where a namespace has no generation it has no entries."""
        generation = await self._generations.current(name[0], self._token)
        value = await self._reads.get(entry_name(generation, name[1])) if generation else None
        return generation, None if value is None else parts(value)[0]

    async def _token(self, name: str) -> str:
        value = await self._reads.get(name)
        return value.decode() if value and re.fullmatch(rb"[0-9a-f]{16}", value) else ""

    async def _ask[T](self, command: Callable[[], Awaitable[T]]) -> T:
        """Do what a look-up waits for. Raises `StoreUnavailable`."""
        began = time.monotonic()
        async with self._on_wire:
            if self._state.is_away:
                raise StoreUnavailable(f"{self.url} does not answer")
            sent = time.monotonic()
            try:
                result = await command()
            except asyncio.CancelledError:
                # The time budget of a look-up is over, or its client gone. Most of it spent in the queue before us
                # says nothing about the server.
                if time.monotonic() - sent >= max(0.02, (sent - began)):
                    self._state.suspect()
                raise
            except Exception as error:
                raise StoreUnavailable(self._state.failed(error)) from error
        self._state.succeeded()
        return result

    async def entries(self) -> AsyncIterator[Entry]:
        await self.flushed(WRITE)
        live: dict[str, bool] = {}
        try:
            names: list[str] = []
            async for name in self._names():
                names.append(name)
                if len(names) == _AT_ONCE:
                    for entry in await self._whole(names, live):
                        yield entry
                    names.clear()
            for entry in await self._whole(names, live):
                yield entry
        except Exception as error:
            raise StoreError(self._state.counted(error)) from error

    async def _names(self, like: str = "*") -> AsyncIterator[str]:
        """Of entries, those of purged generations too. Sequential, a page at a time."""
        async for name in self._client.scan_iter(match=ENTRY + like, count=1000):
            yield name.decode("utf-8", "replace")

    async def _whole(self, names: list[str], live: dict[str, bool]) -> list[Entry]:
        """The entries of `names` that can be found by a look-up. `live` remembers which generations are current."""
        wanted = [name for name in names if live.get(generation_of(name), True)]
        found = []
        for name, value in zip(wanted, await asyncio.gather(*map(self._reads.get, wanted)), strict=True):
            if value is None:
                continue
            try:
                entry = self._unpacked(key_of(name), *parts(value))
            except BrokenEntry:
                self.failures["broken-entry"] += 1
                continue
            generation = generation_of(name)
            if generation not in live:
                live[generation] = await self._generations.current(entry.namespace, self._token) == generation
            if live[generation] and name == entry_name(generation, entry.key):
                found.append(entry)
        return found

    async def browse(self, selection: Selection, after: str = "", limit: int = 50, deadline: float = 0.8) -> Page:
        await self.flushed(min(deadline, 0.2))
        try:
            return await self._browser.page(selection, self.vault, after, limit, deadline)
        except NoSuchPage:
            raise
        except Exception as error:
            raise StoreError(self._state.counted(error)) from error

    async def find(self, prefix: str, limit: int = 20) -> list[Entry]:
        if not re.fullmatch(r"[0-9a-f-]*", prefix):
            return []
        await self.flushed(0.2)
        try:
            names = [name async for name in self._names(f"*:{prefix}*")][:_FOUND]
            return sorted(await self._whole(names, {}), key=rank_of)[:limit]
        except Exception as error:
            raise StoreError(self._state.counted(error)) from error

    async def _is_live(self, name: str, namespace: str) -> bool:
        return await self._generations.current(namespace, self._token) == generation_of(name)

    async def count(self) -> int:
        """Entries, purged ones too until they expire; of a large database all keys."""
        with suppress(Exception):
            async with asyncio.timeout(CONNECT):
                size = int(await self._client.dbsize())
                return size if size > _COUNTED else len([name async for name in self._names()])
        return 0

    # Writing

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        answer, request = packed or self.pack(entry)
        expires = _seconds_until(entry.kept_until())
        send = partial(self._send_entry, value=joined(answer, request), created=entry.created, expires=expires)
        name = (entry.namespace, entry.key)
        self._reading.pop(name, None)
        return self._hand_over(Write(send, name, entry.key, answer, len(answer) + len(request), entry.issued))

    async def _send_entry(self, write: Write, *, value: bytes, created: float, expires: int) -> None:
        assert write.name is not None
        namespace, key = write.name
        generation = await self._generation_to_write(namespace)
        if write.cancelled:
            return  # purged meanwhile
        commands: list[Command] = [("SET", entry_name(generation, key), value, "EX", expires)]
        if write.issued:
            origin = json.dumps([generation, key, namespace])
            commands.append(("SET", issued_name(write.issued), origin, "EX", expires))
        await self._recent.put(generation, (created, key), expires, commands)
        if write.packed is not None:
            self._near.put(write.name, write.packed, generation)

    def _keep_until(self, entry: Entry, until: float) -> None:
        send = partial(self._send_longer, namespace=entry.namespace, key=entry.key, seconds=_seconds_until(until))
        self._hand_over(Write(send, about=entry.key, issued=entry.issued))

    async def _send_longer(self, write: Write, *, namespace: str, key: str, seconds: int) -> None:
        if generation := await self._generations.current(namespace, self._token):
            also = [issued_name(write.issued)] if write.issued else []
            await self._recent.keep(generation, key, also, seconds)

    def _say_unordered(self, error: ResponseError) -> None:
        said = self._state.counted(error)
        if not self._said_unordered:
            self._said_unordered = True
            logger.warning("ai-cache: %s; answers are kept, but listed slowly", said)

    async def _generation_to_write(self, namespace: str) -> str:
        if token := await self._generations.current(namespace, self._token):
            return token
        name, token = generation_name(namespace), new_token()
        await self._client.set(name, token, nx=True, ex=FOR_EVER)
        if stored := await self._generations.current(namespace, self._token):
            return stored  # ours, or another process was quicker
        await self._client.set(name, token, ex=FOR_EVER)  # what stood there was no token
        self._generations.learn(namespace, token)
        return token

    def remove(self, key: str, namespace: str = "") -> None:
        self._forget((namespace, key))
        self._hand_over(Write(self._send_removal, (namespace, key), key))

    def _forget(self, name: Name) -> None:
        """In this process. Again when the server has forgotten it: a look-up in between may have fetched it."""
        self._near.remove(name)
        self._reading.pop(name, None)

    async def _send_removal(self, write: Write) -> None:
        assert write.name is not None
        if generation := await self._generations.current(write.name[0], self._token):
            await self._recent.remove(generation, write.name[1])
        self._forget(write.name)

    def remove_issuer(self, issued: str) -> None:
        if not issued:
            return
        for namespace, key in self._queue.issuers(issued):
            self.remove(key, namespace)
        self._near.clear()  # it may be there, and this is rare
        self._reading.clear()
        self._hand_over(Write(self._send_issuer_removal, issued=issued))

    async def _send_issuer_removal(self, write: Write) -> None:
        value = await self._reads.get(issued_name(write.issued))
        try:
            generation, key, namespace = map(str, json.loads(value or b""))
        except ValueError:
            return  # nothing, or nothing of ours
        await self._recent.remove(generation, key)
        await self._client.delete(issued_name(write.issued))  # a cluster deletes what is in one slot only
        self._forget((namespace, key))

    async def purge(self, namespace: str) -> None:
        self._queue.cancel(namespace)
        token = new_token()
        self._generations.learn(namespace, token)
        try:
            async with asyncio.timeout(WRITE):
                before = await self._token(generation_name(namespace))
                await self._client.set(generation_name(namespace), token, ex=FOR_EVER)
                if before:
                    await self._recent.forget(before)
        except Exception as error:
            self._generations.forget(namespace)
            raise StoreError(self._state.counted(error)) from error

    def _hand_over(self, write: Write) -> bool:
        if not self._writable:
            return False
        able = self._queue.running and not self._state.is_away
        if able and self._queue.put(write):
            return True
        self.dropped += 1
        if able:
            self.failures["queue-full"] += 1
        return False

    async def _perform(self, write: Write) -> None:
        if self._state.is_away or not await self._attempt(partial(write.send, write)):
            self.dropped += 1

    async def _attempt(self, command: Callable[[], Awaitable[Any]]) -> bool:
        """Do what nobody waits for, and say what goes wrong; whether it went well."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(WRITE):
                await command()
        except Exception as error:
            if answered(error):
                self._state.refused(error)  # look-ups may work all the same
            else:
                self._state.failed(error)
            return False
        self._state.written(time.monotonic() - began)
        return True

    async def flushed(self, deadline: float = 5.0) -> None:
        await self._queue.flushed(deadline)

    async def close(self, deadline: float = 5.0) -> None:
        for key in self._leases.held:
            self.release(key)
        self._leases.close()
        self._browser.close()
        if left := await self._queue.close(deadline):
            logger.warning("ai-cache: %d writes did not reach %s in time", left, self.url)
        await self._recent.close()
        self._state.close()
        with suppress(Exception):
            await asyncio.wait_for(client.close(self._client), 1)

    # Single flight

    async def claim(self, key: str) -> bool:
        if not self._queue.running or self._state.is_away:
            return True
        token = self._leases.reserve(key)
        if not token:
            return False
        try:
            async with asyncio.timeout(CLAIM_TIMEOUT):
                return await self._ask(partial(self._leases.take, key, token))
        except (StoreError, TimeoutError):
            return True  # it may be ours on the server, so it stays with us until it is released
        except asyncio.CancelledError:
            self.release(key)
            raise

    def release(self, key: str) -> None:
        """Behind the writes that wait: who gets the lease next shall find the answer."""
        if token := self._leases.drop(key):
            self._hand_over(Write(lambda write: self._leases.give_back(key, token), about=key))


def _seconds_until(until: float) -> int:
    """Seconds that a key lives. What need not be kept when it is put, an import, stays `KEEP_EXPIRED`."""
    left = until - time.time()
    return int(min(left if left >= 1 else KEEP_EXPIRED, FOR_EVER))
