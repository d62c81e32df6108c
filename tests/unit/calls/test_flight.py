"""Single flight without a proxy: turns, live streams, and their bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from mitmproxy_ai_cache.calls.flight import BrokenStream, Flights, LiveStream, Turn
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.wire.messages import Headers

ENTRY = Entry("k", 0, 0, 200, (), "json", b"{}")


def stream(limit: int = 1000, coding: str = "") -> LiveStream:
    return LiveStream(limit, Headers([("content-encoding", coding)] if coding else []))


def turns(*waiting: Any) -> list[Turn | None]:
    return [one.turn.result() if one.turn.done() else None for one in waiting]


def within[T](test: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(5):
            return await test

    return asyncio.run(bounded())


def test_what_landed_answers_all_who_wait() -> None:
    async def run() -> None:
        flights = Flights()
        flight = flights.begin("k")
        one, other = (flights.join(flight, None) for _ in range(2))
        flights.landed(flight, ENTRY)
        assert turns(one, other) == [Turn.ANSWERED, Turn.ANSWERED]
        assert flight.entry is ENTRY
        assert not len(flights)

    within(run())


def test_leaders_follow_one_another_until_it_is_hopeless() -> None:
    async def run() -> None:
        flights = Flights()
        flight = flights.begin("k")
        waiting = [flights.join(flight, None) for _ in range(4)]
        flights.failed(flight, whole=False, hopeless=False, left=True)
        assert turns(*waiting) == [Turn.LEAD, None, None, None]
        flights.failed(flight, whole=False, hopeless=False, left=False)
        assert turns(*waiting) == [Turn.LEAD, Turn.LEAD, None, None]
        flights.failed(flight, whole=False, hopeless=False, left=False)
        assert turns(*waiting) == [Turn.LEAD, Turn.LEAD, Turn.ALONE, Turn.ALONE]
        assert not len(flights)

    within(run())


def test_a_client_that_left_is_not_given_a_turn() -> None:
    async def run() -> None:
        flights = Flights()
        flight = flights.begin("k")
        gone, there = (flights.join(flight, None) for _ in range(2))
        flights.leave(flight, gone)
        flights.leave(flight, gone)
        flights.failed(flight, whole=False, hopeless=False, left=False)
        assert turns(gone, there) == [Turn.LEFT, Turn.LEAD]

    within(run())


@pytest.mark.parametrize(
    ("coding", "accepts", "may"),
    [
        ("", "", True),
        ("", None, False),
        ("gzip", "", False),
        ("gzip", "br, gzip", True),
        ("gzip", "gzip;q=0, br", False),
        ("gzip", "*", True),
        ("zstd", "gzip, br", False),
        ("identity", "gzip", True),
    ],
)
def test_a_stream_is_followed_in_a_coding_its_client_accepts(coding: str, accepts: str | None, may: bool) -> None:
    assert stream(coding=coding).may_follow(accepts) is may


async def read_all(follower: Any) -> tuple[bytes, bool]:
    body = b""
    try:
        while data := await follower.read():
            body += data
    except BrokenStream:
        return body, False
    return body, True


@pytest.mark.parametrize("whole", [True, False])
def test_followers_read_everything_from_the_first_byte(whole: bool) -> None:
    async def run() -> None:
        live = stream()
        live(b"one ")
        early = asyncio.create_task(read_all(live.follow()))
        await asyncio.sleep(0)
        live(b"two ")
        late = asyncio.create_task(read_all(live.follow()))
        live(b"three")
        live.close(whole)
        assert await early == await late == (b"one two three", whole)

    within(run())


def test_beyond_the_limit_nobody_new_follows_and_those_there_lose_nothing() -> None:
    async def run() -> None:
        live = stream(limit=10)
        live(b"12345678")
        follower = live.follow()
        assert await follower.read() == b"12345678"
        live(b"9abc")
        assert live.overflow
        assert live.chunks == []
        assert not live.may_follow("")
        live(b"def")
        live.close(True)
        assert await read_all(follower) == (b"9abcdef", True)

    within(run())


def test_a_stream_is_held_until_its_last_reader_has_left() -> None:
    async def run() -> None:
        live = stream()
        live(b"one")
        flights = Flights()
        flight = flights.begin("k")
        waiting = flights.join(flight, "")
        flights.streams(flight, live)
        live.close(True)
        flights.landed(flight, ENTRY)
        assert waiting.follower is not None
        assert await read_all(waiting.follower) == (b"one", True)  # its turn came before the end
        assert live.chunks
        waiting.follower.leave()
        assert not live.chunks
        alone = stream()
        alone(b"one")
        alone.close(True)
        assert not alone.chunks

    within(run())


def test_a_flight_that_is_over_waits_for_no_garbage_collector() -> None:
    """A callback leads back to it and its answer, which may be large."""

    async def run() -> None:
        flights = Flights()
        flight = flights.begin("k")
        flight.followed = lambda: print(flight)
        flights.landed(flight, ENTRY)
        assert flight.followed is None

    within(run())


def test_a_follower_that_falls_far_behind_breaks_off_and_holds_nothing() -> None:
    async def run() -> None:
        live = stream(limit=10)
        follower = live.follow()
        for _ in range(8):
            live(b"x" * 4)
        assert await read_all(follower) == (b"", False)
        live.close(True)

    within(run())


def test_what_landed_is_known_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        flights = Flights()
        for number in range(30):
            flights.landed(flights.begin(f"k{number}"), ENTRY)
        assert flights.landed_just_now("k29") is ENTRY
        assert flights.landed_just_now("k0") is None  # a few only
        now = time.monotonic()
        monkeypatch.setattr("mitmproxy_ai_cache.calls.flight.time.monotonic", lambda: now + 6)
        assert flights.landed_just_now("k29") is None

    within(run())
