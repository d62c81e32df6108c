"""What calls cost: the list prices of genai-prices, in US dollars.

The package is data and needs no network. Reading it takes a quarter of a second and some 14 MB, so nothing here is
imported before somebody asks for money. What it does not know is not guessed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ..entries.usage import Usage
from ..protocols.providers import price_id

logger = logging.getLogger("ai-cache")

_REMEMBERED = 10_000
"""Look-ups after which what was looked up is forgotten."""

_UNITS = frozenset(
    """
    input_mtok output_mtok cache_read_mtok cache_write_mtok cache_write_5m_mtok cache_write_1h_mtok
    input_audio_mtok output_audio_mtok cache_audio_read_mtok requests_kcount web_searches_kcount storage_searches_kcount
    """.split()
)
"""What a price may depend on. Usage as it is read here does not say more: pages, images, seconds. Searches are paid
beside the tokens and left out."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars for a call and for each token of it. Prices rise for all tokens of a call of more than `until` input."""

    call: Decimal
    fresh: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    audio_input: Decimal
    audio_output: Decimal
    until: float

    def cost(self, usage: Usage, calls: int = 1) -> Decimal:
        """Of `calls` calls that used this much together, none of them beyond `until`."""
        fresh = usage.input - usage.cache_read - usage.cache_write - usage.audio_input
        return (
            calls * self.call
            + fresh * self.fresh
            + (usage.output - usage.audio_output) * self.output
            + usage.cache_read * self.cache_read
            + (usage.cache_write - usage.cache_write_1h) * self.cache_write
            + usage.cache_write_1h * self.cache_write_1h
            + usage.audio_input * self.audio_input
            + usage.audio_output * self.audio_output
        )


class PriceList:
    """The prices that are in force. May be asked by several threads."""

    def __init__(self) -> None:
        self._data: Any = None
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[Any, Rates]] = {}
        self._asked = 0

    def cost(self, url: str, model: str, calls: Mapping[Usage, int]) -> Decimal | None:
        """What `calls` (how many of each usage) to `model` at `url` cost together; None where that is not known."""
        with self._lock:
            found = self._rates(url, model)
        if found is None:
            return None
        price, rates = found
        ordinary = {usage: count for usage, count in calls.items() if usage.input <= rates.until}
        together = Usage(*(sum(count * part for part, count in parts) for parts in _columns(ordinary)))
        cost = rates.cost(together, sum(ordinary.values()))
        for usage, count in calls.items():
            if usage not in ordinary:
                cost += count * _asked(price, usage)
        return cost

    def _rates(self, url: str, model: str) -> tuple[Any, Rates] | None:
        """The price in force, and what it comes to."""
        try:
            info = self._model(url, model)
            price = info.get_prices(datetime.now(UTC))  # some change with the hour
            if not _units(price) <= _UNITS:
                return None
            known = self._known.get((url, model))
            if known is None or known[0] is not price:
                known = self._known[url, model] = (price, _rates_of(price))
        except (LookupError, ImportError, ValueError, ArithmeticError):
            return None
        return known

    def _model(self, url: str, model: str) -> Any:
        """By the URL, which genai-prices knows; else by what the table of providers says of the host."""
        known = self._loaded()
        try:
            return known.find_provider_model(model, None, None, url)[1]
        except LookupError:
            if not (provider := price_id(urlsplit(url).hostname or "")):
                raise
        return known.find_provider_model(model, None, provider, None)[1]

    def _loaded(self) -> Any:
        """Models and URLs come from strangers and are remembered, there and here: now and then we begin anew."""
        self._asked += 1
        if self._data is None or self._asked > _REMEMBERED:
            try:
                from genai_prices import data_snapshot
            except ImportError:
                if self._asked == 1:
                    logger.warning("ai-cache: dollars are unknown; for the prices: pip install genai-prices")
                raise
            self._data = data_snapshot.DataSnapshot(data_snapshot.get_snapshot().providers, from_auto_update=False)
            self._known.clear()
            self._asked = 1
        return self._data


PRICES = PriceList()


def _columns(calls: Mapping[Usage, int]) -> list[list[tuple[int, int]]]:
    return [[(usage[index], count) for usage, count in calls.items()] for index in range(len(Usage._fields))]


def _units(price: Any) -> set[str]:
    return {name for name, value in price.__dict__.items() if value is not None}


def _rates_of(price: Any) -> Rates:
    """Prices are linear up to the first step: one token of each kind tells them."""
    call = _asked(price, Usage())
    rates = {
        "fresh": Usage(input=1),
        "output": Usage(output=1),
        "cache_read": Usage(input=1, cache_read=1),
        "cache_write": Usage(input=1, cache_write=1),
        "cache_write_1h": Usage(input=1, cache_write=1, cache_write_1h=1),
        "audio_input": Usage(input=1, audio_input=1),
        "audio_output": Usage(output=1, audio_output=1),
    }
    steps = [tier.start for value in price.__dict__.values() for tier in getattr(value, "tiers", ())]
    return Rates(
        call=call,
        **{name: _asked(price, usage) - call for name, usage in rates.items()},
        until=min(steps, default=float("inf")),
    )


def _asked(price: Any, usage: Usage) -> Decimal:
    """What genai-prices says of one call."""
    from genai_prices import Usage as Priced

    total: Decimal = price.calc_price(
        Priced(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
            cache_write_1h_tokens=usage.cache_write_1h,
            input_audio_tokens=usage.audio_input,
            output_audio_tokens=usage.audio_output,
            cache_audio_read_tokens=0,
        )
    )["total_price"]
    return total
