"""The scenarios' tool: subjects, load, and figures of what was measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from . import load, wrk
from .figures import Figure, Goal, Sample, in_turns, ratios
from .subjects import Proxy, Stage


@dataclass
class Bench:
    stage: Stage
    rounds: int
    seconds: float
    """Of one measurement."""

    def hits(
        self, subjects: Sequence[Proxy], body: bytes, protocol: str = "plain", connections: int = 16
    ) -> list[list[Sample]]:
        """The samples of each subject, measured in turns. Whoever caches has the answer beforehand.

        A turn is a second, so that there are more of them in the same time: the clocks of machines change.
        """
        for proxy in subjects:
            self.warm(proxy, body, protocol)
        turns = max(1, int(self.seconds))
        measures = {
            str(number): partial(self._hits, proxy, body, protocol, connections, self.seconds / turns)
            for number, proxy in enumerate(subjects)
        }
        return list(in_turns(self.rounds * turns, measures).values())

    def _hits(self, proxy: Proxy, body: bytes, protocol: str, connections: int, seconds: float) -> Sample:
        if protocol == "plain" and wrk.is_there():
            folder = self.stage.folder
            sample = wrk.measure(folder, proxy.port, [proxy.pid], body.decode(), connections, seconds)
        else:
            sample = self.load(proxy, body, protocol, connections=connections, seconds=seconds)
        if sample.failed:
            raise SystemExit(f"ai-cache: bench: {proxy.name} gave {sample.failed} answers that are no 200")
        return sample

    def warm(self, proxy: Proxy, body: bytes, protocol: str) -> None:
        """Ask a few times; the answer of a proxy that caches must then come from its store."""
        over = "tls" if protocol == "h2" else protocol
        self.load(proxy, body, over, requests=3)
        sample = self.load(proxy, body, over, connections=4, requests=200)
        caches = "serve" in proxy.name or "addon" in proxy.name
        if sample.failed or (caches and sample.hits != sample.requests):
            raise SystemExit(
                f"ai-cache: bench: of {proxy.name} {sample.requests} hits were expected, it gave {sample.hits}, "
                f"and {sample.failed} answers that are no 200"
            )

    def load(self, proxy: Proxy, body: bytes, protocol: str = "tls", **more: float) -> Sample:
        """Our own load; `more`: fields of `load.Spec`."""
        return self.load_at(proxy.port, [proxy], body, protocol, **more)

    def load_at(
        self, port: int, proxies: Sequence[Proxy], body: bytes, protocol: str = "plain", **more: float
    ) -> Sample:
        """The same for `proxies` that are reached at `port`."""
        pids = tuple(each.pid for each in proxies)
        settings: dict[str, float] = {"seconds": 0.0 if "requests" in more else self.seconds, **more}
        return load.measure(
            load.Spec((port,), pids, body.decode(), protocol, ca=str(proxies[0].ca), **settings)  # type: ignore[arg-type]
        )


def per_second(sample: Sample) -> float:
    return sample.per_second


def per_cpu(sample: Sample) -> float:
    """Requests per CPU second of the proxy."""
    return 1 / sample.cpu_each


def throughput(name: str, subject: Sequence[Sample], baseline: Sequence[Sample], goal: float | None = None) -> Figure:
    """Requests a second of `subject` to those of `baseline`."""
    ours, theirs = (median(map(per_second, samples)) for samples in (subject, baseline))
    share = max(sample.load_share for sample in (*subject, *baseline))
    return Figure(
        name,
        ratios(subject, baseline, per_second),
        Goal(goal) if goal else None,
        ratios(subject, baseline, per_cpu),
        f"{ours:.0f}/s to {theirs:.0f}/s, load took {share:.0%} of a core",
        {"subject": subject, "baseline": baseline},
    )


def times(
    name: str,
    subject: Sequence[Sample],
    baseline: Sequence[Sample],
    value: Callable[[Sample], float],
    goal: float | None = None,
) -> Figure:
    """A time of `subject` to that of `baseline`."""
    ours, theirs = (median(map(value, samples)) * 1000 for samples in (subject, baseline))
    return Figure(
        name,
        ratios(subject, baseline, value),
        Goal(goal, at_most=True) if goal else None,
        note=f"{ours:.3g} ms to {theirs:.3g} ms",
        rounds={"subject": subject, "baseline": baseline},
    )


Scenario = Callable[[Bench], Iterator[Figure]]

SCENARIOS: dict[str, Scenario] = {}
QUICK: list[str] = []
"""Those that fill the main table."""


def scenario(name: str, quick: bool = False) -> Callable[[Scenario], Scenario]:
    def register(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        if quick:
            QUICK.append(name)
        return function

    return register
