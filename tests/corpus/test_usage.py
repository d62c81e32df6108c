"""Tokens and dollars agree with what the recorded answers say of themselves, read by another way than the code's.

Here no JSON is parsed: the last number behind a name counts, and the totals that providers state are compared as well.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.counts.pricing import PRICES
from mitmproxy_ai_cache.entries import usage
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.wire.messages import Headers

pytestmark = needs_corpus

Names = tuple[str, ...]

NAMES: dict[str, tuple[Names, Names, Names, Names]] = {
    # What adds up to the input, what to the output, and of the input: read from the cache, written to it.
    "openai-chat": (("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), ("cache_write_tokens",)),
    "openai-completions": (("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), ()),
    "openai-embeddings": (("total_tokens",), (), (), ()),
    "openai-responses": (("input_tokens",), ("output_tokens",), ("cached_tokens",), ("cache_write_tokens",)),
    "openai-transcription": (("input_tokens",), ("output_tokens",), (), ()),
    "anthropic-messages": (
        ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
        ("output_tokens",),
        ("cache_read_input_tokens",),
        ("cache_creation_input_tokens",),
    ),
    "bedrock-converse": (
        ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        ("outputTokens",),
        ("cacheReadInputTokens",),
        ("cacheWriteInputTokens",),
    ),
    "gemini-generate": (
        ("promptTokenCount", "toolUsePromptTokenCount"),
        ("candidatesTokenCount", "thoughtsTokenCount"),
        ("cachedContentTokenCount",),
        (),
    ),
    "gemini-interactions": (
        ("total_input_tokens", "total_tool_use_tokens"),
        ("total_output_tokens", "total_thought_tokens"),
        ("total_cached_tokens",),
        (),
    ),
    "gemini-embed": (("promptTokenCount",), (), (), ()),
    "ollama-chat": (("prompt_eval_count",), ("eval_count",), (), ()),
    "ollama-embed": (("prompt_eval_count",), (), (), ()),
    "rerank": (("total_tokens",), (), (), ()),
}

TOTAL = {"gemini-generate": "totalTokenCount", "bedrock-converse": "totalTokens"}
"""Elsewhere it is `total_tokens`."""


def judged() -> Iterator[tuple[Recorded, str, Usage]]:
    """Whole answers with the name of their protocol and the usage an entry of them has."""
    for exchange in exchanges():
        if exchange.call is None or exchange.status != 200:
            continue
        verdict = gate.verdict(exchange.call, exchange.answer)
        if verdict.whole and verdict.cacheable:
            headers = Headers(exchange.response_headers)
            found = verdict.usage if verdict.usage.total else usage.from_headers(headers)
            yield exchange, exchange.call.protocol.name, found


def model_of(exchange: Recorded) -> str:
    return exchange.call.model if exchange.call is not None else ""


def said(exchange: Recorded, name: str) -> int:
    """The last number behind this name. Names in a text are behind a backslash and a quote."""
    found = re.findall(rf'"{name}": ?(\d+)', exchange.response_body.decode("utf-8", "replace"))
    return int(found[-1]) if found else 0


@pytest.mark.thorough
def test_tokens_are_those_that_the_answer_names(capsys: pytest.CaptureFixture[str]) -> None:
    compared: Counter[str] = Counter()
    silent: Counter[str] = Counter()
    for exchange, protocol, found in judged():
        if protocol not in NAMES:
            continue
        sent, got, read, written = (sum(said(exchange, name) for name in names) for names in NAMES[protocol])
        if "grok" in model_of(exchange) and exchange.request.host != "openrouter.ai":
            got += said(exchange, "reasoning_tokens")  # xAI counts them beside the completion
        assert (found.input, found.output, found.cache_read, found.cache_write) == (sent, got, read, written), (
            exchange.id,
            protocol,
            exchange.url,
            found,
        )
        (compared if found.total else silent)[protocol] += 1
    with capsys.disabled():
        print(f"\nagree: {dict(compared)}; say nothing: {dict(silent)}")
    assert compared.keys() == NAMES.keys()
    assert compared.total() > 1900


@pytest.mark.thorough
def test_tokens_add_up_to_the_total_that_the_provider_states() -> None:
    compared: Counter[str] = Counter()
    for exchange, protocol, found in judged():
        stated = said(exchange, TOTAL.get(protocol, "total_tokens"))
        if stated and protocol != "bedrock-invoke":
            assert found.total == stated, (exchange.id, protocol, exchange.url, found)
            compared[protocol] += 1
    assert compared.total() > 1400
    assert len(compared) >= 9


@pytest.mark.thorough
def test_tokens_on_bedrock_are_those_of_its_headers_and_metrics() -> None:
    compared: Counter[str] = Counter()
    for exchange, protocol, found in judged():
        if protocol != "bedrock-invoke":
            continue
        chunks = re.findall(rb'"bytes":"([A-Za-z0-9+/=]+)"', exchange.response_body)
        text = b"".join(map(base64.b64decode, chunks)).decode("utf-8", "replace")
        headers = dict(exchange.response_headers)
        metrics = re.findall(r'"inputTokenCount":(\d+),"outputTokenCount":(\d+)', text)
        if metrics:
            assert (found.input, found.output) == tuple(map(int, metrics[-1])), exchange.id
            compared["stream"] += 1
        elif "x-amzn-bedrock-input-token-count" in headers:
            sent, read, written = (
                int(headers.get(f"x-amzn-bedrock-{kind}input-token-count", 0))
                for kind in ("", "cache-read-", "cache-write-")
            )
            got = int(headers["x-amzn-bedrock-output-token-count"])
            assert found[:4] == (sent + read + written, got, read, written), (exchange.id, found)
            compared["whole"] += 1
    assert compared["stream"] >= 20
    assert compared["whole"] >= 25


@pytest.mark.thorough
def test_tokens_of_cohere_are_those_it_bills() -> None:
    compared = 0
    for exchange, protocol, found in judged():
        if protocol not in ("cohere-chat", "cohere-generate"):
            continue
        billed = re.findall(rb'"billed_units": ?\{([^}]*)\}', exchange.response_body)
        if not billed:
            continue
        counts = {name: int(float(count)) for name, count in re.findall(rb'"(\w+)": ?([\d.]+)', billed[-1])}
        assert found[:2] == (counts[b"input_tokens"], counts[b"output_tokens"]), exchange.id
        compared += 1
    assert compared >= 10


@pytest.mark.thorough
def test_dollars_are_those_that_xai_and_openrouter_charged(capsys: pytest.CaptureFixture[str]) -> None:
    """xAI states the cost of a call in 1e-10 dollars, OpenRouter in dollars. Prices have changed since some of these
    were recorded, and OpenRouter takes the cheapest host: most agree to the last digit, the rest says so."""
    exact: Counter[str] = Counter()
    other: Counter[str] = Counter()
    for exchange, _, found in judged():
        host = exchange.request.host
        body = exchange.response_body.decode("utf-8", "replace")
        if host == "api.x.ai" and (ticks := said(exchange, "cost_in_usd_ticks")):
            charged = Decimal(ticks) / 10**10
        elif host == "openrouter.ai" and (costs := re.findall(r'"cost": ?([\d.e-]+)', body)):
            charged = Decimal(costs[-1])
        else:
            continue
        ours = PRICES.cost(exchange.url, model_of(exchange), {found: 1})
        same = ours is not None and abs(ours - charged) <= Decimal("1e-9")
        (exact if same else other)[f"{host} {model_of(exchange)}"] += 1
    with capsys.disabled():
        print(f"\nsame dollars: {dict(exact)}; other: {dict(other)}")
    assert exact.total() >= 40
