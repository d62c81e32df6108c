"""What happened: one log line per call, and the counts that the exit summary, the page and the metrics are made of."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..calls.exchange import Exchange
from ..calls.flight import LiveStream
from ..calls.outcomes import STORED, Outcomes
from ..calls.reasons import Reason, Status
from ..entries.entry import Entry
from ..entries.usage import NONE, Usage
from ..protocols.base import Ending
from ..redact.entries import hidden_url
from ..wire import units
from ..wire.messages import Request
from ..wire.safe_text import one_line
from . import log_line, savings
from .histogram import CALL, LOOK_UP, Histogram
from .recent_calls import Recent
from .savings import Ledger, Row, Saved

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


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of a proxy's life, the same wherever they are shown."""

    calls: int
    hits: int
    """Collapsed ones included, stale ones not."""
    stale: int
    collapsed: int
    misses: int
    refreshed: int
    bypassed: int
    stored: int
    refused: int
    """Calls without an answer in a replay, and requests that were not let through."""
    saved: Saved


class Stats(Outcomes):
    """Counts of a proxy's life. The event loop counts, any thread may look."""

    def __init__(self, store_failures: Counter[str] | None = None, dropped: Callable[[], int] = lambda: 0) -> None:
        self.json_lines = False
        """Whether a call is logged as a JSON object."""
        self.ledger = Ledger()
        self.look_ups = Histogram(LOOK_UP)
        self.durations: dict[str, Histogram] = {}
        """Of calls, by status."""
        self.store_failures = Counter() if store_failures is None else store_failures
        """What went wrong with the store, by kind; the store counts it."""
        self.dropped = dropped
        """How many writes the store gave up, at once or later."""
        self.calls = 0
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        """(status, reason)"""
        self.stored = 0
        """What the store took; it may give some of it up later, see `kept`."""
        self.not_stored: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Requests that a replay or `fail_mode` refused, by host."""
        self.missed = 0
        """Calls that were refused."""
        self.misses: list[RefusedCall] = []
        """The first ones of them."""
        self.tokens: Counter[str] = Counter()
        """Token endpoints that were answered here, by host."""
        self.not_recordable: list[str] = []
        """The first calls that are too large to record, each with what is."""
        self.refused_upgrades = 0
        self.connections = 0
        """Connections of clients to the proxy."""
        self.tunnels: Counter[str] = Counter()
        """Connections that were let through unread, by host."""
        self.distrust: Counter[str] = Counter()
        """Clients that did not trust our certificate, by host."""
        self.unwritten: list[str] = []
        """Answers that were not recorded, for a secret could not be taken out of them."""
        self._served: Counter[str] = Counter()
        self.recent = Recent()
        """The last calls, for the status page."""

    def hit(self, exchange: Exchange) -> None:
        """Answered from an entry, fresh or stale."""
        row = self._count(exchange)
        entry = exchange.entry
        assert entry is not None
        if exchange.samples and (exchange.key in self._served or len(self._served) < _REMEMBERED):
            self._served[exchange.key] += 1
        sooner = max(0.0, entry.total - exchange.seconds())
        self.ledger.save(row, entry, exchange.request.host, sooner)
        self.recent.add(exchange, "", entry.input_tokens + entry.output_tokens)
        if logger.isEnabledFor(logging.INFO):
            self._log(exchange, f"age {units.human_duration(exchange.answered.age)}", entry.usage, sooner)

    def followed(self, exchange: Exchange, ending: Ending) -> None:
        """Answered from the stream of an identical call in flight. What that saved is known when the stream has landed:
        the provider counts at its end, and the entry says what."""
        row = self._count(exchange)
        self.recent.add(exchange)
        self._log(exchange, "live" if ending is not Ending.ABORTED else "broke off")
        if ending is not Ending.ABORTED and exchange.answered.follower is not None:
            stream = exchange.answered.follower.stream
            if stream.landed is not None:
                self._saved_by_following(exchange, row, stream.landed)
            else:
                stream.to_land.append(lambda entry: self._saved_by_following(exchange, row, entry))

    def _saved_by_following(self, exchange: Exchange, row: Row, entry: Entry) -> None:
        self.ledger.save(row, entry, exchange.request.host, max(0.0, entry.total - exchange.seconds()))

    def forwarded(self, exchange: Exchange, kept: str, entry: Entry | None = None) -> None:
        """`kept`: `stored`, or why not; `entry`: what the answer came to, if it is one."""
        self._count(exchange)
        if kept == STORED:
            self.stored += 1
            if exchange.scope is not None:
                exchange.scope.stored += 1
        elif exchange.status is not Status.BYPASS:
            self.not_stored[kept] += 1
        note = kept if kept in (STORED, "") else f"not stored: {kept}"
        usage = entry.usage if entry is not None else NONE
        self.recent.add(exchange, note, usage.total)
        self._log(exchange, "" if exchange.status is Status.BYPASS else note, usage)
        if entry is not None and isinstance(exchange.capture, LiveStream):
            stream = exchange.capture
            stream.landed = replace(entry, body=b"", request=b"")
            for tell in stream.to_land:
                tell(entry)
            stream.to_land.clear()

    def unrecordable(self, request: Request, reason: str) -> None:
        """A call that is too large to record. `reason`: `too-large` is its answer, all others are its request."""
        what = "its answer is" if reason == Reason.TOO_LARGE else "its request is"
        option = "ai_cache_max_pending" if reason == Reason.UPLOADS_TOO_LARGE else "ai_cache_max_body"
        if len(self.not_recordable) < _EXPLAINED:
            url = one_line(request.url, 200)
            self.not_recordable.append(f"{request.method} {url}: {what} too large to record; raise {option}")

    def answered_locally(self, host: str) -> None:
        """A token endpoint that a replay answered itself."""
        _count_bounded(self.tokens, host)

    def refusal(self, exchange: Exchange, explanation: Sequence[str] = ()) -> None:
        """An error of our own: a miss in replay, `only-if-cached`, a host that is not let through."""
        line = log_line.text(exchange, "refused")
        if exchange.scope is not None and exchange.call is not None:
            exchange.scope.miss(line, explanation)
        elif exchange.scope is not None:
            exchange.scope.refuse(exchange.request.host)
        self.missed += exchange.call is not None
        if exchange.call is not None and len(self.misses) < _EXPLAINED:
            self.misses.append(RefusedCall(line, tuple(explanation)))
        if exchange.call is not None:
            self._count(exchange)
        else:
            _count_bounded(self.refused, exchange.request.host)
        self.recent.add(exchange, "refused")
        level = logging.INFO if exchange.reason == Reason.SIDE_TRAFFIC else logging.WARNING
        if self.json_lines:  # an explanation shows parts of requests: the report has it
            line, explanation = log_line.as_json(exchange, "refused"), ()
        logger.log(level, "%s", "\n  ".join([line, *explanation]))

    def not_written(self, what: str) -> None:
        self.unwritten.append(what)

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
                one_line(host),
            )

    def upgrade_refused(self, host: str, path: str) -> None:
        """A WebSocket that was answered with 426."""
        self.refused_upgrades += 1
        logger.info("ai-cache: REFUSED WebSocket to %s%s", one_line(host), one_line(hidden_url(path)))

    def _log(self, exchange: Exchange, note: str, usage: Usage = NONE, sooner: float = 0.0) -> None:
        if logger.isEnabledFor(logging.INFO):
            json = self.json_lines
            logger.info(
                "%s",
                log_line.as_json(exchange, note, usage, sooner) if json else log_line.text(exchange, note, usage),
            )

    def _count(self, exchange: Exchange) -> Row:
        status, call = exchange.status, exchange.call
        self.calls += 1
        self.statuses[status] += 1
        if exchange.scope is not None:
            exchange.scope.count(status)
        if exchange.reason:
            self.reasons[status, exchange.reason] += 1
        if exchange.store_seconds:
            self.look_ups.add(exchange.store_seconds)
        duration = self.durations.get(status)
        if duration is None:
            duration = self.durations[status] = Histogram(CALL)
        duration.add(exchange.seconds())
        protocol, model = (call.protocol.name, call.model) if call is not None else ("", "")
        row = self.ledger.row(protocol, model, exchange.request.host)
        row.statuses[status] += 1
        return row

    def totals(self) -> Totals:
        """With dollars, for which the prices are read where that is still to do: half a second."""
        saved = self.ledger.saved()
        collapsed = self.reasons[Status.HIT, Reason.COLLAPSED]
        hits, stale, misses = self.statuses[Status.HIT], self.statuses[Status.STALE], self.statuses[Status.MISS]
        refused = self.missed + self.refused.total()
        others = self.statuses[Status.REFRESH], self.statuses[Status.BYPASS]
        return Totals(self.calls, hits, stale, collapsed, misses, *others, self.kept()[0], refused, saved)

    def kept(self) -> tuple[int, Counter[str]]:
        """How many answers are stored, and why others are not; as far as the store has got with writing."""
        lost = min(self.stored, max(0, self.dropped() - self.not_stored[Reason.STORE_DROPPED]))
        return self.stored - lost, self.not_stored + Counter({Reason.STORE_DROPPED: lost})

    def summary(self) -> list[str]:
        """A few lines for a person."""
        if not self.calls and not self.refused:
            return ["no AI calls seen", *self._aside()]
        counts = ", ".join(
            f"{self.statuses[name]} {name}"
            for name in (Status.HIT, Status.MISS, Status.BYPASS, Status.REFRESH, Status.STALE)
            if self.statuses[name]
        )
        stored, not_stored = self.kept()
        lines = [f"{self.calls} AI {'call' if self.calls == 1 else 'calls'}: {counts or 'none'}; {stored} stored"]
        saved = self.totals().saved
        if said := savings.in_words(saved, units.human_duration):
            lines[0] += f"; saved {said}"
        lines += _of_unknown_price(saved)
        lines += [
            f"  {status} {reason}: {count}"
            for (status, reason), count in self.reasons.most_common()
            if reason != Reason.NO_ENTRY
        ]
        lines += [f"  not stored, {reason}: {count}" for reason, count in not_stored.most_common()]
        if self.store_failures:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self.store_failures.most_common())
            lines.append(f"  store failures: {kinds}")
        lines += [
            f"  refused {one_line(host)}: {count}; to let it through add --allow-host {one_line(host)}"
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
            hosts = ", ".join(f"{one_line(host)} ({count})" for host, count in self.tunnels.most_common(8))
            more = f" and {len(self.tunnels) - 8} more" if len(self.tunnels) > 8 else ""
            lines.append(f"  passed unread: {hosts}{more}; to cache one of them add --hosts HOST")
        if self.distrust:
            hosts = ", ".join(f"{one_line(host)} ({count})" for host, count in self.distrust.most_common(8))
            lines.append(f"  not trusted by the client: {hosts}; see certs.md or ai-cache doctor")
        return lines

    def as_json(self) -> dict[str, object]:
        """The report of a run."""
        stored, not_stored = self.kept()
        return {
            "calls": self.calls,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "reasons": {f"{status} {reason}": count for (status, reason), count in self.reasons.items()},
            "stored": stored,
            "not_stored": {str(reason): count for reason, count in not_stored.items()},
            "too_large": list(self.not_recordable),
            "store_failures": dict(self.store_failures),
            "saved": self.totals().saved.as_json(),
            "refused": dict(self.refused),
            "misses": [{"call": miss.line, "explanation": list(miss.explanation)} for miss in self.misses],
            "passed_unread": dict(self.tunnels),
            "not_trusted": dict(self.distrust),
        }


def _count_bounded(counter: Counter[str], name: str) -> None:
    """Names come from strangers: there are at most a thousand of them."""
    counter[name if name in counter or len(counter) < 1000 else "others"] += 1


def _of_unknown_price(saved: Saved) -> list[str]:
    count = saved.unknown.total()
    if not count:
        return []
    named = [name if times == 1 else f"{name}: {times}" for name, times in saved.unknown.most_common(4)]
    more = f"; {len(saved.unknown) - 4} more" if len(saved.unknown) > 4 else ""
    return [f"  {count} {'call' if count == 1 else 'calls'} of unknown price ({'; '.join(named)}{more})"]
