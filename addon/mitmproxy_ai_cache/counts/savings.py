"""What answers from here saved: tokens at once, dollars when somebody asks.

A hit adds to a few numbers. What it would have cost waits in `pending`, by call and usage, and is priced in batches:
the sums are exact, for prices are applied to the usage of each call, at the time they are asked for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit

from ..entries.entry import Entry, counts_of
from ..entries.usage import Usage
from ..wire.safe_text import one_line
from .pricing import PRICES, PriceList

_SETS = 200
"""Combinations of protocol, model and host that are told apart: models and hosts come from strangers."""
_NAMES = 100
"""Models of unknown price that are named."""
_BATCH = 4096
"""Kinds of calls that wait for their prices before a thread is started for it."""

OTHER = "other"


class Labels(NamedTuple):
    protocol: str
    model: str
    host: str


@dataclass(slots=True)
class Saved:
    """Calls that were answered without the provider, and what that saved."""

    calls: int = 0
    input_tokens: int = 0
    """All of them, those that the provider would have read from its own cache included."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Parts of the input."""
    seconds: float = 0.0
    dollars: Decimal = Decimal(0)
    """Of the calls whose price is known, at list prices."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Calls of unknown price, by `MODEL at HOST`."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def add(self, entry: Entry, seconds: float) -> None:
        self.calls += 1
        self.input_tokens += entry.input_tokens
        self.output_tokens += entry.output_tokens
        self.cache_read_tokens += entry.cache_read_tokens
        self.cache_write_tokens += entry.cache_write_tokens
        self.seconds += seconds

    def merge(self, other: Saved) -> None:
        for each in fields(self):
            if each.name != "unknown":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        for name, count in other.unknown.items():
            _bounded(self.unknown, name, count)

    def as_json(self) -> dict[str, object]:
        return {
            "calls": self.calls,
            "tokens": self.tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "seconds": round(self.seconds, 3),
            "dollars": float(round(self.dollars, 9)),
            "unknown_price": dict(self.unknown),
        }


@dataclass(slots=True, eq=False)
class Row:
    """What is counted for one set of labels."""

    labels: Labels
    statuses: Counter[str] = field(default_factory=Counter)
    saved: Saved = field(default_factory=Saved)


_Pending = tuple[Row, str, str, str, tuple[int, ...]]
"""Row, URL, host, model, and the counts of a `Usage`."""


class Ledger:
    """Counts by labels. Fed by the event loop; any thread may ask."""

    def __init__(self, prices: PriceList = PRICES) -> None:
        self._prices = prices
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._pending: dict[_Pending, int] = {}
        self._lock = threading.Lock()
        """Of `_pending`."""
        self._pricing = threading.Lock()
        self._priced_by: threading.Thread | None = None

    def row(self, protocol: str, model: str, host: str) -> Row:
        """The row of these labels; beyond the first ones models and hosts are `other`."""
        found = self._rows.get((protocol, model, host))
        if found is None:
            named = Labels(protocol, model, host) if len(self._rows) < _SETS else Labels(protocol, OTHER, OTHER)
            found = self._rows.setdefault(named, Row(named))
        return found

    def save(self, row: Row, entry: Entry, host: str, seconds: float = 0.0) -> None:
        """`entry` answered a call that did not reach the provider, `seconds` sooner."""
        row.saved.add(entry, seconds)
        if is_paid(entry):
            call = (row, entry.url, host, entry.model, counts_of(entry))
            with self._lock:
                pending = self._pending
                pending[call] = pending.get(call, 0) + 1
            if len(pending) >= _BATCH:
                self._price_in_a_thread()

    def _price_in_a_thread(self) -> None:
        if self._priced_by is None or not self._priced_by.is_alive():
            self._priced_by = threading.Thread(target=self.price, name="ai-cache prices", daemon=True)
            self._priced_by.start()

    def price(self) -> None:
        """Put dollars to what waits for it. May take half a second, the first time."""
        with self._pricing:
            with self._lock:
                pending, self._pending = self._pending, {}
            together: dict[tuple[Row, str, str, str], dict[Usage, int]] = {}
            for (row, url, host, model, counts), times in pending.items():
                together.setdefault((row, url, host, model), {})[Usage(*counts)] = times
            for (row, url, host, model), calls in together.items():
                self._settle(row.saved, url, host, model, calls)

    def _settle(self, saved: Saved, url: str, host: str, model: str, calls: dict[Usage, int]) -> None:
        silent = sum(count for usage, count in calls.items() if not usage.total)
        said = {usage: count for usage, count in calls.items() if usage.total}
        name = f"{one_line(model, 60) or '-'} at {one_line(host, 60)}"
        if silent:
            _bounded(saved.unknown, f"{name}, which sent no usage", silent)
        cost = self._prices.cost(url.partition("?")[0], model, said) if said else Decimal(0)
        if cost is None:
            _bounded(saved.unknown, name, sum(said.values()))
        else:
            saved.dollars += cost

    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def saved(self) -> Saved:
        """All of it, priced."""
        self.price()
        return self.unpriced()

    def unpriced(self) -> Saved:
        """All of it; dollars as far as they are known already."""
        total = Saved()
        for row in self.rows():
            total.merge(row.saved)
        return total


def is_paid(entry: Entry) -> bool:
    """Whether a provider asks money for such an answer: errors and counting are free, and what is no call has no
    tokens."""
    return entry.status == 200 and entry.protocol != "exchange" and not entry.protocol.endswith("count-tokens")


class EntrySum:
    """What the answers in a store cost when they were bought, or would cost now."""

    def __init__(self, prices: PriceList = PRICES) -> None:
        self._ledger = Ledger(prices)

    def add(self, entry: Entry) -> None:
        """Of an entry only what it says of itself is looked at: its bodies need not be there."""
        host = _host_of(entry.url)
        self._ledger.save(self._ledger.row(entry.protocol, entry.model, host), entry, host, entry.total)

    def rows(self) -> list[Row]:
        """By protocol, model and host, priced."""
        self._ledger.price()
        return self._ledger.rows()

    def total(self) -> Saved:
        return self._ledger.saved()


def sum_of(entries: Iterable[Entry]) -> Saved:
    """What these answers cost: their tokens, dollars and the seconds they took."""
    found = EntrySum()
    for entry in entries:
        found.add(entry)
    return found.total()


def in_words(saved: Saved, duration: Callable[[float], str]) -> str:
    """`1,234 tokens, $0.0123 and 12 s of waiting`, without what is nothing."""
    parts = []
    if saved.tokens:
        parts.append(f"{saved.tokens:,} token{'s' if saved.tokens != 1 else ''}")
    if saved.dollars:
        parts.append(dollars(saved.dollars))
    if saved.seconds >= 0.05:
        parts.append(f"{duration(saved.seconds)} of waiting")
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def dollars(amount: Decimal) -> str:
    """`$12.34`, and as many digits as a small amount needs to be one."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount >= Decimal("0.00005") else "under $0.0001"


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bounded(counter: Counter[str], name: str, count: int) -> None:
    counter[name if name in counter or len(counter) < _NAMES else OTHER] += count
