"""Modes, request headers, isolation and options, on real mitmdump."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forked
from harness import BIN, ROOT, SCRIPT, Client, FakeProviders, Got, Process, free_port, mitmdump, plain_environ
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

OPENAI = "https://api.openai.com/v1/chat/completions"
StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}).encode()


@pytest.fixture
def counting(providers: FakeProviders) -> FakeProviders:
    """Every answer is another one."""

    def answer(request: Request) -> Reply:
        message = {"role": "assistant", "content": f"answer {len(providers.calls)}"}
        return Reply([json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()])

    providers.answer = answer
    return providers


def seen(got: Got) -> tuple[str, str]:
    return got.cache, json.loads(got.body)["choices"][0]["message"]["content"]


@pytest.mark.each_store
@pytest.mark.usefixtures("lasting_store")
def test_cache_then_read_only_then_refresh_then_off_on_one_store(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    def run(mode: str, *bodies: bytes) -> list[tuple[str, str]]:
        proxy = start(f"ai_cache_mode={mode}")
        client = client_of(proxy)
        result = [seen(client.request(OPENAI, body)) for body in bodies]
        client.close()
        proxy.stop()
        return result

    assert run("cache", chat(), chat()) == [("MISS", "answer 1"), ("HIT", "answer 1")]
    assert run("read-only", chat(), chat(seed=1), chat(seed=1)) == [
        ("HIT", "answer 1"),
        ("MISS", "answer 2"),
        ("MISS", "answer 3"),
    ]
    assert run("refresh", chat(), chat()) == [("REFRESH", "answer 4"), ("REFRESH", "answer 5")]
    assert run("off", chat()) == [("", "answer 6")]
    assert run("cache", chat()) == [("HIT", "answer 4")]


@pytest.mark.each_store
def test_request_directives_have_their_meaning(counting: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    client = client_of(start())

    def ask(control: str) -> Got:
        return client.request(OPENAI, chat(), {"Cache-Control": control})

    refused = ask("only-if-cached")
    assert (refused.status, refused.cache) == (424, "MISS")
    assert "no stored answer" in json.loads(refused.body)["error"]["message"]
    assert seen(ask("no-store")) == ("MISS", "answer 1")
    assert seen(ask("max-age=60")) == ("MISS", "answer 2")
    assert seen(ask("max-age=60")) == ("HIT", "answer 2")
    assert seen(ask("no-store")) == ("HIT", "answer 2")
    assert seen(ask("no-cache")) == ("REFRESH", "answer 3")
    assert seen(ask("only-if-cached")) == ("HIT", "answer 3")
    assert all(request.headers.get("cache-control") for request in counting.calls), "the client's own header goes on"


@pytest.mark.each_store
def test_our_request_headers_separate_and_are_not_forwarded(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client = client_of(start())
    one = {"X-AI-Cache-Namespace": "one", "X-AI-Cache-TTL": "1h"}
    assert seen(client.request(OPENAI, chat(), one)) == ("MISS", "answer 1")
    assert seen(client.request(OPENAI, chat())) == ("MISS", "answer 2")
    hit = client.request(OPENAI, chat(), one)
    assert seen(hit) == ("HIT", "answer 1")
    assert re.search(r"ai-cache; hit; .*ttl=3(?:599|600)", hit.headers["cache-status"])
    assert not any(name.lower().startswith("x-ai-cache") for request in counting.calls for name, _ in request.headers)


def test_a_signed_header_of_ours_is_forwarded(counting: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/x, SignedHeaders=host;x-ai-cache-ttl, Signature=0"
    headers = {"Authorization": signed, "X-AI-Cache-TTL": "1h", "X-AI-Cache-Namespace": "n"}
    client_of(start()).request(OPENAI, chat(), headers)
    assert counting.calls[0].headers.get("x-ai-cache-ttl") == "1h"
    assert "x-ai-cache-namespace" not in counting.calls[0].headers


@pytest.mark.each_store
@pytest.mark.usefixtures("lasting_store")
@pytest.mark.thorough
def test_samples_give_the_nth_call_of_a_run_the_nth_answer(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    def run(samples: int, calls: int) -> list[tuple[str, str]]:
        proxy = start(f"ai_cache_samples={samples}")
        client = client_of(proxy)
        result = [seen(client.request(OPENAI, chat())) for _ in range(calls)]
        client.close()
        proxy.stop()
        return result

    assert run(2, 3) == [("MISS", "answer 1"), ("MISS", "answer 2"), ("HIT", "answer 1")]
    assert run(3, 3) == [("HIT", "answer 1"), ("HIT", "answer 2"), ("MISS", "answer 3")]
    assert run(1, 2) == [("HIT", "answer 1")] * 2


@pytest.mark.each_store
@pytest.mark.thorough
def test_bypass_rules_skip_stop_reasons_and_silent_headers(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client = client_of(start("ai_cache_bypass_on=x-no=1", "ai_cache_skip_stop_reasons=stop"))
    bypassed = client.request(OPENAI, chat(), {"X-No": "1"})
    assert (bypassed.cache, bypassed.reason) == ("BYPASS", "bypass-rule")
    assert [client.request(OPENAI, chat()).cache for _ in range(2)] == ["MISS", "MISS"]
    silent = client_of(start("ai_cache_headers=false")).request(OPENAI, chat())
    assert not [name for name in silent.headers if "cache" in name]


@pytest.mark.parametrize(("mode", "status"), [("skip", 200), ("warn", 200), ("error", 424)])
@pytest.mark.thorough
def test_requests_that_are_no_ai_calls(
    mode: str, status: int, counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    proxy = start(f"ai_cache_fail_mode={mode}")
    got = client_of(proxy).request("https://example.com/thing", b"{}")
    assert (got.status, got.cache) == (status, "")
    if mode == "warn":
        proxy.wait_for(re.compile(r"example.com/thing is no AI call"))


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"Host": "api.anthropic.com"}, chat(), "host-mismatch"),
        ({}, b'{"messages":[],"messages":[1]}', "duplicate-members"),
        ({"Content-Encoding": "rot13"}, chat(), "undecodable"),
        ({}, chat(padding="x" * 70_000), "request-too-large"),
        ({}, b"not json", "not-inference"),
    ],
)
@pytest.mark.thorough
def test_what_cannot_be_cached_passes_with_its_reason(
    headers: dict[str, str], body: bytes, reason: str, counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    got = client_of(start("ai_cache_max_body=64k")).request(OPENAI, body, headers)
    assert (got.status, got.cache, got.reason) == (200, "BYPASS", reason)


@pytest.mark.parametrize(
    ("url", "members", "reason"),
    [
        ("https://api.openai.com/v1/responses", {"background": True}, "background"),
        ("https://api.openai.com/v1/responses", {"conversation": "conv_1"}, "conversation"),
        ("https://api.openai.com/v1/threads/t/runs", {}, "not-inference"),
        ("https://api.openai.com/v1/files", {}, "not-inference"),
        ("https://api.anthropic.com/v1/messages/batches", {"requests": []}, "not-inference"),
        ("https://generativelanguage.googleapis.com/upload/v1beta/files", {}, "not-inference"),
    ],
)
@pytest.mark.thorough
def test_stateful_calls_pass_with_a_reason(
    url: str, members: dict[str, Any], reason: str, counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client = client_of(start())
    for _ in range(2):
        got = client.request(url, json.dumps({"model": "m", "input": "hi", **members}).encode())
        assert (got.cache, got.reason) == ("BYPASS", reason)
    assert len(counting.calls) == 2


@pytest.mark.thorough
def test_what_clients_send_beside_their_calls_passes_without_a_word(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    url = "https://api.anthropic.com/api/event_logging/v2/batch"
    got = client_of(start()).request(url, b"{}")
    assert (got.status, got.cache) == (200, "")
    strict = start("ai_cache_mode=replay")
    refused = client_of(strict).request(url, b"{}")
    assert (refused.status, b"no AI call" in refused.body) == (424, True)
    assert len(counting.calls) == 1


@pytest.mark.each_store
@pytest.mark.usefixtures("lasting_store")
@pytest.mark.thorough
def test_record_keeps_everything_on_ai_hosts_and_replay_answers_it_offline(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    def answer(request: Request) -> Reply:
        if request.path.endswith("/broken"):
            return Reply(
                [b"data: {}\n\n"], headers=(("content-type", "text/event-stream"),), framing="chunked", reset=True
            )
        status = 429 if request.path.endswith("/slow") else 200
        return Reply([b'{"path":"' + request.path.encode() + b'"}'], status)

    providers.answer = answer
    calls = [
        ("GET", "/v1/models", b""),
        ("POST", "/v1/threads", b"{}"),
        ("DELETE", "/v1/files/f", b""),
        ("POST", "/v1/slow", b"{}"),
    ]
    base = "https://api.openai.com"

    def run(mode: str) -> tuple[Process, list[tuple[str, int, bytes]]]:
        proxy = start(f"ai_cache_mode={mode}")
        client = client_of(proxy)
        got = [client.request(base + path, body, method=method) for method, path, body in calls]
        client.close()
        return proxy, [(one.cache, one.status, one.body) for one in got]

    recording, recorded = run("record")
    assert [status for _, status, _ in recorded] == [200, 200, 200, 429]
    assert {cache for cache, _, _ in recorded} == {"MISS"}
    with pytest.raises(Exception, match="IncompleteRead"):
        client_of(recording).request(base + "/v1/broken", b"{}")
    elsewhere = client_of(recording).request("https://example.com/", method="GET")
    assert (elsewhere.status, elsewhere.cache) == (200, "")
    recording.stop()
    providers.forget()
    connections = providers.tls.connections
    replaying, replayed = run("replay")
    assert replayed == [("HIT", status, body) for _, status, body in recorded]
    assert client_of(replaying).request(base + "/v1/broken", b"{}").status == 424
    assert (providers.calls, providers.tls.connections) == ([], connections)


@pytest.mark.each_store
@pytest.mark.usefixtures("lasting_store")
def test_a_recording_keeps_what_a_retry_got_and_polling_in_its_order(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    def answer(request: Request) -> Reply:
        tries = len(providers.calls)
        if request.method == "GET":
            return Reply([b'{"status":"%s"}' % (b"completed" if tries == 4 else b"in_progress")])
        choice = {"message": {"content": "x"}, "finish_reason": "stop"}
        return Reply([b"{}"], 429) if tries == 1 else Reply([json.dumps({"choices": [choice]}).encode()])

    providers.answer = answer
    poll = "https://api.openai.com/v1/batches/b"
    recording = start("ai_cache_mode=record")
    client = client_of(recording)
    assert [client.request(OPENAI, chat()).status for _ in range(2)] == [429, 200]
    assert [json.loads(client.request(poll, method="GET").body)["status"] for _ in range(2)] == [
        "in_progress",
        "completed",
    ]
    recording.stop()
    client = client_of(start("ai_cache_mode=replay"))
    assert client.request(OPENAI, chat()).status == 200
    polled = [json.loads(client.request(poll, method="GET").body)["status"] for _ in range(3)]
    assert polled == ["in_progress", "completed", "completed"]
    assert len(providers.calls) == 4


def test_replay_stays_strict_when_another_script_raises(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    raising = tmp_path / "raises.py"
    raising.write_text("def request(flow): raise RuntimeError")
    got = client_of(start("ai_cache_mode=replay", "ai_cache_store=memory:", before=(raising,))).request(OPENAI, chat())
    assert got.status in (424, 502)
    assert b"ai-cache replay" in got.body
    assert providers.tls.connections == 0


@pytest.mark.each_store
def test_replay_is_strict(providers: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    """No connection to anywhere: not for a miss, a foreign host, a CONNECT, nor a WebSocket."""
    proxy = start("ai_cache_mode=replay", "ai_cache_store=memory:")
    client = client_of(proxy)
    miss = client.request(
        "https://api.anthropic.com/v1/messages", chat(max_tokens=1), {"anthropic-version": "2023-06-01"}
    )
    error = json.loads(miss.body)
    assert (miss.status, miss.headers["x-should-retry"], error["type"]) == (424, "false", "error")
    assert "anthropic-messages m at" in error["error"]["message"]
    assert miss.headers["x-ai-cache-key"] in error["error"]["message"]
    foreign = client.request("https://example.com/", method="GET")
    assert (foreign.status, b"example.com is no AI host" in foreign.body) == (424, True)
    assert client.request("http://localhost:11434/api/chat", chat()).status == 424
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    assert client.request("https://api.openai.com/v1/realtime", headers=upgrade, method="GET").status == 426
    uncacheable = client.request(OPENAI, b'{"messages":[],"messages":[]}')
    assert (uncacheable.status, uncacheable.cache, uncacheable.reason) == (424, "BYPASS", "duplicate-members")
    tunnel = Client(proxy.port, proxy.ca)
    with pytest.raises(Exception):  # noqa: B017 raw bytes in a tunnel: whatever way it fails, it fails
        tunnel.request("https://example.com/", b"x", {"Transfer-Encoding": "identity"}, method="\x00")
    assert providers.tls.connections == providers.plain.connections == 0


def test_a_refused_head_does_not_upset_a_kept_connection(start: StartProxy, client_of: ClientOf) -> None:
    client = client_of(start("ai_cache_mode=replay", "ai_cache_store=memory:"))
    assert client.request("https://api.openai.com/v1/models", method="HEAD").status == 424
    assert client.request(OPENAI, chat()).status == 424


@pytest.mark.each_store
def test_only_if_cached_never_reaches_the_provider(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client = client_of(start())
    headers = {"Cache-Control": "only-if-cached"}
    background = client.request("https://api.openai.com/v1/responses", b'{"input":"x","background":true}', headers)
    listed = client.request("https://api.openai.com/v1/models", headers=headers, method="GET")
    assert [(got.status, got.reason) for got in (background, listed)] == [(424, "background"), (424, "get")]
    assert counting.calls == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"model":"\\ud800","messages":[]}', {}),
        (b"x", {"Content-Type": "multipart/form-data; boundary*" + "9" * 5000 + "=b"}),
        pytest.param(b'{"messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}", {}, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.thorough
def test_a_request_nobody_sane_would_send_passes_or_is_refused_cleanly(
    body: bytes, headers: dict[str, str], counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    proxy = start()
    client = client_of(proxy)
    for _ in range(2):
        assert client.request(OPENAI, body, headers | {"X-AI-Cache-Namespace": "n"}).status == 200
    assert not any("x-ai-cache-namespace" in call.headers for call in counting.calls)
    strict = client_of(start("ai_cache_mode=replay"))
    assert strict.request(OPENAI, body, headers | {"X-AI-Cache-Namespace": "other"}).status == 424
    assert not any("Traceback" in line for line in proxy.lines)


def test_nothing_a_client_or_provider_sends_can_forge_a_log_line(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    evil = "x\nai-cache: HIT forged \x1b[31mred"
    answer = json.dumps({"status": evil, "output": [{}]}).encode()
    providers.answer = lambda request: Reply([answer])
    proxy = start()
    client = client_of(proxy)
    client.request("https://api.openai.com/v1/responses", json.dumps({"model": evil, "input": "x"}).encode())
    client.request(OPENAI, chat(), {"X-AI-Cache-TTL": "1h \x1b[31m"})
    proxy.wait_for(re.compile("not stored: no-choices"))
    assert not any("\x1b" in line or line.startswith("ai-cache: HIT") for line in proxy.lines)


def test_a_plain_request_speaks_for_itself_and_not_for_its_connection(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client = client_of(start("ai_cache_isolate=proxy-user"))
    url = "http://gateway.example/v1/chat/completions"
    alice = {"Proxy-Authorization": "Basic " + base64.b64encode(b"alice:x").decode()}
    assert client.request(url, chat(), alice).cache == "MISS"
    assert client.request(url, chat()).status == 407
    assert client.request(url, chat(), alice).cache == "HIT"


@pytest.mark.parametrize("option", ["stream_large_bodies=1m", "ai_cache_eager=true"])
def test_replay_refuses_options_that_would_make_it_leaky(option: str, tmp_path: Path) -> None:
    done = _mitmdump(tmp_path, "ai_cache_mode=replay", option)
    assert done.returncode == 1
    assert "cannot be strict" in done.stdout


@pytest.mark.parametrize(
    ("option", "mend"),
    [
        ("ai_cache_ttl=soon", "write for example 250ms, 1h or 7d"),
        ("ai_cache_mode=bad", "write one of auto, cache, read-only"),
        ("ai_cache_samples=x", "write a whole number"),
        ("ai_cache_samples=0", "write a number from 1"),
        ("ai_cache_headers=maybe", "write true or false"),
        ("ai_cache_tll=1h", "did you mean ai_cache_ttl"),
        ("ai_cache_store=mysql://x", "write sqlite:///PATH"),
        ("ai_cache_isolate=user", "write none, credential, proxy-user or header:NAME"),
        ("ai_cache_alias=azure", "write GLOB=NAME"),
        ("ai_cache_normalize=(=x", "write PATTERN=REPLACEMENT"),
        ("ai_cache_ignore=a[b]", "write for example metadata.user_id"),
        ("ai_cache_bypass_on=x", "write HEADER=VALUE"),
        ("ai_cache_profiles=claude", "write one of claude-code@1"),
        ("ai_cache_max_size=big", "write for example 10m or 1g"),
    ],
)
@pytest.mark.thorough
def test_a_wrong_option_ends_the_start_with_one_line(option: str, mend: str, tmp_path: Path) -> None:
    done = _mitmdump(tmp_path, option)
    assert done.returncode == 1
    ours = [line for line in done.stdout.splitlines() if "ai-cache: " in line]
    assert len(ours) == 1
    assert mend in ours[0]
    assert "Traceback" not in done.stdout + done.stderr


def _mitmdump(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(BIN / "mitmdump"), "-p", "0", "-s", str(SCRIPT)]
    for option in (f"confdir={home}", *options):
        arguments += ["--set", option]
    environ = plain_environ(home, PYTHONPATH=str(ROOT / "addon"))
    return forked.run(arguments, env=environ, timeout=90)


@pytest.mark.thorough
def test_mitmdump_options_shows_every_option_with_its_help(tmp_path: Path) -> None:
    from mitmproxy_ai_cache.configuration.settings import OPTIONS

    arguments = [str(BIN / "mitmdump"), "-s", str(SCRIPT), "--options", "--set", f"confdir={tmp_path}"]
    environ = plain_environ(tmp_path, PYTHONPATH=str(ROOT / "addon"))
    shown = forked.run(arguments, anew=True, env=environ, timeout=90).stdout
    for option in OPTIONS:
        assert f"\n{option.name}:" in shown
        assert option.help.split(".")[0].split(" ")[0] in shown


# Whose entries may answer


def as_user(client: Client, key: str) -> Got:
    return client.request(OPENAI, chat(), {"Authorization": f"Bearer {key}"})


@pytest.mark.each_store
@pytest.mark.thorough
def test_on_loopback_everybody_shares(counting: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    client = client_of(start())
    assert seen(as_user(client, "sk-a")) == ("MISS", "answer 1")
    assert seen(as_user(client, "sk-b")) == ("HIT", "answer 1")


def test_a_proxy_that_serves_others_keeps_credentials_apart(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    proxy = start("listen_host=0.0.0.0")
    proxy.wait_for(re.compile("whoever reaches this port"))
    assert any("entries apart by credential" in line for line in proxy.lines)
    client = client_of(proxy)
    assert seen(as_user(client, "sk-a")) == ("MISS", "answer 1")
    assert seen(as_user(client, "sk-b")) == ("MISS", "answer 2")
    assert seen(as_user(client, "sk-a")) == ("HIT", "answer 1")
    rotating = as_user(client, "ya29.token")
    assert (rotating.cache, rotating.reason) == ("BYPASS", "unstable-credential")


@pytest.mark.thorough
def test_proxy_users_are_kept_apart_and_nobody_is_refused(
    counting: FakeProviders, start: StartProxy, tmp_path: Path
) -> None:
    proxy = start("ai_cache_isolate=proxy-user")
    code = (
        "import json,os,urllib.request as u\n"
        f"r=u.Request({OPENAI!r},{chat()!r},{{'content-type':'application/json'}})\n"
        "try:\n a=u.urlopen(r); a.read(); print(a.headers['x-ai-cache-status'])\n"
        "except OSError as e: print(e)"
    )

    def ask(user: str) -> str:
        environ = plain_environ(tmp_path, **proxy.client_environ())
        environ["HTTPS_PROXY"] = environ["https_proxy"] = proxy.url.replace("http://", f"http://{user}")
        return subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert [ask("team-a:x@"), ask("team-b:x@"), ask("team-a:x@")] == ["MISS", "MISS", "HIT"]
    assert "407" in ask("")
    assert not any("proxy-authorization" in request.headers for request in counting.calls)


@pytest.mark.each_store
def test_proxyauth_proves_the_proxy_user(counting: FakeProviders, start: StartProxy, tmp_path: Path) -> None:
    proxy = start("ai_cache_isolate=proxy-user", "proxyauth=team:secret")

    def connect(password: str) -> int:
        import http.client
        import ssl

        connection = http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, context=ssl.create_default_context(cafile=str(proxy.ca))
        )
        token = base64.b64encode(f"team:{password}".encode()).decode()
        connection.set_tunnel("api.openai.com", 443, {"Proxy-Authorization": f"Basic {token}"})
        connection.request("POST", "/v1/chat/completions", chat())
        return connection.getresponse().status

    assert connect("secret") == 200
    with pytest.raises(OSError, match="407"):
        connect("wrong")


# Modes of mitmproxy


def test_reverse_mode_shares_nothing_with_others_and_hits(counting: FakeProviders, start: StartProxy) -> None:
    proxy = start("mode=reverse:https://api.openai.com")

    def ask() -> Got:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        connection.request("POST", "/v1/chat/completions", chat())
        response = connection.getresponse()
        return Got(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    assert [seen(ask()), seen(ask())] == [("MISS", "answer 1"), ("HIT", "answer 1")]
    assert counting.calls[0].headers.get("host") == "api.openai.com"


@pytest.mark.each_store
@pytest.mark.thorough
def test_upstream_mode_caches_before_the_outer_proxy(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    (tmp_path / "outer").mkdir()
    outer = _outer(counting, tmp_path / "outer")
    proxy = start(f"mode=upstream:{outer.url}", f"ssl_verify_upstream_trusted_ca={outer.ca}", redirect=False)
    client = client_of(proxy)
    assert [seen(client.request(OPENAI, chat())) for _ in range(2)] == [("MISS", "answer 1"), ("HIT", "answer 1")]
    outer.stop()


def _outer(providers: FakeProviders, home: Path) -> Process:
    return mitmdump(providers, home, "ai_cache_mode=off").start()


@pytest.mark.thorough
def test_mitmweb_runs_it_too(counting: FakeProviders, start: StartProxy, client_of: ClientOf) -> None:
    client = client_of(start("web_open_browser=false", "web_port=0", tool="mitmweb"))
    assert [client.request(OPENAI, chat()).cache for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.thorough
def test_mitmproxy_in_a_terminal_runs_it_too(counting: FakeProviders, tmp_path: Path) -> None:
    port = free_port()
    console = mitmdump(counting, tmp_path, f"listen_port={port}", tool="mitmproxy")
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (30, 100))
    environ = {**console.environ, "TERM": "xterm"}
    arguments = [word for word in console.arguments if word not in ("-p", "0")]
    process = subprocess.Popen(arguments, env=environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    drained = threading.Thread(target=lambda: [os.read(master, 4096) for _ in iter(int, 1)], daemon=True)
    drained.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        client = Client(port, console.ca)
        assert [client.request(OPENAI, chat()).cache for _ in range(3)][1:] == ["HIT", "HIT"]
        client.close()
    finally:
        process.kill()
        process.wait(10)


def test_an_answer_another_script_made_is_not_stored(
    counting: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    mocking = tmp_path / "mocking.py"
    mocking.write_text(
        "from mitmproxy import http\n"
        "def request(flow):\n"
        "    if 'x-mock' in flow.request.headers:\n"
        '        flow.response = http.Response.make(200, b\'{"choices":[{"message":{"content":"mock"}}]}\','
        " {'content-type': 'application/json'})\n"
    )
    client = client_of(start(after=(mocking,)))
    assert seen(client.request(OPENAI, chat(), {"X-Mock": "1"})) == ("", "mock")
    assert seen(client.request(OPENAI, chat())) == ("MISS", "answer 1")
    assert seen(client.request(OPENAI, chat())) == ("HIT", "answer 1")
