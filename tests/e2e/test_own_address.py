"""What is for the proxy itself, what comes back to it, and where its base URLs go."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from asking import Bend, ask, ask_h2, connect, outward_address
from harness import Client, FakeProviders, Process, mitmdump
from mitmproxy_ai_cache.cli.demo.provider import Reply

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]

CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}).encode()
BASED = "/https://api.openai.com/v1/chat/completions"
LOCAL_BASED = "/http://localhost:11434/v1/chat/completions"
CONTROL = {"X-AI-Cache": "1"}
PAGE = re.compile(r"status page on http://\S+:(\d+)/")


@pytest.fixture(autouse=True)
def answering(providers: FakeProviders) -> None:
    message = {"role": "assistant", "content": "an answer"}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    providers.answer = lambda request: Reply([json.dumps(body).encode()])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, int, FakeProviders]]:
    """One proxy for all tests that ask it for what it must refuse, the port of its status page, and its providers."""
    home = tmp_path_factory.mktemp("shared")
    providers = FakeProviders(home / "provider")
    proxy = mitmdump(providers, home, "ai_cache_dashboard=127.0.0.1:0").start()
    yield proxy, int(proxy.wait_for(PAGE)[1]), providers
    proxy.stop()
    providers.stop()


# Under which name


def test_health_and_certificate_are_answered_under_every_name(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start()
    for host in ("ai-cache.default.svc.cluster.local:8484", "evil.example", "10.1.2.3:8484", "a_b!", "", "a, b"):
        assert ask(proxy.port, "/healthz", {"Host": host}).status == 200, host
        assert ask(proxy.port, "/ca.pem", {"Host": host}).body == proxy.ca.read_bytes(), host
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as bare:
        bare.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in bare.recv(1000)
    assert not providers.calls


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("localhost:8484", 200),
        ("LOCALHOST.", 200),
        ("[::1]:8484", 200),
        ("127.1", 200),
        ("ai-cache", 200),
        ("host.docker.internal:8484", 200),
        ("cache.corp.example:8484", 421),
        ("10.1.2.3", 421),
        ("0.0.0.0", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
@pytest.mark.thorough
def test_all_else_is_answered_only_under_names_of_our_own(
    start: StartProxy, providers: FakeProviders, host: str, status: int
) -> None:
    proxy = start()
    assert ask(proxy.port, "/", {"Host": host}).status == status
    got = ask(proxy.port, BASED, {"Host": host}, "POST", CHAT)
    assert got.status == status
    assert (len(providers.calls) == 1) == (status == 200)
    if status == 421:
        assert "ai_cache_own_names=" in got.text
        assert ask(proxy.port, "/ai-cache/status", {"Host": host, **CONTROL}).status == 421


def test_a_name_that_the_user_gives_the_proxy_is_its_own(start: StartProxy) -> None:
    proxy = start("ai_cache_own_names=cache.corp.example")
    assert ask(proxy.port, BASED, {"Host": "Cache.Corp.example.:1"}, "POST", CHAT).status == 200
    assert ask(proxy.port, "/", {"Host": "other.corp.example"}).status == 421


def test_a_request_in_origin_form_is_never_forwarded(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start()
    for path in ("/v1/chat/completions", "/anything", "*"):
        got = ask(proxy.port, path, {"Host": "api.openai.com"}, "OPTIONS" if path == "*" else "POST", CHAT)
        assert got.status == 421
    assert not providers.calls
    assert (
        ask(proxy.port, "http://plain.example/v1/chat/completions", {"Host": "plain.example"}, "POST", CHAT).status
        == 200
    )
    assert len(providers.calls) == 1


# What comes back

OURSELVES = [
    "127.0.0.1",
    "localhost",
    "LocalHost.",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "[::1]",
    "[::]",
]


@pytest.mark.parametrize("name", OURSELVES)
def test_what_leads_back_to_us_is_refused_in_every_spelling(
    shared: tuple[Process, int, FakeProviders], name: str
) -> None:
    proxy, page, _ = shared
    for port in (proxy.port, page):
        authority = f"{name}:{port}"
        for path in ("/", "/healthz", "/entries", "/metrics", "/ai-cache/status"):
            got = ask(proxy.port, f"http://{authority}{path}", {"Host": authority, **CONTROL})
            assert got.status == 508, (authority, path, got)
        assert connect(proxy.port, authority) == 508, authority
        assert ask(proxy.port, f"/http://{authority}/entries").status == 403, authority


def test_a_host_name_of_this_machine_leads_back_to_us(start: StartProxy) -> None:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pytest.skip("this machine has no name")
    proxy = start("listen_host=0.0.0.0")
    assert connect(proxy.port, f"{name}:{proxy.port}") == 508
    assert ask(proxy.port, f"http://{name}:{proxy.port}/", {"Host": name}).status == 508


@pytest.mark.thorough
def test_by_http_2_the_authority_decides(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start("ai_cache_own_names=cache.corp.example")
    for name in ("127.0.0.1", "localhost", "ai-cache", "cache.corp.example"):
        authority = f"{name}:{proxy.port}"
        assert ask_h2(proxy.port, authority, "/healthz").status == 200, authority
        assert ask_h2(proxy.port, authority, "/ai-cache/status", CONTROL).status == 200, authority
    assert not providers.calls
    for authority in (f"127.8.9.10:{proxy.port + 1}", "plain.example"):
        assert ask_h2(proxy.port, authority, "/v1/models", scheme="http").status == 200
    assert len(providers.calls) == 2
    for authority in (f"0.0.0.0:{proxy.port}", f"[::]:{proxy.port}"):
        assert ask_h2(proxy.port, authority, "/ai-cache/status", CONTROL).status == 508, authority
    assert ask_h2(proxy.port, "ai-cache.internal", "/entries", tunnel="ai-cache.internal:443").status == 200


def test_a_request_that_says_it_was_here_before_is_refused(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start("ai_cache_hosts=plain.example")
    url = "http://plain.example/v1/chat/completions"
    assert ask(proxy.port, url, {"Host": "plain.example"}, "POST", CHAT).headers["x-ai-cache-status"] == "MISS"
    hop = providers.calls[-1].headers.get("x-ai-cache-hop")
    assert re.fullmatch("[0-9a-f]{16}", hop)
    came_back = {"Host": "plain.example", "X-AI-Cache-Hop": f"somebody, {hop}"}
    for target in (url, "http://other.example/"):
        assert ask(proxy.port, target, came_back, "POST", CHAT).status == 508
    assert ask(proxy.port, "/ai-cache/status", {"X-AI-Cache-Hop": hop, **CONTROL}).status == 403
    assert ask(proxy.port, "/healthz", {"X-AI-Cache-Hop": hop}).status == 200
    of_another = {"Host": "plain.example", "X-AI-Cache-Hop": "somebody"}
    assert ask(proxy.port, url, of_another, "POST", CHAT).headers["x-ai-cache-status"] == "HIT"
    ask(proxy.port, "http://other.example/", of_another)
    assert providers.calls[-1].headers.get("x-ai-cache-hop") == f"somebody, {hop}"


def test_no_hop_is_told_over_tls(start: StartProxy, providers: FakeProviders, client_of: ClientOf) -> None:
    client_of(start()).request("https://api.openai.com/v1/chat/completions", CHAT)
    assert "x-ai-cache-hop" not in providers.calls[-1].headers


@pytest.fixture
def bend() -> Iterator[Bend]:
    made = Bend()
    yield made
    made.close()


def test_a_loop_through_an_outer_proxy_ends_at_the_second_round(
    start: StartProxy, client_of: ClientOf, bend: Bend
) -> None:
    proxy = start(f"mode=upstream:http://127.0.0.1:{bend.port}", redirect=False)
    bend.leads_to = proxy.port
    got = client_of(proxy).request("https://api.openai.com/v1/chat/completions", CHAT)
    assert got.status == 502, got
    assert bend.connections == 1
    assert ask(proxy.port, "http://plain.example/", {"Host": "plain.example"}).status == 508
    assert bend.connections == 2


def test_a_hidden_way_back_to_us_gives_no_more_than_from_afar(start: StartProxy, bend: Bend) -> None:
    proxy = start("ai_cache_hosts=127.0.0.1", redirect=False)
    bend.leads_to = proxy.port
    there = f"127.0.0.1:{bend.port}"
    for path, status in (("/healthz", 200), ("/", 403), ("/ai-cache/status", 403), ("/metrics", 403)):
        assert ask(proxy.port, f"http://{there}{path}", {"Host": there, **CONTROL}).status == status
        assert ask(proxy.port, f"/http://{there}{path}", CONTROL).status == status
    assert ask(proxy.port, f"http://{there}{BASED}", {"Host": there}, "POST", CHAT).status == 508


# Where base URLs go


def test_a_base_url_goes_to_ai_hosts_and_to_what_is_named(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start()
    assert ask(proxy.port, BASED, None, "POST", CHAT).status == 200
    refused = ask(proxy.port, "/http://evil.example/a.html")
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (403, "ai_cache_hosts")
    assert refused.text.rstrip('"}').split('","')[0].endswith("--hosts evil.example")
    assert refused.headers["content-security-policy"] == "sandbox"
    for host in ("localhost:11434", "127.0.0.1:11434", "[::1]:1", "169.254.169.254", "ai-cache.internal", "ollama"):
        assert ask(proxy.port, f"/http://{host}/v1/chat/completions", None, "POST", CHAT).status == 403, host
    assert len(providers.calls) == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "127.1", "2130706433"])
@pytest.mark.thorough
def test_an_address_that_is_named_exactly_is_allowed_in_every_spelling(
    start: StartProxy, providers: FakeProviders, name: str
) -> None:
    proxy = start("ai_cache_hosts=0x7f.0.0.1")
    assert ask(proxy.port, f"/http://{name}:11434/v1/chat/completions", None, "POST", CHAT).status == 200
    assert ask(proxy.port, LOCAL_BASED, None, "POST", CHAT).status == 403


def test_ai_cache_internal_is_never_a_target(start: StartProxy) -> None:
    proxy = start("ai_cache_hosts=ai-cache.internal", "ai_cache_hosts=*")
    for host in ("ai-cache.internal", "AI-CACHE.INTERNAL.", "ai-cache.internal:1"):
        assert ask(proxy.port, f"/http://{host}/entries").status == 403


def test_what_only_a_glob_names_is_judged_by_its_address(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start("ai_cache_hosts=local*")
    got = ask(proxy.port, LOCAL_BASED, None, "POST", CHAT)
    assert got.status == 403
    assert "--hosts localhost" in got.text
    assert got.headers["content-security-policy"] == "sandbox"
    proxy = start("ai_cache_hosts=localhost")
    assert ask(proxy.port, LOCAL_BASED, None, "POST", CHAT).status == 200
    assert len(providers.calls) == 1


def test_a_hit_is_answered_whatever_address_its_host_has(start: StartProxy, lasting_store: None) -> None:
    named = start("ai_cache_hosts=localhost")
    assert ask(named.port, LOCAL_BASED, None, "POST", CHAT).headers["x-ai-cache-status"] == "MISS"
    named.stop()
    by_glob = start("ai_cache_hosts=local*")
    assert ask(by_glob.port, LOCAL_BASED, None, "POST", CHAT).headers["x-ai-cache-status"] == "HIT"


def test_no_answer_to_a_base_url_runs_in_our_origin(start: StartProxy, providers: FakeProviders) -> None:
    proxy = start()
    headers = [("content-type", "text/html"), ("content-security-policy", "default-src *")]
    providers.answer = lambda request: Reply([b"<script>"], headers=headers)
    for _ in range(2):
        got = ask(proxy.port, "/https://api.openai.com/v1/anything")
        assert got.body == b"<script>"
        assert got.headers["content-security-policy"] == "sandbox"
        assert got.headers["x-content-type-options"] == "nosniff"


# Browsers

APP = {"Origin": "app://notes"}


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "file://"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "something-new"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
@pytest.mark.thorough
def test_a_page_of_somebody_else_gets_nothing(shared: tuple[Process, int, FakeProviders], sent: dict[str, str]) -> None:
    proxy, page, providers = shared
    for path in ("/", "/healthz", "/ca.pem", BASED, "/metrics", "/ai-cache/status"):
        for method in ("GET", "POST", "OPTIONS"):
            got = ask(proxy.port, path, {**CONTROL, **sent}, method, CHAT if method == "POST" else None)
            assert got.status == 403, (path, method)
            assert not [name for name in got.headers if name.startswith("access-control-")]
    for path in ("/", "/entries", "/metrics"):
        assert ask(page, path, sent).status == 403, path
    assert not providers.calls


@pytest.mark.thorough
def test_who_types_the_address_gets_what_is_harmless(start: StartProxy) -> None:
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert {ask(proxy.port, path, typed).status for path in ("/", "/healthz", "/ca.pem")} == {200}
    for path in ("/metrics", BASED, "/ai-cache/status", "/entries"):
        assert ask(proxy.port, path, typed | CONTROL).status == 403, path
    page = int(proxy.wait_for(PAGE)[1])
    assert {ask(page, path, typed).status for path in ("/", "/entries", "/purge")} == {200}


def test_node_sends_a_mode_and_is_served(start: StartProxy) -> None:
    proxy = start()
    assert ask(proxy.port, BASED, {"Sec-Fetch-Mode": "cors"}, "POST", CHAT).status == 200


@pytest.mark.parametrize("origin", ["app://notes", "null", "http://localhost:5173"])
@pytest.mark.thorough
def test_a_page_that_was_let_in_uses_base_urls_and_nothing_else(start: StartProxy, origin: str) -> None:
    proxy = start(f"ai_cache_browser_origins={origin}")
    sent = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    first = ask(proxy.port, BASED, sent | asked, "OPTIONS")
    assert first.status == 204
    assert first.headers["access-control-allow-origin"] == origin
    assert first.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in first.headers["access-control-allow-methods"]
    for expected in ("MISS", "HIT"):
        got = ask(proxy.port, BASED, sent, "POST", CHAT)
        assert (got.status, got.headers["x-ai-cache-status"]) == (200, expected)
        assert got.headers["access-control-allow-origin"] == origin
        assert got.headers["vary"] == "Origin"
    assert ask(proxy.port, "/http://evil.example/", sent).headers["access-control-allow-origin"] == origin
    for path in ("/ai-cache/status", "/metrics", "/"):
        refused = ask(proxy.port, path, sent | CONTROL)
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
    assert ask(proxy.port, BASED, sent | {"Origin": origin + "x"}, "POST", CHAT).status == 403


# Passwords

PASSWORD = {"Authorization": "Basic " + base64.b64encode(b":a password").decode()}


def test_off_loopback_there_are_health_certificate_and_hits(start: StartProxy, providers: FakeProviders) -> None:
    address = outward_address()
    proxy = start("listen_host=0.0.0.0", "ai_cache_isolate=none")
    assert {ask(proxy.port, path, address=address).status for path in ("/healthz", "/ca.pem")} == {200}
    for path in ("/", "/metrics", "/entries", "/ai-cache/status", "/nothing"):
        got = ask(proxy.port, path, CONTROL, address=address)
        assert got.status == 403, path
        assert "AI_CACHE_DASHBOARD_PASSWORD" in got.text
    for path in ("/", "/entries", "/metrics", "/ai-cache/status"):
        assert ask(proxy.port, f"http://ai-cache.internal{path}", CONTROL, address=address).status == 403, path
    ask(proxy.port, BASED, None, "POST", CHAT)
    got = ask(proxy.port, BASED, None, "POST", CHAT, address=address)
    assert (got.status, got.headers["x-ai-cache-status"]) == (200, "HIT")


def test_with_the_password_others_get_what_is_local(start: StartProxy) -> None:
    address = outward_address()
    proxy = start("listen_host=0.0.0.0", "ai_cache_isolate=none", "ai_cache_dashboard_password=a password")
    for path in ("/metrics", "/ai-cache/status"):
        assert ask(proxy.port, path, CONTROL | PASSWORD, address=address).status == 200, path
        refused = ask(proxy.port, path, CONTROL, address=address)
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
    assert ask(proxy.port, "http://ai-cache.internal/entries", PASSWORD, address=address).status == 200


@pytest.mark.thorough
def test_nobody_becomes_local_by_going_through_us(start: StartProxy) -> None:
    address = outward_address()
    proxy = start("listen_host=0.0.0.0", "ai_cache_dashboard=127.0.0.1:0")
    page = int(proxy.wait_for(PAGE)[1])
    for name in (*OURSELVES, address):
        for port in (proxy.port, page):
            authority = f"{name}:{port}"
            assert ask(proxy.port, f"http://{authority}/entries", CONTROL, address=address).status == 508
            assert connect(proxy.port, authority, address) == 508, authority
            assert ask(proxy.port, f"/http://{authority}/entries", address=address).status == 403, authority
