"""What a proxy says it did: log lines, totals, summary, report and metrics, and that they agree."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.configuration.store_of import store_of
from mitmproxy_ai_cache.counts import metrics
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.counts.histogram import Histogram
from mitmproxy_ai_cache.counts.pricing import PRICES
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.wire.messages import Headers, Request

SECRET = "what nobody may read in a log"
USED = {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 600}}
PRICE = PRICES.cost("https://api.openai.com/v1/chat/completions", "gpt-4o", {Usage(1000, 50, 600): 1})
JSON = Headers([("content-type", "application/json")])
SSE = Headers([("content-type", "text/event-stream")])


def cache(**options: Any) -> CountedCache:
    given = {f"ai_cache_{name}": value for name, value in options.items()}
    settings = Settings.parse({"ai_cache_store": "memory:", **given}, {})
    return CountedCache(settings, store_of(settings), Isolation("none"))


def request(text: str = SECRET, model: str = "gpt-4o", host: str = "api.openai.com", **more: Any) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    headers = Headers([("host", host), ("content-type", "application/json")])
    return Request("POST", "https", host, 443, "/v1/chat/completions", "", headers, json.dumps(body).encode())


def answer(used: dict[str, Any] | None = None) -> bytes:
    said = {"choices": [{"index": 0, "message": {"content": SECRET}, "finish_reason": "stop"}]}
    return json.dumps({**said, "usage": USED if used is None else used}).encode()


def stream() -> bytes:
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": SECRET}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USED},
    ]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


async def ask(
    asked: CountedCache, sent: Request, body: bytes | None = None, status: int = 200, **late: Any
) -> Exchange:
    """A call from its begin to its end; a miss gets `body`."""
    exchange = await asked.begin(Exchange(sent, **late))
    if exchange.response is None:
        headers = SSE if exchange.call is not None and exchange.call.stream else JSON
        if capture := asked.storing.watch(exchange, status, headers):
            capture(body or b"")
        asked.storing.finish(exchange, headers, body, Ending.CLEAN)
        await asked.storing.finished()
    return exchange


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ai-cache"]


def numbers(rendered: bytes) -> dict[str, float]:
    """`name{a=b}` -> value, of a page of metrics."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


def test_a_line_says_all_of_a_call_and_no_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ai-cache")

    async def calls() -> None:
        asked = cache()
        await ask(asked, request(), answer())
        await ask(asked, request())
        await ask(asked, request(n=0, stream=True), b"", 500)

    asyncio.run(calls())
    miss, hit, failed = lines(caplog)
    head, took = "[0-9a-f]{12} openai-chat gpt-4o", r"\d+ ms \(store \d+\.\d ms\)"
    assert re.fullmatch(rf"ai-cache: MISS {head} whole api.openai.com {took} 1000\+50 tokens stored", miss)
    assert re.fullmatch(rf"ai-cache: HIT {head} whole api.openai.com {took} 1000\+50 tokens age \d+ ms", hit)
    assert re.fullmatch(rf"ai-cache: MISS {head} stream api.openai.com 500 {took} not stored: status-500", failed)
    assert not any(SECRET[:6] in line for line in lines(caplog))


def test_in_json_a_line_is_an_object_with_typed_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ai-cache")

    async def calls() -> None:
        asked = cache(log_format="json")
        await ask(asked, request(), answer())
        await ask(asked, request())
        refusing = cache(log_format="json", mode="replay")
        await ask(refusing, request(model='x"}\n{"status":"HIT'))

    asyncio.run(calls())
    miss, hit, refused = map(json.loads, lines(caplog))
    expected = {
        "event": "call",
        "status": "HIT",
        "protocol": "openai-chat",
        "model": "gpt-4o",
        "stream": False,
        "method": "POST",
        "host": "api.openai.com",
        "url": "https://api.openai.com/v1/chat/completions",
        "http_status": 200,
        "tokens": {"input": 1000, "output": 50, "cache_read": 600},
    }
    assert expected.items() <= hit.items()
    assert re.fullmatch("[0-9a-f]{12}", hit["key"])
    assert all(type(hit[name]) is float for name in ("time", "total_ms", "store_ms", "age_seconds"))
    assert (miss["status"], miss["note"]) == ("MISS", "stored")
    assert refused["model"] == 'x"}?{"status":"HIT'
    assert not any(SECRET[:6] in line or "\n" in line for line in lines(caplog))


def test_a_log_that_nobody_reads_is_not_written(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    caplog.set_level(logging.WARNING, "ai-cache")
    monkeypatch.setattr("mitmproxy_ai_cache.counts.log_line.text", lambda *_: pytest.fail("made"))

    async def calls() -> None:
        asked = cache()
        await ask(asked, request(), answer())
        assert (await ask(asked, request())).status == "HIT"

    asyncio.run(calls())


async def _hits(asked: CountedCache) -> None:
    await ask(asked, request(), answer())
    for _ in range(3):
        await ask(asked, request())


async def _mixed(asked: CountedCache) -> None:
    """Known and unknown prices, a stream, no usage, a bypass, a refused answer."""
    await _hits(asked)
    for _ in range(3):
        await ask(asked, request(model="nonsense-1"), answer())
        await ask(asked, request(host="llm.example.com"), answer({"prompt_tokens": 5, "completion_tokens": 6}))
        await ask(asked, request(stream=True), stream())
        await ask(asked, request("no usage"), answer({}))
        await ask(asked, request("fails"), b"{}", 500)


def run(scenario: Callable[[CountedCache], Any], **options: Any) -> CountedCache:
    asked = cache(**options)
    asyncio.run(scenario(asked))
    return asked


def test_savings_are_tokens_dollars_and_who_has_no_price() -> None:
    assert PRICE is not None
    stats = run(_mixed).stats
    saved = stats.totals().saved
    assert saved.calls == 3 + 4 * 2
    assert saved.input_tokens == 3 * 1000 + 2 * (1000 + 5 + 1000)
    assert saved.output_tokens == 3 * 50 + 2 * (50 + 6 + 50)
    assert saved.cache_read_tokens == 600 * (3 + 2 + 2)
    assert saved.dollars == 5 * PRICE
    assert saved.unknown == {
        "nonsense-1 at api.openai.com": 2,
        "gpt-4o at llm.example.com": 2,
        "gpt-4o at api.openai.com, which sent no usage": 2,
    }
    summary = stats.summary()
    assert summary[0].startswith("19 AI calls: 11 HIT, 8 MISS; 5 stored; saved ")
    assert f"{saved.tokens:,} tokens" in summary[0]
    assert f"${saved.dollars:.4f}" in summary[0]
    assert summary[1].startswith("  6 calls of unknown price (")
    assert "; nonsense-1 at api.openai.com: 2" in summary[1]


def test_what_the_store_gives_up_later_is_not_called_stored() -> None:
    stats = run(_mixed).stats
    stats.dropped = lambda: 2
    assert stats.kept() == (3, stats.not_stored + Counter({"store-dropped": 2}))
    assert "; 3 stored; " in stats.summary()[0]
    assert "  not stored, store-dropped: 2" in stats.summary()
    assert (stats.as_json()["stored"], stats.totals().stored) == (3, 3)


def test_summary_report_and_metrics_agree_to_the_last_token() -> None:
    stats = run(_mixed).stats
    totals, report = stats.totals(), stats.as_json()
    assert report["saved"] == totals.saved.as_json()
    found = numbers(metrics.render(stats)[1])

    def summed(name: str, **labels: str) -> float:
        wanted = {f" {label}={value}" for label, value in labels.items()}
        return sum(
            value
            for key, value in found.items()
            if key.split(" ")[0] == name and all(f"{one} " in key + " " for one in wanted)
        )

    assert summed("ai_cache_saved_tokens_total") == totals.saved.tokens
    assert summed("ai_cache_saved_tokens_total", kind="output") == totals.saved.output_tokens
    assert summed("ai_cache_saved_tokens_total", kind="cache_read") == totals.saved.cache_read_tokens
    assert round(Decimal(summed("ai_cache_saved_dollars_total")), 9) == totals.saved.dollars
    assert summed("ai_cache_saved_seconds_total") == pytest.approx(totals.saved.seconds)
    assert summed("ai_cache_unknown_price_calls_total") == totals.saved.unknown.total() == 6
    assert summed("ai_cache_calls_total") == totals.calls
    assert summed("ai_cache_calls_total", status="HIT") == totals.hits
    assert summed("ai_cache_calls_total", status="MISS", host="llm.example.com") == 1
    assert summed("ai_cache_stored_total") == totals.stored == 5
    assert found["ai_cache_not_stored_total reason=status-500"] == 3
    assert found["ai_cache_call_seconds_count status=HIT"] == totals.hits
    assert found["ai_cache_call_seconds_bucket le=+Inf status=HIT"] == totals.hits
    assert found["ai_cache_lookup_seconds_count"] == totals.calls


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0"])
def test_metrics_are_in_the_format_that_is_asked_for(accept: str) -> None:
    content_type, body = metrics.render(run(_hits).stats, metrics.Facts(entries=1, size=5), accept)
    assert content_type.startswith("application/openmetrics-text" if "open" in accept else "text/plain")
    assert body.endswith(b"# EOF\n") == ("open" in accept)
    assert b"ai_cache_store_size_bytes 5.0" in body


def test_metrics_say_how_the_store_and_the_calls_under_way_are() -> None:
    async def calls() -> dict[str, float]:
        asked = cache()
        await ask(asked, request(), answer())
        under_way = [await asked.begin(Exchange(request("a"))), await asked.begin(Exchange(request("b", stream=True)))]
        return numbers((await metrics.answer(asked, under_way))[1])

    found = asyncio.run(calls())
    assert found["ai_cache_store_entries"] == 1
    assert found["ai_cache_store_size_bytes"] > 100
    assert found["ai_cache_store_up"] == 1
    assert (found["ai_cache_calls_in_flight"], found["ai_cache_open_streams"]) == (2, 1)
    assert any(key.startswith("ai_cache_info mode=cache store=memory") for key in found)


def test_labels_of_strangers_are_text_and_their_number_is_bounded() -> None:
    async def calls(asked: CountedCache) -> None:
        for number in range(260):
            await ask(asked, request(model=f'm{number}"}}\n# x \\', host=f"h{number}.example.com"), answer())

    found = numbers(metrics.render(run(calls).stats)[1])
    sets = [key for key in found if key.startswith("ai_cache_calls_total ")]
    assert len(sets) == 201
    assert found["ai_cache_calls_total host=other model=other protocol=openai-chat status=MISS"] == 60
    assert any('model=m7"}\n# x \\' in key for key in sets)


def test_a_follower_saves_what_its_leader_turns_out_to_have_used() -> None:
    async def calls(asked: CountedCache) -> None:
        leader = await asked.begin(Exchange(request(stream=True)))
        followers = [asyncio.create_task(asked.begin(Exchange(request(stream=True)))) for _ in range(2)]
        await asyncio.sleep(0)
        capture = asked.storing.watch(leader, 200, SSE)
        assert capture is not None
        early, late = [await task for task in followers]
        assert early.answered.follower is not None
        capture(stream())
        asked.storing.finish(leader, SSE, stream(), Ending.CLEAN)
        asked.followed(early, 200, Ending.CLEAN)
        assert asked.stats.totals().saved.tokens == 0
        await asked.storing.finished()
        assert asked.stats.totals().saved.tokens == 1050
        asked.followed(late, 200, Ending.CLEAN)

    stats = run(calls).stats
    totals = stats.totals()
    assert (totals.calls, totals.hits, totals.collapsed) == (3, 2, 2)
    assert totals.saved.tokens == 2100
    assert totals.saved.dollars == 2 * (PRICE or 0)
    assert numbers(metrics.render(stats)[1])["ai_cache_collapsed_total"] == 2


def test_a_follower_of_a_stream_that_is_not_kept_saves_nothing_that_is_known() -> None:
    async def calls(asked: CountedCache) -> None:
        leader = await asked.begin(Exchange(request(stream=True)))
        following = asyncio.create_task(asked.begin(Exchange(request(stream=True))))
        await asyncio.sleep(0)
        capture = asked.storing.watch(leader, 200, SSE)
        assert capture is not None
        broken = stream()[:40]
        capture(broken)
        asked.storing.finish(leader, SSE, broken, Ending.ABORTED)
        asked.followed(await following, 200, Ending.ABORTED)
        await asked.storing.finished()

    assert run(calls).stats.totals().saved.calls == 0


def test_a_stale_answer_saved_its_tokens() -> None:
    async def calls(asked: CountedCache) -> None:
        await ask(asked, request(), answer())
        await asyncio.sleep(0.02)
        exchange = await asked.begin(Exchange(request()))
        assert asked.stale_response(exchange, 503) is not None
        asked.storing.finish(exchange, JSON, b"", Ending.CLEAN)

    totals = run(calls, ttl="10ms", stale_if_error="1h").stats.totals()
    assert (totals.stale, totals.hits, totals.saved.tokens) == (1, 0, 1050)


def test_buckets_count_up() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7):
        histogram.add(seconds)
    assert histogram.cumulated() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert histogram.sum == pytest.approx(7.65)
