"""Who gets what at the proxy's own address, as rules: names, browsers, passwords, targets."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.calls import own_rules
from mitmproxy_ai_cache.calls.own_rules import OwnCall, is_own_name
from mitmproxy_ai_cache.configuration.own_names import parse_name, parse_origin
from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.proxy.targets import LOCAL, Named, Targets
from mitmproxy_ai_cache.wire.messages import Headers

HERE = "192.168.1.7"


def call(path: str = "/", name: str = "127.0.0.1", local: bool = True, **fields: str) -> OwnCall:
    headers = Headers((key.replace("_", "-"), value) for key, value in fields.items())
    return OwnCall("GET", path, headers, name, HERE, f"{name}:8484", local)


LABEL = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)


@given(st.lists(LABEL, min_size=2, max_size=4).map(".".join))
def test_a_name_with_a_dot_is_nobodys_unless_it_is_given(name: str) -> None:
    if name.endswith(".localhost") or own_rules.literal(name) is not None:
        return
    assert not is_own_name(name, HERE)
    assert is_own_name(name, HERE, (name.upper(),))
    assert own_rules.wrong_name(call("/entries", name), ()) is not None
    assert own_rules.wrong_name(call("/healthz?x", name), ()) is None


@given(st.ip_addresses())
def test_an_address_is_own_where_it_is_loopback_or_came_in_at(address: ipaddress.IPv4Address) -> None:
    assert is_own_name(str(address), HERE) == (address.is_loopback or str(address) == HERE)
    assert is_own_name(str(address), str(address))


ORIGINS = st.one_of(st.text(max_size=30), st.sampled_from(["null", "file://", "http://127.0.0.1:8485", "app://x"]))


@given(ORIGINS, st.sampled_from(["/", "/healthz", "/https://api.openai.com/v1", "/metrics"]))
def test_no_page_is_a_client_that_was_not_let_in(origin: str, path: str) -> None:
    if origin.strip().lower() in ("http://127.0.0.1:8484", "https://127.0.0.1:8484"):
        return
    found = own_rules.from_browser(call(path, origin=origin), frozenset())
    assert found.refusal is not None
    assert found.refusal.status == 403
    assert not [name for name in found.refusal.headers.names() if name.startswith("access-control")]


def test_our_own_origin_is_no_other_page() -> None:
    assert own_rules.from_browser(call("/", origin="http://127.0.0.1:8484"), frozenset()).refusal is None
    assert own_rules.from_browser(call("/", origin="http://127.0.0.1:8484/x"), frozenset()).refusal is not None


@pytest.mark.parametrize("mode", ["cors", "no-cors", "websocket", "same-origin"])
def test_a_mode_by_itself_refuses_nothing(mode: str) -> None:
    assert own_rules.from_browser(call("/https://h/", sec_fetch_mode=mode), frozenset()).refusal is None


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_off_this_machine_the_password_decides() -> None:
    for given_, password, status in (
        ("", "", 403),
        (basic(":"), "", 403),
        ("", "p:w", 401),
        (basic(":p:w2"), "p:w", 401),
        ("Bearer p:w", "p:w", 401),
        (basic("me:p:w"), "p:w", None),
        (basic(":p:w"), "p:w", None),
    ):
        found = own_rules.not_allowed(call("/metrics", local=False, authorization=given_), password)
        assert (None if found is None else found.status) == status
    assert own_rules.not_allowed(call("/healthz", local=False), "x") is None
    assert own_rules.not_allowed(call("/metrics"), "x") is None


# Targets


def test_who_names_a_target() -> None:
    targets = Targets(["*.corp.example", "Ollama", "10.*", "0x7f.1", "[::1]", "ai-cache.internal"])
    expected = {
        "ollama": Named.EXACTLY,
        "OLLAMA.": Named.EXACTLY,
        "127.0.0.1": Named.EXACTLY,
        "::ffff:127.0.0.1": Named.EXACTLY,
        "0:0::1": Named.EXACTLY,
        "api.openai.com": Named.BUILT_IN,
        "x.openai.azure.com": Named.BUILT_IN,
        "llm.corp.example": Named.BY_GLOB,
        "10.1.2.3": Named.BY_GLOB,
        "167838211": Named.BY_GLOB,
        "localhost": Named.NOT,
        "127.0.0.2": Named.NOT,
        "ai-cache.internal": Named.NOT,
        "AI-Cache.internal.": Named.NOT,
        "evil.example": Named.NOT,
    }
    assert {host: targets.named(host) for host in expected} == expected
    assert {Targets(LOCAL).named(host) for host in ("localhost", "127.1", "[::1]")} == {Named.EXACTLY}


# Options


@pytest.mark.parametrize("name", ["http://x", "x/y", "*.corp.example", "a b", "", "me@x"])
def test_what_is_no_name_of_the_proxy(name: str) -> None:
    with pytest.raises(ValueError, match="is no name; write"):
        parse_name(name)
    with pytest.raises(SettingsError, match=r"^ai_cache_own_names: "):
        Settings.parse({"ai_cache_own_names": [name]}, {})


@pytest.mark.parametrize(
    ("given_", "origin"),
    [
        ("null", "null"),
        ("app://Notes", "app://notes"),
        ("http://localhost:5173/", "http://localhost:5173"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_origins_of_apps(given_: str, origin: str) -> None:
    assert parse_origin(given_) == origin
    assert Settings.parse({"ai_cache_browser_origins": [given_]}, {}).browser_origins == {origin}


@pytest.mark.parametrize(
    "origin", ["*", "http://*.example", "localhost:5173", "http://x/y", "http://u@x", "", "http://[x"]
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin; write"):
        parse_origin(origin)
