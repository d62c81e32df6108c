"""The two doors of the status page: its own port, and its name through the proxy."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import BIN, Client, FakeProviders, Process, free_port
from mitmproxy_ai_cache.cli.demo.provider import Reply

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]

OPENAI = "https://api.openai.com/v1/chat/completions"
MAGIC = "http://ai-cache.internal"
PAGE = re.compile(r"status page on http://\S+:(\d+)/")
PASSWORD = {"Authorization": "Basic " + base64.b64encode(b"me:a password").decode()}


def port_of(proxy: Process) -> int:
    return int(proxy.wait_for(PAGE)[1])


def get(
    port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    got = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return got


@pytest.fixture(autouse=True)
def answering(providers: FakeProviders) -> None:
    message = {"role": "assistant", "content": "an answer"}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    providers.answer = lambda request: Reply([json.dumps(body).encode()])


def chat(text: str) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()


@pytest.mark.thorough
def test_both_doors_lead_to_the_same_page_and_metrics(start: StartProxy, client_of: ClientOf) -> None:
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    client = client_of(proxy)
    client.request(OPENAI, chat("hello"))
    port = port_of(proxy)
    for path, part in (("/", b"gpt-4o"), ("/entries", b"gpt-4o"), ("/metrics", b"ai_cache_calls_total")):
        status, _, body = get(port, path)
        through = client.request(MAGIC + path, method="GET")
        assert status == through.status == 200
        assert part in body
        assert part in through.body
    assert json.loads(client.request(MAGIC + "/healthz", method="GET").body)["status"] == "ok"
    assert b"BEGIN CERTIFICATE" in client.request(MAGIC + "/ca.pem", method="GET").body
    control = client.request(MAGIC + "/ai-cache/status", method="GET", headers={"X-AI-Cache": "1"})
    assert json.loads(control.body)["calls"] == 1


@pytest.mark.thorough
def test_a_strict_replay_has_the_page(start: StartProxy, client_of: ClientOf, tmp_path: Path) -> None:
    proxy = start("ai_cache_dashboard=127.0.0.1:0", f"ai_cache_store=cassettes:{tmp_path}/c", "ai_cache_mode=record")
    client_of(proxy).request(OPENAI, chat("hello"))
    proxy.stop()
    proxy = start("ai_cache_dashboard=127.0.0.1:0", f"ai_cache_store=cassettes:{tmp_path}/c", "ai_cache_mode=replay")
    client = client_of(proxy)
    assert client.request(OPENAI, chat("hello")).cache == "HIT"
    assert client.request(OPENAI, chat("another")).status == 424
    text = get(port_of(proxy), "/")[2].decode()
    assert "replay" in text
    assert "refused" in text
    assert "messages[0].content" in get(port_of(proxy), "/calls/2")[2].decode()
    assert client.request(MAGIC + "/entries", method="GET").status == 200


def test_the_port_has_a_password_where_one_is_set(start: StartProxy) -> None:
    proxy = start("ai_cache_dashboard=0.0.0.0:0", "ai_cache_dashboard_password=a password")
    port = port_of(proxy)
    assert get(port, "/")[0] == get(port, "/metrics")[0] == 401
    assert get(port, "/", PASSWORD)[0] == get(port, "/metrics", PASSWORD)[0] == 200
    assert get(port, "/", PASSWORD | {"Host": "evil.example"})[0] == 421
    assert "a password" not in "\n".join(proxy.lines)


def test_a_page_that_others_can_reach_is_not_shown_without_a_password(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    refused = run("run", "--dashboard", "0.0.0.0:0", "--", "true")
    assert refused.returncode == 125
    assert refused.stderr.count("\n") == 1
    assert "set AI_CACHE_DASHBOARD_PASSWORD" in refused.stderr
    shown = run("run", "--dashboard", "0.0.0.0:0", "--", "true", AI_CACHE_DASHBOARD_PASSWORD="x")
    assert shown.returncode == 0
    assert "status page on http://0.0.0.0:" in shown.stderr


def test_the_page_is_there_while_a_command_runs(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    port = free_port()
    code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/').status)"
    got = run("run", "--dashboard", f"127.0.0.1:{port}", "--", sys.executable, "-c", code)
    assert got.stdout.strip() == "200", got.stderr


@pytest.mark.thorough
def test_calls_go_on_where_the_port_is_taken(start: StartProxy, client_of: ClientOf) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        proxy = start(f"ai_cache_dashboard=127.0.0.1:{taken.getsockname()[1]}")
        proxy.wait_for(
            re.compile(r"no status page on 127\.0\.0\.1:\d+: port \d+ is in use by \S+ \(pid \d+\); write another port")
        )
        client = client_of(proxy)
        assert client.request(OPENAI, chat("hello")).cache == "MISS"
        assert client.request(MAGIC + "/", method="GET").status == 200


@pytest.mark.thorough
def test_where_users_are_kept_apart_the_proxy_shows_totals_only(start: StartProxy, client_of: ClientOf) -> None:
    proxy = start("ai_cache_isolate=credential")
    client = client_of(proxy)
    got = client.request(OPENAI, chat("a question of somebody"), {"Authorization": "Bearer sk-one"})
    text = client.request(MAGIC + "/", method="GET").body.decode()
    assert "Only totals are shown here" in text
    assert "gpt-4o" not in text
    for path in ("/entries", f"/entries/{got.headers['x-ai-cache-key']}", "/calls/1", "/purge"):
        assert client.request(MAGIC + path, method="GET").status == 403


@pytest.mark.thorough
def test_proxyauth_is_asked_for_before_the_page(start: StartProxy) -> None:
    proxy = start("proxyauth=me:secret")
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    connection.request("GET", MAGIC + "/")
    assert connection.getresponse().status == 407
    connection.close()
    named = {"Proxy-Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}
    connection.request("GET", MAGIC + "/", headers=named)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.thorough
def test_head_has_no_body_and_odd_requests_get_an_answer(start: StartProxy) -> None:
    port = port_of(start("ai_cache_dashboard=127.0.0.1:0"))
    status, headers, body = get(port, "/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000
    assert get(port, "/", method="DELETE")[0] == 405
    assert get(port, "/purge", method="POST", body=b"a" * 60_000)[0] == 403
    assert get(port, "/%00%0d%0aset-cookie:x=1")[0] == 404
    assert get(port, "/entries?removed=%0d%0aset-cookie:x=1")[0] == 200
    assert get(port, "//evil.example/../..%2f..%2fetc/passwd")[0] == 404


@pytest.mark.thorough
def test_a_request_that_is_too_long_does_not_stay(start: StartProxy) -> None:
    port = port_of(start("ai_cache_dashboard=127.0.0.1:0"))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000000\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400") or client.recv(1000) == b""
    assert get(port, "/")[0] == 200


@pytest.mark.thorough
def test_nothing_of_the_page_is_imported_before_it_is_asked_for() -> None:
    unwanted = "{'mitmproxy_ai_cache.dashboard.site', 'tornado'}"
    code = f"import sys, mitmproxy_ai_cache.addon; print({unwanted} & set(sys.modules))"
    got = subprocess.run([str(BIN / "python"), "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "set()"
