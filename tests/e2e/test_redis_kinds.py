"""The shared store on every kind of server it takes: real ones, as processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores.redis import generations, near
from mitmproxy_ai_cache.stores.redis.errors import RIGHTS
from mitmproxy_ai_cache.stores.redis.store import RedisStore
from valkey import Authority, Cluster, TlsFront, Valkey, WithSentinel, started

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient_stores")]

KINDS = ["one", "database", "unix", "acl", "tls", "client certificate", "sentinel", "cluster", "tls cluster"]
PLENTY = 1 << 20


def entry(key: str, namespace: str = "", body: bytes = b'{"a":1}', issued: str = "", ttl: float = 60) -> Entry:
    return Entry(key, 1.0, ttl, 200, (), "json", body, b"question " * 500, namespace=namespace, issued=issued)


class Servers:
    """Each is started when a test first wants it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.url = cache(self._url)

    def _one(self, name: str, *options: str) -> Valkey:
        return self._stack.enter_context(started(Valkey(self._folder / name.replace(" ", "-"), options)))

    def _front(self, target: int, authority: Authority, clients: bool = False) -> int:
        front = TlsFront(target, authority.issue("127.0.0.1"), authority.ca if clients else None)
        self._stack.callback(front.stop)
        return front.port

    def _url(self, kind: str) -> str:
        authority = Authority(self._folder / kind.replace(" ", "-"))
        if kind == "unix":
            socket = self._folder / "sock"
            self._one(kind, "--unixsocket", str(socket))
            return f"unix://{socket}?db=2"
        if kind == "sentinel":
            return self._stack.enter_context(started(WithSentinel(self._folder / kind))).url
        if kind.endswith("cluster"):
            announce = (lambda port: self._front(port, authority)) if kind.startswith("tls") else (lambda port: port)
            cluster = self._stack.enter_context(started(Cluster(self._folder / kind.replace(" ", "-"), announce)))
            for node in cluster.nodes:
                node.tell("ACL", "SETUSER", "app", "on", ">p@ss", *RIGHTS.split(), "+cluster", "+command")
            url = cluster.url.replace("://", "://app:p%40ss@")
            return f"{url}?ssl_ca_certs={authority.ca}".replace("redis", "rediss", 1) if "tls" in kind else url
        server = self._one(kind)
        if kind == "acl":
            server.tell("ACL", "SETUSER", "app", "on", ">p@ss", *RIGHTS.split())
            server.tell("ACL", "SETUSER", "default", "off")
            return server.url.replace("://", "://app:p%40ss@")
        if kind == "tls":
            return f"rediss://127.0.0.1:{self._front(server.port, authority)}?ssl_ca_certs={authority.ca}"
        if kind == "client certificate":
            certificate, key = authority.issue("client")
            port = self._front(server.port, authority, clients=True)
            mine = f"ssl_certfile={certificate}&ssl_keyfile={key}"
            return f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.ca}&{mine}"
        return server.url + ("/3" if kind == "database" else "")

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("v"))
    yield servers
    servers.close()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, servers: Servers) -> str:
    return str(servers.url(request.param))


@contextlib.asynccontextmanager
async def opened(url: str, near_size: int = PLENTY) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, near_size)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def with_two(url: str, steps: Callable[[RedisStore, RedisStore], Awaitable[None]], near_size: int = PLENTY) -> None:
    """Two stores are what two processes have: nothing is shared but the server. It begins empty."""

    async def run() -> None:
        async with opened(url, near_size) as one, opened(url, near_size) as other:
            async for found in one.entries():
                one.remove(found.key, found.namespace)
            await one.flushed()
            await steps(one, other)
            assert one.dropped + other.dropped == 0
            assert not one.failures + other.failures

    asyncio.run(run())


async def left(store: RedisStore, *names: str) -> list[str]:
    """Which of `NAMESPACE/KEY` are there."""
    return [name for name in names if await store.get(name.partition("/")[2], name.partition("/")[0]) is not None]


def test_another_process_finds_what_was_put(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        spaces = ("", "n/s \u00e9")
        kept = [entry(f"{n:063x}{i}", space, b"x" * 5000) for n in range(20) for i, space in enumerate(spaces)]
        for found in kept:
            assert one.put(found)
        await one.flushed()
        for found in kept:
            assert await other.get(found.key, found.namespace) == replace(found, request=b"")
        assert sorted([found async for found in other.entries()], key=repr) == sorted(kept, key=repr)
        assert await other.count() >= len(kept)

    with_two(url, steps)


def test_removed_here_is_gone_at_once_and_there_within_the_near_cache(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        one.put(entry("a1"))
        one.put(entry("a2"))
        await one.flushed()
        assert await left(one, "/a1", "/a2") == await left(other, "/a1", "/a2") == ["/a1", "/a2"]
        one.remove("a1")
        assert await left(one, "/a1", "/a2") == ["/a2"]
        await one.flushed()
        assert await left(one, "/a1", "/a2") == ["/a2"]
        monkeypatch.setattr(near, "FRESH", 0.0)
        monkeypatch.setattr(generations, "FRESH", 0.0)
        assert await left(other, "/a1", "/a2") == ["/a2"]

    with_two(url, steps)


def test_the_entry_that_issued_an_id_goes_with_it(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        for key in ("b1", "b2"):
            one.put(entry(key, "n", issued=f"resp_{key}"))
        await one.flushed()
        assert await left(other, "n/b1", "n/b2") == ["n/b1", "n/b2"]
        other.remove_issuer("resp_b1")
        other.remove_issuer("resp_unknown")
        await other.flushed()
        assert await left(other, "n/b1", "n/b2") == ["n/b2"]
        one.put(entry("b3", issued="resp_b3"))
        one.remove_issuer("resp_b3")  # still waits to be written
        assert await left(one, "/b3") == []
        await one.flushed()
        assert await left(one, "/b3") == []

    with_two(url, steps, near_size=0)


def test_a_purged_namespace_is_empty_and_the_others_are_not(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        names = ("x/c1", "x/c2", "y/c3", "/c4")
        for name in names:
            one.put(entry(name.partition("/")[2], name.partition("/")[0]))
        await one.flushed()
        assert await left(other, *names) == list(names)
        one.put(entry("c5", "x"))
        await one.purge("x")  # with one write on its way
        assert await left(one, *names, "x/c5") == ["y/c3", "/c4"]
        one.put(entry("c6", "x"))
        assert await left(one, *names, "x/c5", "x/c6") == ["y/c3", "/c4", "x/c6"]
        await one.flushed()
        monkeypatch.setattr(generations, "FRESH", 0.0)
        assert await left(other, *names, "x/c5", "x/c6") == ["y/c3", "/c4", "x/c6"]
        assert {found.key async for found in other.entries()} == {"c3", "c4", "c6"}

    with_two(url, steps)


def test_one_of_two_processes_gets_the_lease(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        assert await one.claim("d1")
        assert not await other.claim("d1")
        assert not await one.claim("d1")
        assert await other.claim("d2")
        other.release("d1")  # not theirs
        await other.flushed()
        assert not await other.claim("d1")
        one.put(entry("d1"))
        one.release("d1")
        while not await other.claim("d1"):
            await asyncio.sleep(0)
        assert await left(other, "/d1") == ["/d1"]  # what was put before the release is there

    with_two(url, steps)


@pytest.mark.parametrize("url", ["one", "tls", "sentinel", "cluster"], indirect=True)
def test_a_thousand_look_ups_at_once_wait_for_their_connection(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        for number in range(50):
            one.put(entry(f"e{number}"))
        await one.flushed()
        found = await asyncio.gather(*(other.get(f"e{number % 50}") for number in range(1000)))
        assert [one.key for one in found if one is not None] == [f"e{number % 50}" for number in range(1000)]
        assert not other._state.is_away

    with_two(url, steps, near_size=0)


@pytest.mark.parametrize("url", ["one", "cluster"], indirect=True)
def test_look_ups_that_wait_too_long_for_each_other_are_no_fault_of_the_server(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        async def look_up(number: int) -> bool:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await other.get(str(number))
                    return True
            return False

        in_time = await asyncio.gather(*(look_up(number) for number in range(15_000)))
        assert not all(in_time)  # a fast machine does some thousand in that time
        assert not other._state.is_away
        assert await other.get("0") is None
        other.failures.clear()

    with_two(url, steps, near_size=0)


@pytest.mark.parametrize("url", ["one", "cluster"], indirect=True)
def test_a_look_up_that_was_given_up_leaves_its_answer_to_nobody(url: str) -> None:
    async def steps(one: RedisStore, other: RedisStore) -> None:
        for number in range(30):
            one.put(entry(f"f{number}", body=b"%d" % number * 3000))
        await one.flushed()
        for wait in range(40):
            looking = [asyncio.ensure_future(other.read(f"f{number}")) for number in range(30)]
            await asyncio.sleep(wait / 4000)
            for task in looking[::2]:
                task.cancel()
            await asyncio.wait(looking)
            for number, task in enumerate(looking):
                if not task.cancelled() and task.exception() is None:
                    packed = task.result()
                    assert packed is not None
                    assert Entry.unpack(packed).key == f"f{number}"
        other.failures.clear()

    with_two(url, steps, near_size=0)
