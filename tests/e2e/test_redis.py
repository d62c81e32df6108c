"""A shared store on a real Valkey server: it helps where it works, and costs nothing where it does not."""

from __future__ import annotations

import json
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from harness import BIN, ROOT, SCRIPT, Client, FakeProviders, Process, plain_environ
from mitmproxy_ai_cache.cli.demo.provider import Reply
from relay import Relay
from valkey import Valkey

OPENAI = "https://api.openai.com/v1/chat/completions"
StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [], **members}).encode()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    answer = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    providers.answer = lambda request: Reply([answer])


@pytest.mark.thorough
def test_proxies_share_their_entries(
    valkey: Valkey, providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    url = valkey.start().url
    one, other = (start(f"ai_cache_store={url}") for _ in range(2))
    assert client_of(one).request(OPENAI, chat()).cache == "MISS"
    one.wait_for(re.compile("stored$"))
    one.stop()  # what waits is written
    assert client_of(other).request(OPENAI, chat()).cache == "HIT"
    assert len(providers.calls) == 1


def test_entries_expire_on_the_server_itself(valkey: Valkey, start: StartProxy, client_of: ClientOf) -> None:
    proxy = start(f"ai_cache_store={valkey.start().url}", "ai_cache_ttl=90s")
    client_of(proxy).request(OPENAI, chat())
    proxy.stop()
    with socket.create_connection(("127.0.0.1", valkey.port)) as plain:
        plain.sendall(b"KEYS *\r\n")
        (name,) = re.findall(r"(ai-cache:1:entry:[0-9a-f]{16}:[0-9a-f]{64})", plain.recv(1000).decode())
        plain.sendall(f"TTL {name}\r\n".encode())
        left = int(plain.recv(100).decode().strip(":\r\n"))
        assert 170 <= left <= 180, "as long again as its TTL, for stale_if_error"


FAULTS = ["dead", "frozen", "garbage", "wrong password", "out of memory", "not there at start"]


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_at_fault_fails_no_call_and_costs_no_time(
    fault: str, valkey: Valkey, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    url = valkey.url
    if fault == "wrong password":
        valkey.options = ("--requirepass", "right")
        url = url.replace("://", "://:wr0ng@")
    if fault == "out of memory":
        valkey.options = ("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    if fault != "not there at start":
        valkey.start()
    relay = Relay(valkey.port)
    relay.babbles = True
    if fault == "garbage":
        url = relay.url
    proxy = start(f"ai_cache_store={url}", "ai_cache_near_size=0", "ai_cache_lookup_timeout=250ms")
    client = client_of(proxy)
    client.request(OPENAI, chat(seed=-1))
    if fault == "dead":
        valkey.stop()
    if fault == "frozen":
        valkey.freeze()
    times, statuses = [], []
    for number in range(60):
        began = time.perf_counter()
        got = client.request(OPENAI, chat(seed=number))
        times.append(time.perf_counter() - began)
        statuses.append((got.status, got.cache))
    assert statuses == [(200, "MISS")] * 60
    assert statistics.median(times[10:]) < 0.2  # below the time of a look-up: nobody waits for the server
    said = [line for line in proxy.lines if url.rpartition(":")[2] in line and "mode cache" not in line]
    assert len(said) <= 1, said
    assert not any("wr0ng" in line for line in proxy.lines)
    if fault == "wrong password":
        assert "redis://:PASSWORD@HOST:PORT" in said[0]
    relay.stop()


@pytest.mark.parametrize("fault", ["dead", "frozen"])
@pytest.mark.thorough
def test_it_is_used_again_within_seconds_of_its_recovery(
    fault: str, valkey: Valkey, start: StartProxy, client_of: ClientOf
) -> None:
    proxy = start(f"ai_cache_store={valkey.start().url}", "ai_cache_near_size=0", "ai_cache_lookup_timeout=250ms")
    client = client_of(proxy)
    client.request(OPENAI, chat())
    valkey.freeze() if fault == "frozen" else valkey.stop()
    for number in range(5):
        assert client.request(OPENAI, chat(seed=number)).cache == "MISS"
    proxy.wait_for(re.compile("does not answer.*calls go on as misses"))
    valkey.thaw() if fault == "frozen" else valkey.start()
    began = time.monotonic()
    proxy.wait_for(re.compile(r":\d+ answers again"))
    assert time.monotonic() - began < 10
    client.request(OPENAI, chat(seed=99))
    assert client.request(OPENAI, chat(seed=99)).cache == "HIT", "\n".join(proxy.lines)


def test_a_tampered_value_is_a_miss_and_gone(valkey: Valkey, start: StartProxy, client_of: ClientOf) -> None:
    proxy = start(f"ai_cache_store={valkey.start().url}", "ai_cache_near_size=0")
    client = client_of(proxy)
    client.request(OPENAI, chat())
    for value in (b"oops", b"", b"\x00\x00\x00\x09AIC1broken!"):
        with socket.create_connection(("127.0.0.1", valkey.port)) as plain:
            names: list[bytes] = []
            while not names:  # it is written behind the answer
                plain.sendall(b"KEYS ai-cache:1:entry:*\r\n")
                names = re.findall(rb"(ai-cache:1:entry:[0-9a-f]{16}:[0-9a-f]{64})", plain.recv(1000))
            plain.sendall(
                b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(names[0]), names[0], len(value), value)
            )
            assert plain.recv(10) == b"+OK\r\n"
        assert client.request(OPENAI, chat()).cache == "MISS"
        assert client.request(OPENAI, chat()).cache == "HIT"
    assert any("is broken" in line for line in proxy.lines)


def test_replay_without_its_server_does_not_start(valkey: Valkey, tmp_path: Path) -> None:
    arguments = [str(BIN / "mitmdump"), "-p", "0", "-s", str(SCRIPT), "--set", "ai_cache_mode=replay"]
    arguments += ["--set", f"ai_cache_store={valkey.url}", "--set", f"confdir={tmp_path}"]
    environ = plain_environ(tmp_path, PYTHONPATH=str(ROOT / "addon"))
    done = forked.run(arguments, env=environ, timeout=30)
    assert done.returncode == 1
    assert f"redis://127.0.0.1:{valkey.port} does not answer" in done.stdout
