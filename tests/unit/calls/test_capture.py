"""The tee: what goes on is what came, what stays is what passed, and never more than the limit."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.calls.capture import Capture

chunks = st.lists(st.binary(min_size=1, max_size=20), max_size=20)


@given(chunks, st.integers(0, 400))
def test_every_chunk_goes_on_as_it_came(passing: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    assert [capture(chunk) for chunk in [*passing, b""]] == [*passing, b""]


@given(chunks)
def test_what_stays_is_what_passed_however_it_was_cut(passing: list[bytes]) -> None:
    capture = Capture(1000)
    for chunk in passing:
        capture(chunk)
    assert capture.body() == b"".join(passing)
    assert not capture.overflow


def test_the_end_is_seen_and_only_the_end() -> None:
    capture = Capture(100)
    assert not capture.ended
    capture(b"data")
    assert not capture.ended
    capture(b"")
    assert capture.ended
    assert capture.body() == b"data"


def test_nothing_is_held_once_the_body_was_taken() -> None:
    capture = Capture(100)
    capture(b"data")
    capture.close(whole=True)
    assert not capture.chunks


@pytest.mark.parametrize(
    ("passing", "overflow"),
    [
        ([b"12345"], False),
        ([b"1", b"2", b"3", b"4", b"5"], False),
        ([b"123456"], True),
        ([b"12345", b"6"], True),
        ([b"123456", b"", b"1"], True),
        ([], False),
    ],
)
def test_a_body_may_fill_the_limit_to_the_byte(passing: list[bytes], overflow: bool) -> None:
    capture = Capture(5)
    for chunk in passing:
        capture(chunk)
    assert capture.overflow is overflow


def test_the_end_of_a_body_beyond_the_limit_is_seen_too() -> None:
    capture = Capture(5)
    for chunk in (b"123456", b"789", b""):
        assert capture(chunk) == chunk
    assert capture.ended


def test_beyond_the_limit_nothing_is_held() -> None:
    capture = Capture(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(100):
            capture(bytes(64 << 10))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert capture.overflow
    assert held < 256 << 10
    assert peak < 2 << 20
