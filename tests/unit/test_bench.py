"""What `scripts/bench` makes of what it measured, and that its load counts right."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load, material, wrk
from bench.figures import Figure, Goal, Sample, in_turns, ratios, table
from bench.filled import fill
from bench.machine import described
from bench.misses import misses
from bench.scenario import QUICK, SCENARIOS, throughput, times
from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.cli.demo.provider import Provider, Reply
from mitmproxy_ai_cache.protocols.base import Answer, Call, Ending
from mitmproxy_ai_cache.stores.sqlite.store import SqliteStore
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Request


def sample(requests: int, cpu: float = 1.0, p50: float = 0.001) -> Sample:
    return Sample(requests, 2.0, p50=p50, cpu=cpu, load_cpu=0.1)


def test_subjects_take_turns() -> None:
    order: list[str] = []
    found = in_turns(3, {name: (lambda name=name: order.append(name) or len(order)) for name in "AB"})
    assert "".join(order) == "ABABAB"
    assert found == {"A": [1, 3, 5], "B": [2, 4, 6]}


def test_a_ratio_is_of_a_round_to_the_round_beside_it() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0], float) == (2.0, 3.0)


def test_rounds_that_do_not_pair_are_an_error() -> None:
    with pytest.raises(ValueError):
        ratios([2.0], [1.0, 3.0], float)


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (Goal(1.6), 1.6, True),
        (Goal(1.6), 1.59, False),
        (Goal(0.65, at_most=True), 0.65, True),
        (Goal(0.65, at_most=True), 0.66, False),
    ],
)
def test_a_goal_is_met_at_its_limit(goal: Goal, ratio: float, met: bool) -> None:
    assert goal.met(ratio) is met


def test_throughput_is_by_time_and_by_cpu_time() -> None:
    figure = throughput("hits", [sample(400, cpu=1.0)], [sample(200, cpu=2.0)], 1.6)
    assert figure.ratios == (2.0,)
    assert figure.by_cpu == (4.0,)
    assert figure.note == "200/s to 100/s, load took 5% of a core"


def test_times_are_good_when_they_are_small() -> None:
    figure = times("p50", [sample(1, p50=0.001)], [sample(1, p50=0.002)], lambda each: each.p50, 0.65)
    assert figure.goal is not None
    assert figure.ratios == (0.5,)
    assert figure.goal.met(figure.median)


def test_the_table_is_markdown_and_says_median_spread_goal_and_whether_it_is_met() -> None:
    figures = [
        Figure("hits", (1.0, 3.0, 2.0), Goal(1.6), (1.9,), "1/s"),
        Figure("time", (0.7,), Goal(0.65, at_most=True)),
        Figure("more", (1.0,)),
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(figures).splitlines()]
    assert rows[0] == ["what", "ratio", "spread", "by CPU", "goal", "", "measured"]
    assert all(set(cell) == {"-"} for cell in rows[1])
    assert rows[2:] == [
        ["hits", "2.00", "1.00-3.00", "1.90", ">= 1.6", "met", "1/s"],
        ["time", "0.70", "0.70-0.70", "", "<= 0.65", "MISSED", ""],
        ["more", "1.00", "1.00-1.00", "", "", "", ""],
    ]


def test_every_round_is_in_the_json() -> None:
    figure = throughput("hits", [sample(400), sample(500)], [sample(200), sample(250)])
    read = json.loads(json.dumps(figure.as_json()))
    assert (read["median"], read["min"], read["max"], read["goal"]) == (2.0, 2.0, 2.0, None)
    assert [each["requests"] for each in read["rounds"]["subject"]] == [400, 500]
    assert [each["requests"] for each in read["rounds"]["baseline"]] == [200, 250]


def test_every_scenario_says_what_it_measures() -> None:
    assert SCENARIOS["misses"] is misses
    assert set(QUICK) <= set(SCENARIOS)
    assert all(function.__doc__ for function in SCENARIOS.values())


def test_the_machine_is_named() -> None:
    assert {"cores", "cpu", "python", "mitmproxy"} <= set(described())


# Material


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("size", [2_000, 100_000, 1_000_000])
def test_a_request_has_its_size_and_is_a_chat(size: int, spaced: bool) -> None:
    data = material.chat(size, spaced=spaced)
    assert size * 0.85 < len(data) < size * 1.1
    assert _call(data) is not None


@pytest.mark.parametrize("name", [name for name in material.ANSWERS if name != "sse-slow"])
@pytest.mark.thorough
def test_an_answer_is_one_that_is_kept(name: str) -> None:
    kind, chunks = material.answer(name)
    data = b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))
    call = _call(material.chat(2_000, name, stream=name.startswith("sse")))
    assert call is not None
    verdict = gate.verdict(call, Answer(200, kind, data, Ending.CLEAN))
    assert (verdict.whole, verdict.cacheable) == (True, True)


def _call(data: bytes) -> Call | None:
    request = Request("POST", "https", material.HOST, 443, material.PATH, body=data)
    return protocols.standard().recognise(request, body.read(request, 1 << 24))


# Load


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """Answers as `model` says, in a thread of its own."""

    def answer(request: Request) -> Reply:
        assert request.body is not None
        kind, chunks = material.answer(json.loads(request.body)["model"])
        fields = [("content-type", kind), ("x-ai-cache-status", "HIT")]
        return Reply(chunks, headers=fields, framing="chunked" if "event" in kind else "length")

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    made = Provider(tmp_path, answer, tls_names=False)
    asyncio.run_coroutine_threadsafe(made.start(), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(made.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)


@pytest.mark.parametrize("answer", ["json-2k", "sse-500"])
def test_the_load_counts_whole_answers(provider: Provider, answer: str) -> None:
    spec = load.Spec(
        (provider.port,), (os.getpid(),), material.chat(2_000, answer).decode(), connections=3, requests=12, distinct=4
    )
    found = load.run(spec)
    assert (found.requests, found.failed, found.hits) == (12, 0, 12)
    assert 0 < found.first_byte <= found.p50 <= found.p99
    assert (found.event_delay > 0) is answer.startswith("sse")
    asked = {call.body for call in provider.calls}
    assert asked == {_numbered(material.chat(2_000, answer), number) for number in range(4)}


def _numbered(data: bytes, number: int) -> bytes:
    return data.replace(material.NONCE.encode(), b"nonce-%08d" % number)


def test_http2_load_speaks_http2() -> None:
    """Every request of a full window is answered, a frame at a time."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, RequestReceived, StreamEnded

    ours, theirs = socket.socketpair()
    server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    theirs.sendall(server.data_to_send())
    wanted = load.Load(load.Spec((), (), material.chat(20_000).decode(), "h2", requests=9))
    client = load.Http2(ours, wanted)
    client.start(4)
    got: dict[int, bytes] = {}
    seen: list[dict[str, str]] = []
    while len(wanted.times) < 9:
        for event in server.receive_data(theirs.recv(65_536)):
            if isinstance(event, RequestReceived):
                seen.append(dict(event.headers))
            elif isinstance(event, DataReceived):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
                server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                server.send_headers(event.stream_id, [(":status", "200")])
                server.send_data(event.stream_id, b"x" * 5_000, end_stream=True)
        theirs.sendall(server.data_to_send())
        client.readable()
    assert wanted.failed == 0
    assert set(got.values()) == {_numbered(material.chat(20_000), 0)}
    assert len(got) == 9
    assert (seen[0][":method"], seen[0][":path"]) == ("POST", material.PATH)
    ours.close()
    theirs.close()


WRK = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 16 connections
  Latency Distribution
     50%   17.25ms
     75%   18.00ms
     99%    1.50s
  1752 requests in 2.00s, 4.19MB read
Requests/sec:    876.00
"""


def test_what_wrk_prints_is_read() -> None:
    found = wrk.read(WRK, 2.0, 1.5, 0.1)
    assert (found.requests, found.per_second, found.failed) == (1752, 876.0, 0)
    assert (found.p50, found.p99) == (0.01725, 1.5)


def test_wrk_without_answers_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no answers"):
        wrk.read("  0 requests in 2.00s, 0B read\nRequests/sec:      0.00\n", 2.0, 0, 0)


def test_wrk_says_which_answers_were_errors() -> None:
    assert wrk.read(WRK + "  Non-2xx or 3xx responses: 7\n", 2.0, 1.5, 0.1).failed == 7


def test_a_store_is_filled_with_what_a_proxy_can_open(tmp_path: Path) -> None:
    async def entries() -> int:
        store = SqliteStore(f"sqlite:///{tmp_path / 'filled.sqlite3'}", 1 << 30)
        await store.open()
        number = await store.count()
        await store.close()
        return number

    fill(tmp_path / "filled.sqlite3", 50)
    assert asyncio.run(entries()) == 50
