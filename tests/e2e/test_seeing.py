"""What a proxy that runs says of itself: `/metrics`, and a log for programs."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import BIN, REDIRECT, Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply

OPENAI = "https://api.openai.com/v1/chat/completions"
CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"nobody reads this"}]}'
ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "message": {"content": "nor that"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
    }
).encode()
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    providers.answer = lambda request: Reply([ANSWER])


def scraped(url: str, proxy: str = "") -> dict[str, float]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy} if proxy else {}))
    with opener.open(url, timeout=30) as page:
        assert page.headers["content-type"].startswith("text/plain; version=")
        families = text_string_to_metric_families(page.read().decode())
        return {sample.name: sample.value for family in families for sample in family.samples}


def test_metrics_are_at_the_proxy_and_at_its_name(
    start: Callable[..., Process], client_of: Callable[[Process], Client]
) -> None:
    proxy = start()
    client = client_of(proxy)
    assert [client.request(OPENAI, CHAT).cache for _ in range(3)] == ["MISS", "HIT", "HIT"]
    for page in (scraped(f"{proxy.url}/metrics"), scraped("http://ai-cache.internal/metrics", proxy.url)):
        assert page["ai_cache_stored_total"] == 1
        assert page["ai_cache_saved_dollars_total"] == pytest.approx(2 * 0.0026)
        assert page["ai_cache_store_up"] == 1
        assert page["ai_cache_calls_in_flight"] == 0


def test_in_json_every_line_of_a_run_is_an_object(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    calls = f"for i in 1 2; do curl -sS {OPENAI} -d '{CHAT.decode()}'; done"
    options = ("--log-format", "json", "-v", "--store", "memory:", *WITH_PROVIDER)
    done = run("run", *options, "--", "sh", "-c", calls)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in told] == ["message", "call", "call", "summary"]
    assert [line["status"] for line in told[1:3]] == ["MISS", "HIT"]
    assert told[2]["tokens"] == {"input": 1000, "output": 10}
    assert told[3]["saved"]["tokens"] == 1010
    assert told[3]["saved"]["dollars"] == pytest.approx(0.0026)
    assert "nobody" not in done.stderr
    assert "nor that" not in done.stderr


def test_a_server_writes_json_where_it_is_asked_to(environ: dict[str, str], tmp_path: Path) -> None:
    arguments = [str(BIN / "ai-cache"), "serve", "--port", "0", *WITH_PROVIDER, "--store", "memory:"]
    served = Process(arguments, {**environ, "AI_CACHE_LOG_FORMAT": "json"}, tmp_path / "data/ai-cache/ca").start()
    client = Client(served.port, served.ca)
    client.request(OPENAI, CHAT)
    client.close()
    assert served.stop() == 0
    events = [json.loads(line)["event"] for line in served.lines]
    assert events == ["message", "message", "call", "summary"]
