"""The parts of a shared store that need no server: the breaker, the near cache, what is said of a URL."""

from __future__ import annotations

import pytest

from mitmproxy_ai_cache.stores import near
from mitmproxy_ai_cache.stores.breaker import OPENS_AFTER, Breaker
from mitmproxy_ai_cache.stores.near import NearCache
from mitmproxy_ai_cache.stores.redis_url import shown


def test_a_breaker_opens_after_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker()
    said = [breaker.failed() for _ in range(OPENS_AFTER + 3)]
    assert said == [False] * (OPENS_AFTER - 1) + [True] + [False] * 3
    assert breaker.is_open
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]
    assert not breaker.is_open


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(20):
        assert not any(breaker.failed() for _ in range(OPENS_AFTER - 1))
        breaker.succeeded()
    assert not breaker.is_open


def test_the_near_cache_stays_within_its_bytes_and_drops_what_was_used_longest_ago() -> None:
    cache = NearCache(30)
    for key in "abc":
        cache.put(key, key.encode() * 10)
    assert cache.get("a") == b"a" * 10
    cache.put("d", b"d" * 10)
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]
    cache.put("e", b"e" * 31)
    assert cache.get("e") is None
    cache.put("a", b"new")
    assert cache.get("a") == b"new"
    cache.remove("a")
    assert cache.get("a") is None


def test_the_near_cache_forgets_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(near.time, "monotonic", lambda: now)
    cache = NearCache(100)
    cache.put("a", b"x")
    now += near.FRESH - 0.1
    assert cache.get("a") == b"x"
    now += 0.2
    assert cache.get("a") is None


def test_a_near_cache_of_nothing_keeps_nothing() -> None:
    cache = NearCache(0)
    cache.put("a", b"x")
    assert cache.get("a") is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rediss://user:secret@cache.corp:6380/2?ssl_ca_certs=/x", "rediss://cache.corp:6380/2"),
        ("rediss://:secret@cache", "rediss://cache:6379"),
        ("redis://[::1]:1", "redis://[::1]:1"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_said_without_its_secrets(url: str, said: str) -> None:
    assert shown(url) == said
