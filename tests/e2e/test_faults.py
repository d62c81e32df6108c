"""One cache for a team has to make things faster when it works, and to cost nothing when it does not.

Each fault of the server meets a proxy under way. The same calls go, in turn, to a second proxy whose store is in its
own memory: the same work but for the server, so the difference is what the fault costs. All calls are distinct: all
are misses. They are no streams, which ask the server twice: for the entry, and for the right to fetch it.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from harness import Client, FakeProviders, Got, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from relay import Relay
from valkey import Cluster, Valkey, WithSentinel, started

MODELS = "http://models.example/v1/chat/completions"
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
PAIRS = 300
"""Calls to each of the two proxies while a fault lasts."""
OPENED = re.compile(r"calls go on as misses until")


@dataclass(frozen=True)
class Stage:
    """A server at `url`, what brings the fault about and what ends it. `servers`: each that may hold an entry."""

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]
    servers: tuple[Valkey, ...]
    opens: bool = True
    """Whether the breaker opens. Where the server answers look-ups they are made, and cost what they always cost."""
    over: Callable[[], bool] = lambda: False
    """Whether the fault has ended by itself."""


@contextmanager
def no_fault(folder: Path) -> Iterator[Stage]:
    with started(Valkey(folder)) as server:
        yield Stage(server.url, lambda: None, lambda: None, (server,), opens=False)


@contextmanager
def frozen(folder: Path) -> Iterator[Stage]:
    with started(Valkey(folder)) as server:
        yield Stage(server.url, server.freeze, server.thaw, (server,))


@contextmanager
def dead(folder: Path) -> Iterator[Stage]:
    with started(Valkey(folder)) as server:
        yield Stage(server.url, server.stop, server.start, (server,))


@contextmanager
def relayed(folder: Path, name: str, value: float) -> Iterator[Stage]:
    with started(Valkey(folder)) as server:
        relay = Relay(server.port)
        yield Stage(relay.url, lambda: setattr(relay, name, value), lambda: setattr(relay, name, 0), (server,))
        relay.stop()


@contextmanager
def out_of_memory(folder: Path) -> Iterator[Stage]:
    with started(Valkey(folder, ("--maxmemory-policy", "noeviction"))) as server:

        def limit(size: int) -> None:
            server.tell("CONFIG", "SET", "maxmemory", size)

        yield Stage(server.url, lambda: limit(1), lambda: limit(0), (server,), opens=False)


@contextmanager
def refuses_the_password(folder: Path) -> Iterator[Stage]:
    with started(Valkey(folder)) as server:

        def takes(password: str) -> None:
            server.tell("ACL", "SETUSER", "app", "on", "resetpass", f">{password}", "+@all", "~*")

        def change() -> None:
            takes("new")
            server.tell("CLIENT", "KILL", "USER", "app")

        takes("old")
        url = server.url.replace("://", "://app:old@")
        yield Stage(url, change, lambda: takes("old"), (server,))


@contextmanager
def failing_over(folder: Path) -> Iterator[Stage]:
    """The fault is over when the replica takes writes."""
    with started(WithSentinel(folder)) as servers:

        def promoted() -> bool:
            return bool(servers.replica.tell("ROLE")[0] == b"master")

        def wait() -> None:
            while not promoted():
                time.sleep(0.01)

        yield Stage(servers.url, servers.primary.stop, wait, (servers.replica,), over=promoted)


@contextmanager
def resharding(folder: Path) -> Iterator[Stage]:
    """All slots of one node are handed over to the next while clients go on, a third of all there are."""
    with started(Cluster(folder)) as cluster:
        moving = threading.Thread(target=_hand_over, args=(cluster.nodes[0], cluster.nodes[1], range(5461)))
        over = lambda: not moving.is_alive()  # noqa: E731
        yield Stage(cluster.url, moving.start, moving.join, tuple(cluster.nodes), opens=False, over=over)
        moving.join()


def _hand_over(source: Valkey, target: Valkey, slots: range) -> None:
    """All begin to move at once, and arrive fifty at a time. A node writes its file once for what comes together."""
    ids = {node.port: node.tell("CLUSTER", "MYID").decode() for node in (source, target)}
    with redis.Redis(port=source.port) as giving, redis.Redis(port=target.port) as taking:
        _set(taking, slots, "IMPORTING", ids[source.port])
        _set(giving, slots, "MIGRATING", ids[target.port])
        for first in range(slots.start, slots.stop, 50):
            some = range(first, min(first + 50, slots.stop))
            for slot in some:
                while keys := giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                    giving.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 2000, "KEYS", *keys)
            _set(taking, some, "NODE", ids[target.port])
            _set(giving, some, "NODE", ids[target.port])
            time.sleep(0.03)  # the node serves meanwhile


def _set(node: redis.Redis, slots: range, state: str, other: str) -> None:
    with node.pipeline(transaction=False) as together:
        for slot in slots:
            together.execute_command("CLUSTER", "SETSLOT", slot, state, other)
        together.execute()


FAULTS: dict[str, Callable[[Path], AbstractContextManager[Stage]]] = {
    "none": no_fault,
    "frozen": frozen,
    "dead": dead,
    "answers garbage": lambda folder: relayed(folder, "babbles", 1),
    "out of memory": out_of_memory,
    "refuses the password": refuses_the_password,
    "500 ms a reply": lambda folder: relayed(folder, "delay", 0.5),
    "sentinel fails over": failing_over,
    "cluster reshards": resharding,
}


@dataclass
class Row:
    """What was seen of one fault; times in seconds. `onset`: before the breaker opened."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)
    onset: list[float] = field(default_factory=list)
    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    recovery: float = 0.0

    @property
    def added(self) -> float:
        return statistics.median(self.here) - statistics.median(self.there)


class Pair:
    """The proxy on the shared store, `here`, and the one without a server, `there`."""

    def __init__(self, here: Client, there: Client) -> None:
        self.row = Row()
        self._here, self._there = here, there
        self._numbers = itertools.count()

    def ask(self) -> tuple[float, float]:
        """A call that nobody made before, to both. Which is first changes each time."""
        number = next(self._numbers)
        clients = [self._here, self._there]
        times = {}
        for client in clients if number % 2 else reversed(clients):
            began = time.perf_counter()
            got = self._send(client, number)
            times[client] = time.perf_counter() - began
            if got is not None and (got.status, got.cache, got.body) != (200, "MISS", ANSWER):
                self.row.failed.append(f"{got.status} {got.cache} {got.body!r}")
        self.row.sent += 1
        return times[self._here], times[self._there]

    def _send(self, client: Client, number: int) -> Got | None:
        body = json.dumps({"model": "m", "messages": [], "seed": number}).encode()
        try:
            return client.request(MODELS, body)
        except (OSError, http.client.HTTPException) as error:
            self.row.failed.append(repr(error))
            client.close()
            return None

    def put_and_get(self) -> str:
        """The key of an answer that is put and then a hit, or nothing."""
        number = next(self._numbers)
        self._send(self._here, number)
        got = self._send(self._here, number)
        return got.headers["x-ai-cache-key"] if got is not None and got.cache == "HIT" else ""


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, Row]]:
    rows: dict[str, Row] = {}
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n\n" + _text(rows))


def _text(rows: dict[str, Row]) -> str:
    """Milliseconds, but for the recovery."""
    lines = [
        "Calls to a proxy on a shared server at fault, and in turn to one with ai_cache_store=memory:; all misses.",
        f"{'':<22}{'calls':>6}{'failed':>7}  {'before the breaker':>18}  {'p50 (ms)':>15}  {'p99 (ms)':>15}"
        f"{'ratio':>7}{'added':>8}{'added':>8}{'recovery':>10}",
        f"{'fault':<22}{'':>13}  {'calls':>9}{'max ms':>9}  {'shared':>8}{'alone':>7}  {'shared':>8}{'alone':>7}"
        f"{'p50':>7}{'p50 ms':>8}{'p99 ms':>8}{'s':>10}",
    ]
    for name, row in rows.items():
        here, there = sorted(row.here), sorted(row.there)
        (p50, p99), (q50, q99) = ((_at(times, 0.5), _at(times, 0.99)) for times in (here, there))
        lines.append(
            f"{name:<22}{row.sent:>6}{len(row.failed):>7}  {len(row.onset):>9}{max(row.onset, default=0) * 1000:>9.0f}"
            f"  {p50:>8.2f}{q50:>7.2f}  {p99:>8.2f}{q99:>7.2f}{p50 / q50:>7.2f}{p50 - q50:>8.2f}{p99 - q99:>8.2f}"
            f"{row.recovery:>10.2f}"
        )
    return "\n".join(lines)


def _at(times: list[float], share: float) -> float:
    """In milliseconds."""
    return times[min(len(times) - 1, int(len(times) * share))] * 1000


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_no_call_costs_no_time_and_is_over_within_seconds(
    fault: str,
    providers: FakeProviders,
    start: Callable[..., Process],
    client_of: Callable[[Process], Client],
    table: dict[str, Row],
    tmp_path: Path,
) -> None:
    providers.answer = lambda request: Reply([ANSWER])
    with FAULTS[fault](tmp_path / "servers") as stage:
        proxy = start(f"ai_cache_store={stage.url}", "ai_cache_near_size=0")
        pair = Pair(client_of(proxy), client_of(start("ai_cache_store=memory:")))
        for _ in range(50):
            pair.ask()
        row = table[fault] = pair.row
        row.sent = 0
        stage.begin()
        while stage.opens and not any(map(OPENED.search, proxy.lines)):
            row.onset.append(pair.ask()[0])
            assert len(row.onset) < 50, "the breaker does not open\n" + "\n".join(proxy.lines[-20:])
        while len(row.here) < PAIRS and not (len(row.here) % 10 == 0 and stage.over()):
            here, there = pair.ask()
            row.here.append(here)
            row.there.append(there)
        stage.end()
        row.recovery = _until_kept(pair, stage.servers)
    assert not row.failed, "\n".join([*row.failed, *proxy.lines[-40:]])
    assert row.recovery < 5
    assert row.added < 0.005, "\n" + _text({fault: row})


def _until_kept(pair: Pair, servers: tuple[Valkey, ...]) -> float:
    """Seconds until an answer is a hit and on a server, so that the whole team has it."""
    ended = time.monotonic()
    while time.monotonic() - ended < 15:
        key = pair.put_and_get()
        for server in servers if key else ():
            with contextlib.suppress(redis.RedisError):
                if server.tell("KEYS", f"ai-cache:1:entry:*:{key}*"):
                    return time.monotonic() - ended
        time.sleep(0.05)
    raise AssertionError("no answer is kept any more")
