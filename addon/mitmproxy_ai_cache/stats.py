"""What happened: one log line per call, and the counts the exit summary is made of."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from . import replay, units
from .exchange import Exchange
from .protocols.base import Ending

logger = logging.getLogger("ai-cache")

_REMEMBERED = 100_000
"""Keys whose hits are counted. Who serves more is not helped by one more line in a summary."""

SAMPLED_OFTEN = 3
"""One answer served this often to a call that samples deserves a word in the summary."""


_EXPLAINED = 100
"""Refused calls that a report tells of."""


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that a replay has no answer for."""

    line: str
    explanation: tuple[str, ...]


class Stats:
    """Counts of a proxy's life."""

    def __init__(self, store_failures: Counter[str] | None = None) -> None:
        self.store_failures = Counter() if store_failures is None else store_failures
        """What went wrong with the store, by kind; the store counts it."""
        self.calls = 0
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        """(status, reason)"""
        self.stored = 0
        self.not_stored: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Requests that a replay or `fail_mode` refused, by host."""
        self.missed = 0
        """Calls that were refused."""
        self.misses: list[RefusedCall] = []
        """The first ones of them."""
        self.tokens: Counter[str] = Counter()
        """Token endpoints that were answered here, by host."""
        self.refused_upgrades = 0
        self.connections = 0
        """Connections of clients to the proxy."""
        self.tunnels: Counter[str] = Counter()
        """Connections that were let through unread, by host."""
        self.distrust: Counter[str] = Counter()
        """Clients that did not trust our certificate, by host."""
        self.saved_seconds = 0.0
        self.saved_tokens = 0
        self._served: Counter[str] = Counter()

    def hit(self, exchange: Exchange) -> None:
        """Answered from an entry, fresh or stale."""
        self._count(exchange)
        entry = exchange.entry
        assert entry is not None
        if exchange.samples and (exchange.key in self._served or len(self._served) < _REMEMBERED):
            self._served[exchange.key] += 1
        self.saved_tokens += entry.input_tokens + entry.output_tokens
        self.saved_seconds += max(0.0, entry.total - exchange.seconds())
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", describe(exchange, f"age {units.human_duration(exchange.age)}"))

    def followed(self, exchange: Exchange, ending: Ending) -> None:
        """Answered from the stream of an identical call in flight."""
        self._count(exchange)
        logger.info("%s", describe(exchange, "live" if ending is not Ending.ABORTED else "broke off"))

    def forwarded(self, exchange: Exchange, kept: str) -> None:
        """`kept`: `stored`, or why not."""
        self._count(exchange)
        if kept == "stored":
            self.stored += 1
            if exchange.scope is not None:
                exchange.scope.stored += 1
        elif exchange.status != "BYPASS":
            self.not_stored[kept] += 1
        note = kept if kept in ("stored", "") else f"not stored: {kept}"
        logger.info("%s", describe(exchange, "" if exchange.status == "BYPASS" else note))

    def answered_locally(self, host: str) -> None:
        """A token endpoint that a replay answered itself."""
        _count_bounded(self.tokens, host)

    def refusal(self, exchange: Exchange, explanation: Sequence[str] = ()) -> None:
        """An error of our own: a miss in replay, `only-if-cached`, a host that is not let through."""
        if exchange.scope is not None and exchange.call is not None:
            exchange.scope.miss(describe(exchange, "refused"), explanation)
        elif exchange.scope is not None:
            exchange.scope.refuse(exchange.request.host)
        self.missed += exchange.call is not None
        if exchange.call is not None and len(self.misses) < _EXPLAINED:
            self.misses.append(RefusedCall(describe(exchange, "refused"), tuple(explanation)))
        if exchange.call is not None:
            self._count(exchange)
        else:
            _count_bounded(self.refused, exchange.request.host)
        level = logging.INFO if exchange.reason == "side-traffic" else logging.WARNING
        logger.log(level, "%s", "\n  ".join([describe(exchange, "refused"), *explanation]))

    def tunnelled(self, host: str) -> None:
        """A connection that is not read. Its host and the count are all that is ever said of it."""
        _count_bounded(self.tunnels, host)

    def distrusted(self, host: str) -> None:
        """A client that broke off the handshake over our certificate."""
        first = host not in self.distrust
        _count_bounded(self.distrust, host)
        if first:
            logger.warning(
                "ai-cache: a client does not trust our certificate for %s; ai-cache doctor and certs.md help",
                replay.printable(host),
            )

    def upgrade_refused(self, host: str, path: str) -> None:
        """A WebSocket that was answered with 426."""
        self.refused_upgrades += 1
        logger.info("ai-cache: REFUSED WebSocket to %s%s", replay.printable(host), replay.printable(path))

    def _count(self, exchange: Exchange) -> None:
        self.calls += 1
        self.statuses[exchange.status] += 1
        if exchange.scope is not None:
            exchange.scope.count(exchange.status)
        if exchange.reason:
            self.reasons[exchange.status, exchange.reason] += 1

    def summary(self) -> list[str]:
        """A few lines for a person."""
        if not self.calls and not self.refused:
            return ["no AI calls seen", *self._aside()]
        counts = ", ".join(
            f"{self.statuses[name]} {name}"
            for name in ("HIT", "MISS", "BYPASS", "REFRESH", "STALE")
            if self.statuses[name]
        )
        lines = [f"{self.calls} AI {'call' if self.calls == 1 else 'calls'}: {counts or 'none'}; {self.stored} stored"]
        if self.saved_seconds >= 0.05:
            lines[0] += f"; saved {self._savings()}"
        lines += [
            f"  {status} {reason}: {count}"
            for (status, reason), count in self.reasons.most_common()
            if reason != "no-entry"
        ]
        lines += [f"  not stored, {reason}: {count}" for reason, count in self.not_stored.most_common()]
        if self.store_failures:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self.store_failures.most_common())
            lines.append(f"  store failures: {kinds}")
        lines += [
            f"  refused {replay.printable(host)}: {count}; to let it through add --allow-host {replay.printable(host)}"
            for host, count in self.refused.most_common(10)
        ]
        if self.refused_upgrades:
            lines.append(f"  WebSocket upgrades refused: {self.refused_upgrades} (clients go on over HTTP)")
        often = sum(1 for count in self._served.values() if count >= SAMPLED_OFTEN)
        if often:
            lines.append(
                f"  one answer served {SAMPLED_OFTEN} times or more to a call that samples: {often} "
                "(for evals or best-of-n set ai_cache_samples=N)"
            )
        return lines + self._aside()

    def _aside(self) -> list[str]:
        """What was not read, and whose trust is missing."""
        lines = []
        if self.tunnels:
            hosts = ", ".join(f"{replay.printable(host)} ({count})" for host, count in self.tunnels.most_common(8))
            more = f" and {len(self.tunnels) - 8} more" if len(self.tunnels) > 8 else ""
            lines.append(f"  passed unread: {hosts}{more}; to cache one of them add --hosts HOST")
        if self.distrust:
            hosts = ", ".join(f"{replay.printable(host)} ({count})" for host, count in self.distrust.most_common(8))
            lines.append(f"  not trusted by the client: {hosts}; see certs.md or ai-cache doctor")
        return lines

    def as_json(self) -> dict[str, object]:
        """The report of a run."""
        return {
            "calls": self.calls,
            "statuses": dict(self.statuses),
            "reasons": {f"{status} {reason}": count for (status, reason), count in self.reasons.items()},
            "stored": self.stored,
            "not_stored": dict(self.not_stored),
            "store_failures": dict(self.store_failures),
            "saved": {"tokens": self.saved_tokens, "seconds": round(self.saved_seconds, 3)},
            "refused": dict(self.refused),
            "misses": [{"call": miss.line, "explanation": list(miss.explanation)} for miss in self.misses],
            "passed_unread": dict(self.tunnels),
            "not_trusted": dict(self.distrust),
        }

    def _savings(self) -> str:
        waiting = f"{units.human_duration(self.saved_seconds)} of waiting"
        return f"{self.saved_tokens:,} tokens and {waiting}" if self.saved_tokens else waiting


def _count_bounded(counter: Counter[str], name: str) -> None:
    """Names come from strangers: there are at most a thousand of them."""
    counter[name if name in counter or len(counter) < 1000 else "others"] += 1


def describe(exchange: Exchange, note: str) -> str:
    """The log line of a call. Everything a client or provider chose is made printable."""
    call = exchange.call
    request = exchange.request
    words = [f"ai-cache: {exchange.status or 'PASS'}"]
    if exchange.key:
        words.append(replay.short(exchange.key))
    if call is not None and call.protocol.name != "exchange":
        words += [call.protocol.name, replay.printable(call.model or "-", 60), "stream" if call.stream else "whole"]
        words.append(replay.printable(request.host, 80))
    else:
        words += [replay.printable(request.method, 10), replay.printable(request.url)]
    if exchange.reason and exchange.reason != "no-entry":
        words.append(f"({replay.printable(exchange.reason)})")
    if exchange.status_code and exchange.status_code != 200:
        words.append(str(exchange.status_code))
    words.append(units.human_duration(exchange.seconds()))
    if note:
        words.append(note)
    return " ".join(words)
