"""Two proxies on one Redis behind a balancer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from . import wrk
from .figures import Figure, Sample, in_turns
from .machine import cpu_of
from .material import KB, chat
from .scenario import Bench, scenario, throughput
from .subjects import Proxy

SMALL = chat(2 * KB)
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class _Spent:
    """CPU seconds of one measurement, and what came of them."""

    sample: Sample
    balancer: float
    redis: float

    def line(self) -> str:
        """Milliseconds a request, by who spent them."""
        each = 1000 / self.sample.requests
        return (
            f"proxies {self.sample.cpu * each:.2f}, balancer {self.balancer * each:.2f}, "
            f"Redis {self.redis * each:.2f}, load {self.sample.load_cpu * each:.2f}"
        )

    @property
    def bound(self) -> float:
        """The most that two cores could make of this, against one proxy that has a core to itself."""
        whole = self.sample.cpu + self.balancer + self.redis + self.sample.load_cpu
        return 2 * self.sample.cpu / whole


@scenario("two-proxies")
def two_proxies(bench: Bench) -> Iterator[Figure]:
    """Two proxies on one Redis behind HAProxy (apt install haproxy) against one proxy, near cache on and off."""
    if shutil.which("haproxy") is None:
        raise SystemExit("ai-cache: bench: HAProxy is not installed (apt install haproxy, brew install haproxy)")
    for words, options in {"near cache on": (), "near cache off": ("ai_cache_near_size=0",)}.items():
        redis = bench.stage.valkey()
        pair = [bench.stage.serve(redis.url, *options) for _ in range(2)]
        for proxy in pair:
            bench.warm(proxy, SMALL, "plain")
        balancer = bench.stage.haproxy(pair)

        def measure(port: int, proxies: list[Proxy], balancer: Proxy = balancer, redis: int = redis.pid) -> _Spent:
            before = cpu_of(balancer.pid), cpu_of(redis)
            sample = _load(bench, port, proxies)
            return _Spent(sample, cpu_of(balancer.pid) - before[0], cpu_of(redis) - before[1])

        found = in_turns(
            bench.rounds,
            {
                "one": lambda pair=pair: measure(pair[0].port, pair[:1]),  # type: ignore[misc]
                "two": lambda pair=pair, port=balancer.port: measure(port, pair),  # type: ignore[misc]
            },
        )
        one, two = ([each.sample for each in found[name]] for name in ("one", "two"))
        yield throughput(f"two proxies behind HAProxy to one, Redis, {words}: hits/s", two, one, 1.6)
        bounds = tuple(each.bound for each in found["two"])
        note = f"CPU ms a hit: {found['two'][-1].line()}"
        yield Figure(f"  what two cores allow, {words}", bounds, None, (), note)
        for proxy in (*pair, balancer):
            proxy.end()


def _load(bench: Bench, port: int, proxies: list[Proxy]) -> Sample:
    """Counts the CPU time of `proxies`, whoever is asked for them."""
    pids = [proxy.pid for proxy in proxies]
    if wrk.is_there():
        found = wrk.measure(bench.stage.folder, port, pids, SMALL.decode(), _CONNECTIONS, bench.seconds)
    else:
        found = bench.load_at(port, proxies, SMALL, connections=_CONNECTIONS)
    if found.failed:
        raise SystemExit(f"ai-cache: bench: {found.failed} answers were no 200")
    return found
