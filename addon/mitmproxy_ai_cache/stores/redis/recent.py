"""The order of entries on a shared server: one sorted set per generation, keys by the time they were created.

    ai-cache:1:recent:GENERATION    member: the key of an entry; score: when it was created (Unix time)

An entry is written before its member and removed after it, so that an entry without a member is rare: its process died
in between, its user may not write sorted sets, it is older than these sets, or the server has evicted the set. Such
entries come last in a list (redis_pages.py). A member without an entry is no harm: the server evicts and expires
entries without telling us, and whoever meets their members removes them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from redis.exceptions import ResponseError

from ...wire.bounded import BoundedMap
from .client import Client
from .names import FOR_EVER, entry_name, recent_name

_SPARE = 86400
"""Seconds a set stays longer than its entries, so that its time to live is renewed once in as long."""
_SWEEP_EVERY = 100
"""Entries that are put between two looks at members whose entries may be gone."""
_SWEPT, _SWEEPS, _FEW = 50, 20, 5
"""Members of one look, drawn by lot; looks in a row; so many of a look may be gone without another one. As Redis itself
looks for what has expired: a tenth of a set is of no use at most, whatever the times to live are."""
_AGAIN = 60.0
"""Seconds after which a server that refused is asked again."""
_CLOSE = 0.5
"""Seconds that closing waits for what is being done."""
_KNOWN = 1000
"""Generations whose time to live is remembered."""

Command = tuple[Any, ...]
Member = tuple[float, str]
"""When an entry was created, and its key."""
LAST_KEY = "\U0010ffff"
"""Comes after every key."""


class Recent:
    """`together`: whether what concerns several keys may go in one piece; a cluster has them on several servers.
    `refused` is told of an error that keeps us from writing sorted sets. Raises what redis-py raises."""

    def __init__(self, client: Client, together: bool, refused: Callable[[ResponseError], None]) -> None:
        self._client = client
        self._together = together
        self._refused = refused
        self._refused_until = 0.0
        self._lasts: BoundedMap[str, float] = BoundedMap(_KNOWN)
        """Until when (monotonic) the sets of these generations last at least."""
        self._put = 0
        self._sweep: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _is_kept(self) -> bool:
        return time.monotonic() >= self._refused_until

    async def close(self) -> None:
        """End what nobody waits for; a set that was just begun gets its time to live."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE)
        for task in self._tasks:
            task.cancel()

    # Writing

    async def put(self, generation: str, member: Member, seconds: int, commands: Sequence[Command]) -> None:
        """Do `commands`, which write an entry that stays for `seconds`, and note it down with the same round trip."""
        created, key = member
        score = created if math.isfinite(created) else 0.0
        add = [("ZADD", recent_name(generation), repr(score), key)] if self._is_kept else []
        *written, noted = [*await self._send([*commands, *add]), None][: len(commands) + 1]
        _raise_first(written)
        if isinstance(noted, ResponseError):
            self._give_up(noted)
        elif add:
            self._tend(generation, seconds)

    async def remove(self, generation: str, key: str) -> None:
        """The entry and its member."""
        take_off = [("ZREM", recent_name(generation), key)] if self._is_kept else []
        results = await self._send([*take_off, ("DEL", entry_name(generation, key))])
        _raise_first(results[-1:])

    async def keep(self, generation: str, key: str, also: Sequence[str | bytes], seconds: int) -> None:
        """Have an entry, and what has the names `also`, stay for `seconds` at least."""
        for name in (entry_name(generation, key), *also):
            left = int(await self._client.execute_command("TTL", name))  # -1: for ever, -2: it is not there
            if 0 <= left < seconds:
                await self._client.execute_command("EXPIRE", name, seconds)
        if self._is_kept:
            self._tend(generation, seconds)

    async def forget(self, generation: str) -> None:
        """The set of a generation that was purged. Who may not remove it leaves it to its time to live."""
        with suppress(ResponseError):
            await self._client.execute_command("UNLINK", recent_name(generation))

    async def note(self, found: Iterable[tuple[str, Member]]) -> bool:
        """Members of generations that were missing; whether the server took them."""
        try:
            for generation, members in groupby(sorted(found), lambda pair: pair[0]):
                pairs = [text for _, (created, key) in members for text in (repr(created), key)]
                await self._client.execute_command("ZADD", recent_name(generation), "NX", *pairs)
                self._lasts.pop(generation)  # this set may be a new one
                self._tend(generation, FOR_EVER)
        except ResponseError:
            return False
        return True

    async def drop(self, generation: str, members: Sequence[Member]) -> None:
        """Members whose entries are gone."""
        if not members:
            return
        name = recent_name(generation)
        await self._client.execute_command("ZREM", name, *(key for _, key in members))
        # One that was written again a moment ago, and whose member we may have met.
        there = await self._are_there(generation, members)
        if back := [
            text for (score, key), is_back in zip(members, there, strict=True) if is_back for text in (score, key)
        ]:
            await self._client.execute_command("ZADD", name, "NX", *back)

    def _give_up(self, error: ResponseError) -> None:
        self._refused_until = time.monotonic() + _AGAIN
        self._refused(error)

    def _tend(self, generation: str, seconds: int) -> None:
        """What a set needs now and then, behind the write."""
        self._put += 1
        if self._put % _SWEEP_EVERY == 0 and (self._sweep is None or self._sweep.done()):
            self._lasts.pop(generation)  # the server may have evicted the set meanwhile
            self._sweep = self._begin(self._swept(generation))
        if self._lasts.get(generation, 0.0) < time.monotonic() + seconds:
            self._lasts.put(generation, time.monotonic() + seconds + _AGAIN)  # until we know
            self._begin(self._last(generation, seconds))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Another time where it fails; a server at fault is noticed by others."""

        async def tried() -> None:
            with suppress(Exception):
                await work

        task = asyncio.create_task(tried(), name="ai-cache order")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _last(self, generation: str, seconds: int) -> None:
        """See to it that the set stays as long as an entry that stays for `seconds`, and does not stay for ever."""
        name, wanted = recent_name(generation), seconds + _SPARE
        left = int(await self._client.execute_command("TTL", name))  # -1: for ever
        if left < wanted:
            left = wanted
            await self._client.execute_command("EXPIRE", name, wanted)
        self._lasts.put(generation, time.monotonic() + left)

    async def _swept(self, generation: str) -> None:
        for _ in range(_SWEEPS):
            command = ("ZRANDMEMBER", recent_name(generation), _SWEPT, "WITHSCORES")
            members = _members(await self._client.execute_command(*command))
            there = await self._are_there(generation, members)
            gone = [member for member, is_there in zip(members, there, strict=True) if not is_there]
            await self.drop(generation, gone)
            if len(gone) <= _FEW:
                break

    # Reading

    async def newest(self, sources: Sequence[tuple[str, Member]], least: float | None, most: int) -> list[list[Member]]:
        """Of each generation up to `most` members behind a place, newest first, none created before `least`.

        With the key `LAST_KEY` a place is before, with an empty key it is behind all that were created then.
        """
        found = await self.piped([_range(generation, place, least, 0, most) for generation, place in sources])
        _raise_first(found)
        return [
            await self._behind(generation, place, least, most, members)
            for (generation, place), members in zip(sources, map(_members, found), strict=True)
        ]

    async def _behind(
        self, generation: str, place: Member, least: float | None, most: int, members: list[Member]
    ) -> list[Member]:
        """Without those at and before `place`, of which there may be many: all were created at one time."""
        offset = 0
        while True:
            left = [member for member in members if member < place]
            if left or len(members) < most:
                return left
            offset += len(members)
            most = min(2 * most, 10_000)
            members = _members(await self._client.execute_command(*_range(generation, place, least, offset, most)))

    async def are_noted(self, generation: str, keys: Sequence[str]) -> list[bool]:
        scores = await self._client.execute_command("ZMSCORE", recent_name(generation), *keys)
        return [score is not None for score in scores]

    async def _are_there(self, generation: str, members: Sequence[Member]) -> list[bool]:
        found = await self.piped([("EXISTS", entry_name(generation, key)) for _, key in members])
        _raise_first(found)
        return list(map(bool, found))

    # Commands

    async def piped(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of the server among them; a cluster does them in any order."""
        if not commands:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of the server among them, done in this order, in one round trip where that can be."""
        if self._together and len(commands) > 1:
            return await self.piped(commands)
        results: list[Any] = []
        for command in commands:
            try:
                results.append(await self._client.execute_command(*command))
            except ResponseError as error:
                results.append(error)
        return results


def _range(generation: str, place: Member, least: float | None, offset: int, most: int) -> Command:
    score, key = place
    highest = repr(score) if key else f"({score!r}"
    lowest = "-inf" if least is None else repr(least)
    limit = ("LIMIT", offset, most, "WITHSCORES")
    return ("ZRANGE", recent_name(generation), highest, lowest, "BYSCORE", "REV", *limit)


def _members(reply: Sequence[bytes]) -> list[Member]:
    """Of a reply with scores."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [(float(score), key.decode("utf-8", "replace")) for key, score in pairs]


def _raise_first(results: Iterable[Any]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result
