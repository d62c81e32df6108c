"""Every recorded exchange through a real mitmdump over TLS: MISS byte for byte, then HIT byte for byte."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from harness import Client, FakeProviders, Got, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from mitmproxy_ai_cache.wire.our_headers import HOP

pytestmark = needs_corpus

BROKEN = {"empty-body": "the body is empty", "error-in-body": "a 200 that carries an error"}
"""The only reasons for which a 200 of an inference protocol may be kept out."""


@pytest.mark.slow
def test_every_exchange_is_a_miss_then_a_hit_byte_for_byte(
    providers: FakeProviders,
    start: Callable[..., Process],
    client_of: Callable[[Process], Client],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_id = {exchange.id: exchange for exchange in exchanges()}

    def answer(request: Request) -> Reply:
        exchange = by_id[request.headers.get("x-test-exchange")]
        framing = "chunked" if exchange.streamed else "length"
        return Reply([exchange.response_body], exchange.status, exchange.response_headers, framing)

    providers.answer = answer
    proxy = start()
    client = client_of(proxy)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[str] = []
    for exchange in exchanges():
        name = exchange.call.protocol.name if exchange.call else f"no call ({exchange.protocol})"
        row = table[name]
        providers.forget()
        first = _send(client, exchange)
        row["exchanges"] += 1
        failures += _unlike(exchange, first, "first answer")
        if len(providers.calls) != 1 or not _same_request(exchange, providers.calls[0]):
            failures.append(f"{exchange.id}: the provider got another request")
        providers.forget()
        second = _send(client, exchange)
        failures += _unlike(exchange, second, "second answer")
        if exchange.call is None:
            row["passed"] += 1
            if first.cache == "MISS" or second.cache == "HIT":
                failures.append(f"{exchange.id}: no call, and yet {first.cache}, {second.cache}")
            continue
        row["identified"] += 1
        if second.cache == "HIT":
            row["stored"] += 1
            row["replayed"] += not providers.calls
            if exchange.status != 200:
                failures.append(f"{exchange.id}: a {exchange.status} was stored")
        else:
            why = _why(proxy, exchange)
            row[why] += 1
            if exchange.status == 200 and why not in BROKEN:
                failures.append(f"{exchange.id}: {name} not stored: {why}")
    with capsys.disabled():
        print("\n" + _table(table))
    assert not failures, "\n".join(failures[:40]) + f"\n{len(failures)} in all"


def _send(client: Client, exchange: Recorded) -> Got:
    headers = dict(exchange.request_headers) | {
        "X-Test-Exchange": exchange.id,
        "X-AI-Cache-Namespace": exchange.id,
    }
    return client.request(exchange.url, exchange.request_body, headers, exchange.method)


def _same_request(exchange: Recorded, got: Request) -> bool:
    wanted = exchange.request
    ours = ("x-test-exchange", *([HOP] if wanted.scheme == "http" else []))  # the latter tells a loop
    fields = [(name.lower(), value) for name, value in got.headers if name.lower() not in ours]
    sent = [(name.lower(), value) for name, value in wanted.headers]
    extra = [field for field in fields if field not in sent and field[0] not in ("content-length",)]
    return (
        (got.method, got.path, got.query, got.body) == (wanted.method, wanted.path, wanted.query, wanted.body)
        and not extra
        and all(field in fields for field in sent)
    )


def _unlike(exchange: Recorded, got: Got, what: str) -> list[str]:
    problems = []
    if got.status != exchange.status:
        problems.append(f"{exchange.id}: {what} has status {got.status}")
    if got.body != exchange.response_body:
        problems.append(f"{exchange.id}: {what} has another body")
    if got.headers.get("content-type", "") != exchange.content_type:
        problems.append(f"{exchange.id}: {what} has content type {got.headers.get('content-type')}")
    return problems


def _why(proxy: Process, exchange: Recorded) -> str:
    """The reason in the last log line that says `not stored`."""
    if exchange.status != 200:
        return f"status {exchange.status}"
    return next(line.rpartition("not stored: ")[2] for line in reversed(proxy.lines) if "not stored: " in line)


def _table(table: dict[str, Counter[str]]) -> str:
    columns = ("exchanges", "identified", "stored", "replayed")
    lines = [f"{'protocol':<32}" + "".join(f"{name:>12}" for name in columns) + "  not stored"]
    for name in sorted(table):
        row = table[name]
        others = ", ".join(f"{why}: {count}" for why, count in row.items() if why not in (*columns, "passed"))
        lines.append(f"{name:<32}" + "".join(f"{row[column]:>12}" for column in columns) + f"  {others}")
    return "\n".join(lines)
