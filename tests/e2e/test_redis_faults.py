"""What a shared store says of a server at fault, and how it goes on: failover, slots that move, processes that die."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import ROOT, free_port
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import StoreError
from mitmproxy_ai_cache.stores.redis import leases
from mitmproxy_ai_cache.stores.redis.store import RedisStore
from valkey import Authority, Cluster, Sentinel, TlsFront, Valkey, WithSentinel, started

pytestmark = pytest.mark.slow


def entry(key: str, body: bytes = b"{}") -> Entry:
    return Entry(key, 1.0, 60, 200, (), "json", body)


def said_at_start(url: str) -> str:
    """The one line, or nothing; the store is asked for an entry as well, which must not raise anything else."""

    async def run() -> str:
        store = RedisStore(url, 0)
        try:
            await store.open()
            return ""
        except StoreError as error:
            with pytest.raises(StoreError):
                await store.get("a" * 64)
            return str(error)
        finally:
            await store.close()

    Settings.parse({"ai_cache_store": url})
    return asyncio.run(run())


class Stage:
    """What the faults need, started once."""

    def __init__(self, folder: Path, server: Valkey) -> None:
        self.authority = Authority(folder / "known")
        self.stranger = Authority(folder / "stranger", "Somebody else")
        self.plain = server.port
        server.tell("ACL", "SETUSER", "reader", "on", ">pw", "+get", "~other:*")
        server.tell("ACL", "SETUSER", "app", "on", ">S3cret", "+@all", "~*")
        self.tls = TlsFront(server.port, self.authority.issue("127.0.0.1"))
        self.misnamed = TlsFront(server.port, self.authority.issue("cache.corp"))
        self.strict = TlsFront(server.port, self.authority.issue("127.0.0.1"), self.authority.ca)
        self.nobody = free_port()
        certificate, key = self.stranger.issue("client")
        self.strangers = f"ssl_certfile={certificate}&ssl_keyfile={key}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("v")
    with started(Valkey(folder / "plain")) as server:
        stage = Stage(folder, server)
        yield stage
        for front in (stage.tls, stage.misnamed, stage.strict):
            front.stop()


FAULTS: dict[str, tuple[Callable[[Stage], str], str]] = {
    "wrong password": (
        lambda on: f"redis://app:S3cret-not@127.0.0.1:{on.plain}",
        r"refuses the password \(.*\); write it into the URL: redis://:PASSWORD@HOST:PORT",
    ),
    "a password where there is none": (lambda on: f"redis://:S3cret@127.0.0.1:{on.plain}", "leave the one in the URL"),
    "no rights": (
        lambda on: f"redis://reader:pw@127.0.0.1:{on.plain}",
        r"gives the rights: ACL SETUSER USER \+get \+set \+del .* ~ai-cache:\*",
    ),
    "an unknown authority": (
        lambda on: f"rediss://127.0.0.1:{on.tls.port}?ssl_ca_certs={on.stranger.ca}",
        r"authority that is not known here; name that with \?ssl_ca_certs=FILE",
    ),
    "no authority named": (lambda on: f"rediss://127.0.0.1:{on.tls.port}", r"name that with \?ssl_ca_certs=FILE"),
    "another name": (
        lambda on: f"rediss://127.0.0.1:{on.misnamed.port}?ssl_ca_certs={on.authority.ca}",
        "certificate for another name .*write the name that it is for",
    ),
    "no client certificate": (
        lambda on: f"rediss://127.0.0.1:{on.strict.port}?ssl_ca_certs={on.authority.ca}",
        r"wants a certificate from you.*\?ssl_certfile=FILE&ssl_keyfile=FILE",
    ),
    "a stranger's client certificate": (
        lambda on: f"rediss://127.0.0.1:{on.strict.port}?ssl_ca_certs={on.authority.ca}&{on.strangers}",
        r"wants a certificate from you.*\?ssl_certfile=FILE&ssl_keyfile=FILE",
    ),
    "TLS to a server without": (lambda on: f"rediss://127.0.0.1:{on.plain}", "no TLS.* write redis://"),
    "no TLS to a server with": (lambda on: f"redis://127.0.0.1:{on.tls.port}", "write rediss://"),
    "nobody there": (lambda on: f"redis://127.0.0.1:{on.nobody}", "does not answer .*refused: nothing listens there"),
    "no such socket": (lambda on: "unix:///nowhere/redis.sock", "does not answer .*[Nn]o such file"),
    "no such host": (lambda on: "redis://nowhere.invalid", "there is no host of that name"),
    "not a cluster": (lambda on: f"redis+cluster://127.0.0.1:{on.plain}", "is no cluster; write redis://"),
    "a cluster that is away": (lambda on: f"redis+cluster://127.0.0.1:{on.nobody}", "does not answer .*refused"),
    "a cluster's wrong password": (
        lambda on: f"redis+cluster://app:S3cret-not@127.0.0.1:{on.plain}",
        "refuses the password",
    ),
    "sentinels that are none": (lambda on: f"redis+sentinel://127.0.0.1:{on.plain}/team", "is no sentinel"),
    "sentinels that are away": (lambda on: f"redis+sentinel://127.0.0.1:{on.nobody}/team", "none of its sentinels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said_in_one_line_with_its_mend_and_without_secrets(fault: str, stage: Stage) -> None:
    url_of, expected = FAULTS[fault]
    url = url_of(stage)
    said = said_at_start(url)
    assert re.search(expected, said), said
    assert said.startswith(re.sub(r"//[^@/]*@", "//", url.partition("?")[0]).removesuffix("/")), said
    assert "\n" not in said
    assert not re.search(r"S3cret|:pw", said), said


def test_a_name_that_is_not_checked_is_no_fault(stage: Stage) -> None:
    url = f"rediss://127.0.0.1:{stage.misnamed.port}?ssl_ca_certs={stage.authority.ca}&ssl_check_hostname=false"
    assert said_at_start(url) == ""


def test_a_service_that_the_sentinels_do_not_know_is_said(stage: Stage, tmp_path: Path) -> None:
    with started(Sentinel(tmp_path / "sentinel", primary=stage.plain)) as sentinel:
        assert said_at_start(f"redis+sentinel://127.0.0.1:{sentinel.port}/team") == ""
        said = said_at_start(f"redis+sentinel://127.0.0.1:{sentinel.port}/tame")
        assert "no healthy service of the name 'tame'" in said
    with started(Sentinel(tmp_path / "locked", ("--requirepass", "s3nt"), primary=stage.plain)) as sentinel:
        assert "?sentinel_password=" in said_at_start(f"redis+sentinel://127.0.0.1:{sentinel.port}/team")
        assert said_at_start(f"redis+sentinel://127.0.0.1:{sentinel.port}/team?sentinel_password=s3nt") == ""
        assert "redis+sentinel://" in said_at_start(f"redis://:s3nt@127.0.0.1:{sentinel.port}")


def test_a_node_of_a_cluster_is_said_to_be_one(tmp_path: Path) -> None:
    with started(Cluster(tmp_path)) as cluster:
        said = [said_at_start(f"redis://127.0.0.1:{node.port}") for node in cluster.nodes]
        assert sum("write redis+cluster://" in one for one in said) == 2  # the third has the slot that is asked for


REFUSALS = {
    "full": (["CONFIG", "SET", "maxmemory", "1"], "out-of-memory", "maxmemory-policy allkeys-lru"),
    "replica": (["REPLICAOF", "127.0.0.1", "1"], "read-only", "is a replica"),
    "no right to write": (["ACL", "SETUSER", "default", "-set"], "rights", "+set"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_takes_no_writes_still_answers_look_ups(
    refusal: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command, kind, mend = REFUSALS[refusal]

    async def run() -> None:
        store = RedisStore(server.url, 0)
        await store.open()
        store.put(entry("a"))
        await store.flushed()
        server.tell(*command)
        for number in range(20):
            store.put(entry(str(number)))
        await store.flushed()
        assert await store.get("a") is not None
        assert (store.dropped, dict(store.failures)) == (20, {kind: 20})
        await store.close()

    with started(Valkey(tmp_path)) as server, caplog.at_level(logging.INFO):
        asyncio.run(run())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ai-cache"]
    assert mend in line


def test_after_a_failover_the_new_primary_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        store = RedisStore(stage.url, 0)
        await store.open()
        store.put(entry("a"))
        await store.flushed()
        await asyncio.sleep(0.1)  # replication is asynchronous
        stage.primary.stop()
        died = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                async with asyncio.timeout(0.25):
                    found = await store.get("a")
                break
            except (StoreError, TimeoutError):
                assert time.monotonic() - asked < 2  # a miss that costs no more than the time of a look-up
            await asyncio.sleep(0.05)
        assert found == entry("a")
        assert time.monotonic() - died < 20
        store.put(entry("b"))
        await store.flushed()
        assert await store.get("b") == entry("b")
        assert stage.replica.tell("ROLE")[0] == b"master"
        await store.close()

    with started(WithSentinel(tmp_path)) as stage, caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert [record.getMessage().partition("team")[2][:15] for record in caplog.records][-1] == " answers again"


def test_no_call_fails_while_slots_move(tmp_path: Path) -> None:
    keys = [f"{number:064x}" for number in range(60)]

    async def run() -> None:
        store = RedisStore(cluster.url, 0)
        await store.open()
        for key in keys:
            store.put(entry(key))
        await store.flushed()
        source, target = cluster.nodes[0], cluster.nodes[1]
        slots = {int(source.tell("CLUSTER", "KEYSLOT", name)) for name in source.tell("KEYS", "ai-cache:*")}
        assert len(slots) > 10
        moving = asyncio.ensure_future(asyncio.to_thread(lambda: [cluster.move(s, source, target) for s in slots]))
        rounds = 0
        while not moving.done() or rounds < 3:
            assert [one is not None for one in await asyncio.gather(*map(store.get, keys))] == [True] * len(keys)
            for key in keys[rounds % 7 :: 7]:
                assert store.put(entry(key))
            assert await store.claim(f"lease {rounds}")
            store.release(f"lease {rounds}")
            rounds += 1
        moving.result()
        await store.flushed()
        assert not source.tell("KEYS", "ai-cache:1:entry:*")
        assert (store.dropped, dict(store.failures)) == (0, {})
        await store.close()

    with started(Cluster(tmp_path)) as cluster:
        asyncio.run(run())


HOLDER = """
import asyncio, sys
from mitmproxy_ai_cache.stores.redis.store import RedisStore

async def run():
    store = RedisStore(sys.argv[1], 0)
    await store.open()
    print(await store.claim("k"), flush=True)
    sys.stdin.readline()
    store.release("k")
    await store.close()

asyncio.run(run())
"""


def holder(url: str) -> subprocess.Popen[str]:
    """A process that claims `k` and says whether it got it; it lets go when it is told, by a line."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "addon")},
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_lease_of_a_process_that_died_is_free_within_ten_seconds(tmp_path: Path) -> None:
    with started(Valkey(tmp_path)) as server:
        first, second = holder(server.url), holder(server.url)
        assert sorted([answer(first), answer(second)]) == ["False", "True"]
        for process in (first, second):
            process.send_signal(signal.SIGKILL)
            process.communicate()
        left = server.tell("PTTL", "ai-cache:1:lease:k")
        assert 0 < left <= leases.LEASE * 1000 == 10_000


def test_a_lease_is_free_at_once_when_it_is_released(tmp_path: Path) -> None:
    with started(Valkey(tmp_path)) as server:
        first = holder(server.url)
        assert answer(first) == "True"
        second = holder(server.url)
        assert answer(second) == "False"
        for process in (first, second):
            process.communicate("\n")
        assert server.tell("EXISTS", "ai-cache:1:lease:k") == 0


def test_a_lease_is_renewed_while_it_is_held_and_never_taken_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE", 2)
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.1)

    async def run() -> None:
        store = RedisStore(server.url, 0)
        await store.open()
        assert await store.claim("k")
        await asyncio.sleep(2.5)
        assert server.tell("PTTL", "ai-cache:1:lease:k") > 0
        server.tell("SET", "ai-cache:1:lease:k", "another's", "PX", "60000")
        await asyncio.sleep(0.3)
        assert server.tell("PTTL", "ai-cache:1:lease:k") > 10_000
        store.release("k")
        await store.flushed()
        assert server.tell("GET", "ai-cache:1:lease:k") == b"another's"
        assert await store.claim("m")
        store.release("m")
        await store.close()
        assert server.tell("EXISTS", "ai-cache:1:lease:m") == 0

    with started(Valkey(tmp_path)) as server:
        asyncio.run(run())


@pytest.mark.parametrize("fault", ["gone", "frozen"])
def test_a_server_at_fault_lets_everybody_fetch_without_delay(fault: str, tmp_path: Path) -> None:
    async def run() -> None:
        store = RedisStore(server.url, 0)
        await store.open()
        server.stop() if fault == "gone" else server.freeze()
        times = []
        for number in range(10):
            began = time.monotonic()
            assert await store.claim(str(number))
            times.append(time.monotonic() - began)
            store.release(str(number))
        assert statistics.median(times) < 0.4
        assert min(times[7:]) < 0.05  # then the breaker is open
        with pytest.raises(StoreError):
            await store.purge("n")
        server.stop()
        await store.close(0.5)

    with started(Valkey(tmp_path)) as server:
        asyncio.run(run())
