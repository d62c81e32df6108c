"""What hits saved: tokens at once, dollars when asked, unknown prices named and never guessed."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as Priced
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.counts import pricing, savings
from mitmproxy_ai_cache.counts.pricing import PRICES
from mitmproxy_ai_cache.counts.savings import Ledger, Saved, sum_of
from mitmproxy_ai_cache.entries.entry import Entry, tokens_of
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.wire import units

CHAT = "https://api.openai.com/v1/chat/completions"


def entry(url: str = CHAT, model: str = "gpt-4o", used: Usage = Usage(1000, 100), **given: Any) -> Entry:  # noqa: B008
    fields: dict[str, Any] = {"status": 200, "protocol": "openai-chat", "total": 2.0, **tokens_of(used), **given}
    return Entry(key="a" * 64, created=1.0, ttl=0, headers=(), format="json", body=b"", url=url, model=model, **fields)


def priced(used: Usage, **more: int) -> Priced:
    return Priced(
        input_tokens=used.input,
        output_tokens=used.output,
        cache_read_tokens=used.cache_read,
        cache_write_tokens=used.cache_write,
        **more,
    )


@pytest.mark.parametrize(
    ("url", "model", "used"),
    [
        (CHAT, "gpt-4o", Usage(1000, 100)),
        (CHAT, "gpt-4o-2024-08-06", Usage(1000, 100, 600)),
        ("https://api.anthropic.com/v1/messages", "claude-sonnet-4-5", Usage(5246, 323, 4890, 353)),
        ("https://api.anthropic.com/v1/messages", "claude-sonnet-4-5", Usage(250_000, 323, 4890, 353)),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
            "gemini-2.5-pro",
            Usage(200_001, 5),
        ),
        ("https://my.openai.azure.com/openai/deployments/gpt-4o/chat/completions", "gpt-4o", Usage(7, 9)),
        ("https://openrouter.ai/api/v1/chat/completions", "openai/gpt-4o-mini", Usage(7, 9)),
    ],
)
def test_a_call_costs_what_genai_prices_says(url: str, model: str, used: Usage) -> None:
    expected = calc_price(priced(used), model, provider_api_url=url).total_price
    assert expected > 0
    assert PRICES.cost(url, model, {used: 1}) == expected
    assert PRICES.cost(url, model, {used: 3}) == 3 * expected


def test_what_is_kept_for_an_hour_costs_more() -> None:
    url, used = "https://api.anthropic.com/v1/messages", Usage(1000, 1, 0, 1000)
    five_minutes = PRICES.cost(url, "claude-sonnet-4-5", {used: 1})
    hour = PRICES.cost(url, "claude-sonnet-4-5", {used._replace(cache_write_1h=1000): 1})
    assert five_minutes is not None
    assert hour is not None
    assert hour > 1.5 * float(five_minutes)


PRICED = [
    price
    for provider in get_snapshot().providers
    for model in provider.models
    if pricing._units(price := model.get_prices(datetime.now(UTC))) <= pricing._UNITS
]

USAGES = st.tuples(*[st.integers(0, 400_000)] * 3, *[st.integers(0, 9000)] * 4).map(
    lambda n: Usage(
        n[0] + n[1] + n[2] + n[3], n[4] + n[5], n[1], n[2], min(n[6], n[2]), n[3], n[5]
    )
)  # fmt: skip


@given(st.sampled_from(PRICED), st.lists(USAGES, min_size=1, max_size=4, unique=True), st.integers(1, 3))
def test_sums_are_exact_for_every_model_also_where_prices_rise_with_the_length(
    price: Any, used: list[Usage], times: int
) -> None:
    rates = pricing._rates_of(price)
    ordinary = [each for each in used if each.input <= rates.until]
    together = Usage(*(sum(each[index] for each in ordinary) for index in range(len(Usage._fields))))
    assert times * rates.cost(together, len(ordinary)) == times * sum(
        (pricing._asked(price, each) for each in ordinary), Decimal(0)
    )


def test_a_long_call_is_priced_as_the_long_call_it_is() -> None:
    """Prices that rise with the length of a call rise for that call alone."""
    url, model = "https://generativelanguage.googleapis.com/v1beta/models/x:generateContent", "gemini-2.5-pro"
    short, long = Usage(150_000, 10), Usage(250_000, 10)
    alone = [PRICES.cost(url, model, {used: 1}) for used in (short, long)]
    assert PRICES.cost(url, model, {short: 2, long: 1}) == 2 * (alone[0] or 0) + (alone[1] or 0)
    assert (alone[1] or 0) > Decimal("1.9") * (alone[0] or 0)


@pytest.mark.parametrize(
    ("url", "model", "name"),
    [
        (CHAT, "gpt-99-turbo", "gpt-99-turbo at here"),
        ("http://localhost:11434/api/chat", "llama3", "llama3 at here"),
        ("https://llm.example.com/v1/chat/completions", "gpt-4o", "gpt-4o at here"),
        ("https://api.openai.com/v1/images/generations", "gpt-image-1", "gpt-image-1 at here"),
        (CHAT, "", "- at here"),
        (CHAT, "evil\x1b[31m\n", "evil?[31m? at here"),
    ],
)
def test_an_unknown_price_is_named_and_not_guessed(url: str, model: str, name: str) -> None:
    ledger = Ledger()
    row = ledger.row("openai-chat", model, "here")
    ledger.save(row, entry(url, model), "here")
    ledger.save(row, entry(url, model), "here")
    saved = ledger.saved()
    assert saved.dollars == 0
    assert saved.unknown == {name: 2}
    assert saved.tokens == 2200


def test_a_call_that_sent_no_usage_says_so() -> None:
    ledger = Ledger()
    ledger.save(ledger.row("openai-chat", "gpt-4o", "api.openai.com"), entry(used=Usage()), "api.openai.com")
    assert ledger.saved().unknown == {"gpt-4o at api.openai.com, which sent no usage": 1}


@pytest.mark.parametrize("free", [{"status": 429}, {"protocol": "anthropic-count-tokens"}, {"protocol": "exchange"}])
def test_what_costs_nothing_is_not_of_unknown_price(free: dict[str, Any]) -> None:
    ledger = Ledger()
    ledger.save(ledger.row("p", "m", "h"), entry(used=Usage(), **free), "h")
    assert not ledger.saved().unknown


def test_models_and_hosts_beyond_the_first_are_others_and_nothing_is_lost() -> None:
    ledger = Ledger()
    for number in range(1000):
        ledger.save(ledger.row("openai-chat", f"m{number}", f"h{number}.example"), entry(), "api.openai.com")
    assert len(ledger.rows()) == savings._SETS + 1
    assert ledger.rows()[-1].labels == ("openai-chat", "other", "other")
    saved = ledger.saved()
    assert saved.calls == 1000
    assert saved.tokens == 1_100_000
    assert saved.dollars == 1000 * PRICES.cost(CHAT, "gpt-4o", {Usage(1000, 100): 1})  # type: ignore[operator]


def test_unknown_models_are_named_up_to_a_bound() -> None:
    ledger = Ledger()
    for number in range(300):
        ledger.save(ledger.row("p", "m", "h"), entry(model=f"unknown-{number}"), "h")
    unknown = ledger.saved().unknown
    assert len(unknown) == savings._NAMES + 1
    assert unknown.total() == 300


def test_what_waits_for_its_price_is_bounded_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While several threads ask."""
    monkeypatch.setattr(savings, "_BATCH", 50)
    ledger = Ledger()
    row = ledger.row("openai-chat", "gpt-4o", "h")
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            ledger.saved()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for number in range(3000):
        ledger.save(row, entry(used=Usage(number % 700 + 1, 1)), "h")
    over.set()
    for thread in asking:
        thread.join()
    calls: dict[Usage, int] = {}
    for number in range(3000):
        used = Usage(number % 700 + 1, 1)
        calls[used] = calls.get(used, 0) + 1
    assert ledger.saved().dollars == PRICES.cost(CHAT, "gpt-4o", calls)
    assert len(ledger._pending) == 0


def test_the_sum_over_entries_is_that_of_as_many_hits() -> None:
    entries = [entry(), entry(model="gpt-99"), entry(used=Usage(5, 6, 4)), entry(status=500, used=Usage())]
    ledger = Ledger()
    for each in entries:
        ledger.save(ledger.row(each.protocol, each.model, "api.openai.com"), each, "api.openai.com", each.total)
    assert sum_of(entries) == ledger.saved()


@pytest.mark.parametrize("url", ["", "http://[::1]:11434/api/chat", "https://[", "no url", "https://u:p@h:1/x"])
def test_the_sum_over_entries_takes_any_url(url: str) -> None:
    assert sum_of([entry(url)]).calls == 1


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (Saved(), ""),
        (Saved(input_tokens=1000, output_tokens=234, seconds=12), "1,234 tokens and 12 s of waiting"),
        (
            Saved(input_tokens=1, dollars=Decimal("1234.5"), seconds=60),
            "1 token, $1,234.50 and 60 s of waiting",
        ),
        (Saved(dollars=Decimal("0.01234")), "$0.0123"),
        (Saved(dollars=Decimal("0.00001")), "under $0.0001"),
        (Saved(seconds=0.04), ""),
    ],
)
def test_savings_in_words(saved: Saved, words: str) -> None:
    assert savings.in_words(saved, units.human_duration) == words


@pytest.mark.thorough
def test_neither_start_nor_hit_imports_prices_or_metrics() -> None:
    script = """
import sys
from mitmproxy_ai_cache import addon
from mitmproxy_ai_cache.cli import master
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.counts.savings import Ledger
ledger = Ledger()
entry = Entry("k", 1.0, 0.0, status=200, headers=(), format="json", body=b"", input_tokens=5, protocol="openai-chat")
ledger.save(ledger.row("a", "b", "c"), entry, "c")
print([name for name in ("genai_prices", "prometheus_client", "pydantic") if name in sys.modules])
ledger.price()
print("genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]


def test_without_the_package_every_price_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert pricing.PriceList().cost(CHAT, "gpt-4o", {Usage(5, 6): 1}) is None
