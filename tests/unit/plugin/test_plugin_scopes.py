"""Calls to the proxy itself: what they change, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from mitmproxy_ai_cache.calls.scopes import Scope, Scopes
from mitmproxy_ai_cache.calls.sequences import Sequences
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.counts.stats import Stats
from mitmproxy_ai_cache.identity.identifier import Identifier
from mitmproxy_ai_cache.proxy.control import Control, ControlCall, WrongCall
from mitmproxy_ai_cache.wire.messages import Headers, Request

OURS = Headers([("X-AI-Cache", "1")])


class FakeCache:
    def __init__(self) -> None:
        self.settings = Settings.parse({"ai_cache_mode": "record", "ai_cache_store": "memory:"})
        self.store = SimpleNamespace(url="cassettes:here")
        self.stats = Stats(Counter())
        self.sequences = Sequences()
        self.settled: list[str] = []
        self.storing = self

    async def settle(self, namespace: str) -> None:
        self.settled.append(namespace)


class FakeListeners:
    def __init__(self) -> None:
        self.closed: list[str] = []

    async def open(self, port: int, host: str) -> str:
        return f"http://{host}:{port + 1}"

    async def close(self, url: str) -> None:
        if not url:
            raise WrongCall("no listener of this URL was opened by a call")
        self.closed.append(url)


class Proxy:
    def __init__(self) -> None:
        self.cache, self.listeners, self.scopes = FakeCache(), FakeListeners(), Scopes()
        self.waited: list[str] = []
        self.control = Control(self.scopes, self.listeners, self._over)

    async def _over(self, scope: Scope, seconds: float) -> None:
        self.waited.append(scope.namespace)

    def call(
        self, method: str, path: str, content: Any = None, port: int = 1, headers: Headers = OURS
    ) -> tuple[int, dict[str, Any]]:
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        asked = ControlCall(method, path, headers, body or b"", port)
        answer = asyncio.run(self.control.answer(asked, self.cache))  # type: ignore[arg-type]
        return answer.status, json.loads(answer.body)


def test_a_scope_lasts_until_the_next_and_returns_its_counts() -> None:
    proxy = Proxy()
    assert proxy.call("POST", "/ai-cache/scope", {"namespace": "a"}) == (
        200,
        {"mode": "record", "namespace": "a", "ended": None},
    )
    scope = proxy.scopes.at(1)
    assert scope is not None
    scope.count("HIT")
    scope.count("MISS")
    scope.miss("MISS of a", ("why",))
    scope.refuse("example.com")
    assert proxy.call("GET", "/ai-cache/scope")[1]["scope"]["statuses"] == {"HIT": 1, "MISS": 1}
    status, ended = proxy.call("POST", "/ai-cache/scope", {"namespace": "", "passed": True})
    assert (status, ended["ended"]) == (
        200,
        {
            "namespace": "a",
            "calls": 2,
            "statuses": {"HIT": 1, "MISS": 1},
            "stored": 0,
            "missed": 1,
            "misses": [{"call": "MISS of a", "explanation": ["why"]}],
            "refused": {"example.com": 1},
        },
    )
    assert proxy.waited == ["a", "a"]
    assert proxy.cache.settled == ["a"]
    assert proxy.scopes.at(1) is None
    assert proxy.call("GET", "/ai-cache/scope")[1]["scope"] is None


def test_nothing_is_dropped_unless_the_test_passed() -> None:
    proxy = Proxy()
    for content in ({"namespace": "a"}, {"namespace": "b", "passed": False}, {"namespace": ""}):
        proxy.call("POST", "/ai-cache/scope", content)
    assert proxy.cache.settled == []
    assert proxy.waited == ["a", "b"]


def test_listeners_have_scopes_of_their_own_and_begin_their_sequences_anew() -> None:
    proxy = Proxy()
    proxy.call("POST", "/ai-cache/scope", {"namespace": "a"}, port=1)
    proxy.call("POST", "/ai-cache/scope", {"namespace": "a"}, port=2)
    one, two = proxy.scopes.at(1), proxy.scopes.at(2)
    assert one is not None
    assert two is not None
    assert [one.sequences.next("key"), one.sequences.next("key"), two.sequences.next("key")] == [1, 2, 1]
    proxy.call("POST", "/ai-cache/scope", {"namespace": "a"}, port=1)
    again = proxy.scopes.at(1)
    assert again is not None
    assert again.sequences.next("key") == 1
    assert two.sequences.next("key") == 2


@pytest.mark.parametrize(
    ("header", "scope", "option", "expected"),
    [("h", "s", "o", "h"), ("", "s", "o", "s"), ("", "", "o", "o"), ("", "", "", "")],
)
def test_the_header_counts_before_the_scope_and_the_scope_before_the_option(
    header: str, scope: str, option: str, expected: str
) -> None:
    headers = Headers([("X-AI-Cache-Namespace", header)] if header else [])
    request = Request("POST", "https", "h", 443, "/", headers=headers, scope=scope)
    assert Identifier(Settings.parse({"ai_cache_namespace": option}).identity).namespace(request) == expected


def test_listeners_are_opened_and_closed() -> None:
    proxy = Proxy()
    assert proxy.call("POST", "/ai-cache/listeners", {}, port=8484) == (200, {"url": "http://127.0.0.1:8485"})
    assert proxy.call("POST", "/ai-cache/listeners", {"close": "http://x"}) == (200, {"closed": "http://x"})
    assert proxy.call("POST", "/ai-cache/listeners", {"close": ""})[0] == 400


def test_the_status_names_mode_store_and_counts() -> None:
    status, said = Proxy().call("GET", "/ai-cache/status?x")
    assert (status, said["mode"], said["store"], said["calls"]) == (200, "record", "cassettes:here", 0)


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "said"),
    [
        ("POST", "/ai-cache/scope", None, 400, "namespace is missing"),
        ("POST", "/ai-cache/scope", b"[]", 400, "no JSON object"),
        ("POST", "/ai-cache/scope", b"{", 400, "no JSON object"),
        ("POST", "/ai-cache/scope", b'{"namespace": "' + b"x" * 70_000 + b'"}', 400, "too long"),
        ("POST", "/ai-cache/scope", {"namespace": 1}, 400, "namespace must be a string"),
        ("POST", "/ai-cache/scope", {"namespace": "a", "passed": 1}, 400, "passed must be true or false"),
        ("POST", "/ai-cache/scope", {"namespace": "a", "name": "b"}, 400, "no member 'name'"),
        ("POST", "/ai-cache/scope", {"namespace": "a\n"}, 400, "cannot be printed"),
        ("POST", "/ai-cache/scope", {"namespace": " a"}, 400, "white space"),
        ("POST", "/ai-cache/scope", {"namespace": "x" * 5000}, 400, "at most 4096"),
        ("POST", "/ai-cache/listeners", {"open": "x"}, 400, "no member 'open'"),
        ("DELETE", "/ai-cache/scope", None, 404, "there is GET"),
        ("GET", "/ai-cache/other", None, 404, "there is GET"),
    ],
)
def test_a_wrong_call_gets_a_line_that_says_what_to_write(
    method: str, path: str, content: Any, status: int, said: str
) -> None:
    proxy = Proxy()
    got, answer = proxy.call(method, path, content)
    assert (got, list(answer)) == (status, ["error"])
    assert said in answer["error"]
    assert "\n" not in answer["error"]
    assert proxy.scopes.at(1) is None


def test_what_a_web_page_can_send_is_no_call() -> None:
    proxy = Proxy()
    assert proxy.call("POST", "/ai-cache/scope", {"namespace": "a"}, headers=Headers([]))[0] == 400
    assert proxy.scopes.at(1) is None


def test_misses_and_strangers_names_are_bounded() -> None:
    scope = Scope("a")
    for number in range(1000):
        scope.miss(f"miss {number}", ())
        scope.refuse(f"host-{number}")
    assert (scope.missed, len(scope.misses), len(scope.refused)) == (1000, 20, 101)
