"""The name that somebody meant."""

from __future__ import annotations

import pytest

from mitmproxy_ai_cache.wire.spelling import did_you_mean, meant

NAMES = ("run", "rm", "ls", "stats", "--mode", "ai_cache_ttl", "ai_cache_live_ttl", "AI_CACHE_STORE")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("rnu", "run"),
        ("sl", "ls"),
        ("stat", "stats"),
        ("--moed", "--mode"),
        ("ttl", "ai_cache_ttl"),
        ("tll", "ai_cache_ttl"),
        ("ai_cach_ttl", "ai_cache_ttl"),
        ("live-ttl", "ai_cache_live_ttl"),
        ("AI_CACHE_SOTRE", "AI_CACHE_STORE"),
        ("AI_CACHE_TEST_STORE", ""),
        ("AI_CACHE_TEST_PROFILE", ""),
        ("nonsense", ""),
        ("", ""),
        ("x" * 100_000, ""),
    ],
)
def test_the_nearest_name_is_found_and_a_far_one_is_not(word: str, name: str) -> None:
    assert meant(word, NAMES) == name


def test_it_is_said_at_the_end_of_a_line() -> None:
    assert did_you_mean("rnu", NAMES) == "; did you mean run?"
    assert did_you_mean("nonsense", NAMES) == ""
