"""Look-ups that are asked for at once are one command; each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ResponseError

from mitmproxy_ai_cache.stores.redis.reads import RedisReads


class Server:
    """What redis-py's client does of it; `said` are the commands."""

    def __init__(self, forbids: str = "", frozen: bool = False) -> None:
        self.said: list[list[Any]] = []
        self.cancelled = 0
        self._forbids = forbids
        self._frozen = frozen

    async def get(self, name: str) -> bytes | None:
        await self._take("GET", name)
        if name == "list":
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return self._value(name)

    async def mget(self, names: list[str]) -> list[bytes | None]:
        await self._take("MGET", *names)
        return [self._value(name) for name in names]

    async def _take(self, *command: str) -> None:
        self.said.append(list(command))
        try:
            await asyncio.sleep(60 if self._frozen else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._forbids in command:
            raise ResponseError(f"NOPERM this user has no permissions to run the '{command[0].lower()}' command")
        if "away" in command:
            raise Broken("Connection closed by server.")

    @staticmethod
    def _value(name: str) -> bytes | None:
        return None if name in ("none", "list") else name.encode()


def asked(server: Server, *names: str, together: bool = True) -> list[Any]:
    async def main() -> list[Any]:
        reads = RedisReads(server, together)
        return await asyncio.gather(*map(reads.get, names), return_exceptions=True)

    return run(main())


def run[T](work: Coroutine[Any, Any, T]) -> T:
    async def main() -> T:
        async with asyncio.timeout(10):
            return await work

    return asyncio.run(main())


def test_one_alone_is_a_plain_get() -> None:
    server = Server()
    assert asked(server, "a") == [b"a"]
    assert server.said == [["GET", "a"]]


def test_those_of_one_turn_are_one_command() -> None:
    server = Server()
    assert asked(server, "a", "none", "b", "a") == [b"a", None, b"b", b"a"]
    assert server.said == [["MGET", "a", "none", "b", "a"]]


def test_many_are_asked_for_in_commands_of_sixteen() -> None:
    server, names = Server(), [str(number) for number in range(40)]
    assert asked(server, *names) == [name.encode() for name in names]
    assert [len(command) - 1 for command in server.said] == [16, 16, 8]


def test_a_cluster_is_asked_for_each() -> None:
    server = Server()
    assert asked(server, "a", "b", together=False) == [b"a", b"b"]
    assert server.said == [["GET", "a"], ["GET", "b"]]


def test_another_turn_is_another_command() -> None:
    server = Server()

    async def main() -> None:
        reads = RedisReads(server, True)
        assert await reads.get("a") == b"a"
        assert await asyncio.gather(reads.get("b"), reads.get("c")) == [b"b", b"c"]

    run(main())
    assert server.said == [["GET", "a"], ["MGET", "b", "c"]]


def test_a_user_without_mget_gets_each() -> None:
    server = Server(forbids="MGET")
    assert asked(server, "a", "list", "none") == [b"a", b"", None]


def test_mget_is_tried_once_where_it_is_not_allowed() -> None:
    server = Server(forbids="MGET")

    async def main() -> None:
        reads = RedisReads(server, True)
        for _ in range(3):
            assert await asyncio.gather(reads.get("a"), reads.get("b")) == [b"a", b"b"]

    run(main())
    assert server.said == [["MGET", "a", "b"], *[["GET", "a"], ["GET", "b"]] * 3]


def test_a_key_that_is_forbidden_is_nobody_elses_failure() -> None:
    a, secret, b = asked(Server(forbids="secret"), "a", "secret", "b")
    assert (a, type(secret), b) == (b"a", ResponseError, b"b")


def test_a_server_that_refuses_everything_for_a_while_is_asked_at_once_again() -> None:
    server = Server(forbids="a")

    async def main() -> None:
        reads = RedisReads(server, True)
        for _ in range(2):
            await asyncio.gather(reads.get("a"), reads.get("a"), return_exceptions=True)

    run(main())
    assert [command[0] for command in server.said] == ["MGET", "GET", "GET"] * 2


@pytest.mark.parametrize("names", [["away"], ["a", "away"]])
def test_a_failure_is_everybodys_who_asked_with_it(names: list[str]) -> None:
    assert [type(each) for each in asked(Server(), *names)] == [Broken] * len(names)


def test_somebody_elses_value_is_no_entry() -> None:
    assert asked(Server(), "list") == [b""]


def test_who_gives_up_leaves_the_others_their_answer() -> None:
    server = Server()

    async def main() -> None:
        reads = RedisReads(server, True)
        gone, stays = asyncio.create_task(reads.get("a")), asyncio.create_task(reads.get("b"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == b"b"
        assert gone.cancelled() or await asyncio.gather(gone, return_exceptions=True)

    run(main())
    assert server.cancelled == 0


def test_when_all_have_given_up_nobody_waits_for_a_frozen_server() -> None:
    server = Server(frozen=True)

    async def main() -> None:
        reads = RedisReads(server, True)
        waiting = [asyncio.create_task(reads.get(name)) for name in "ab"]
        while not server.said:
            await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0.01)
        assert server.cancelled == 0
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert server.cancelled == 1

    run(main())


def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    server = Server()

    async def main() -> None:
        reads = RedisReads(server, True)
        waiting = asyncio.ensure_future(reads.get("a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.01)

    run(main())
    assert server.said == []
