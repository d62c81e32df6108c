"""What is held of request bodies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy import uploads
from mitmproxy_ai_cache.proxy.uploads import NO_ROOM, TOO_LARGE, Uploads, declared_length


def flow(*fields: tuple[str, str], version: str = "HTTP/1.1") -> http.HTTPFlow:
    made = tflow.tflow()
    made.request.http_version = version
    made.request.headers = http.Headers([(name.encode(), value.encode()) for name, value in fields])
    return made


def chunked() -> http.HTTPFlow:
    return flow(("Transfer-Encoding", "chunked"))


def watching(max_pending: int) -> tuple[Uploads, list[str]]:
    watched, settled = Uploads(), []
    watched.max_pending = max_pending
    watched.of_reason = settled  # type: ignore[attr-defined]
    return watched, settled


def begin(watched: Uploads, sent: http.HTTPFlow, limit: int = 100, answer: http.Response | None = None) -> Any:
    def settle(_: http.HTTPFlow, reason: str) -> http.Response | None:
        watched.of_reason.append(reason)  # type: ignore[attr-defined]
        return answer

    watched.begin(sent, limit, settle)
    return watched.of(sent)


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        (flow(), 0),
        (flow(("Content-Length", "0")), 0),
        (flow(("content-length", "17")), 17),
        (flow(("Content-Length", "17, 17")), 17),
        (flow(("Content-Length", "x")), 0),
        (flow(("Content-Length", "17"), ("Transfer-Encoding", "chunked")), None),
        (flow(("transfer-encoding", "Chunked")), None),
        (flow(version="HTTP/2.0"), None),
        (flow(("content-length", "17"), version="HTTP/2.0"), 17),
    ],
)
def test_the_length_that_a_head_declares(sent: http.HTTPFlow, length: int | None) -> None:
    assert declared_length(sent.request) == length


def test_a_declared_length_above_the_limit_is_settled_by_the_head() -> None:
    watched, settled = watching(1000)
    sent = flow(("Content-Length", "101"))
    assert begin(watched, sent).settled
    assert settled == [TOO_LARGE]
    assert sent.request.stream is True
    fits = flow(("Content-Length", "100"))
    assert not begin(watched, fits).settled
    assert not fits.request.stream


def test_a_refused_upload_is_not_asked_to_go_on() -> None:
    watched, _ = watching(1000)
    sent = flow(("Content-Length", "101"), ("Expect", "100-continue"))
    refused = begin(watched, sent, answer=http.Response.make(424))
    assert refused.refusal.status_code == 424
    assert "expect" not in sent.request.headers


def test_an_answer_that_is_there_already_refuses() -> None:
    watched, settled = watching(1000)
    sent = chunked()
    sent.response = http.Response.make(407)
    upload = begin(watched, sent)
    assert not upload.holds(101)
    assert (upload.refusal, settled) == (sent.response, [])


def test_what_is_held_of_all_is_bounded() -> None:
    watched, settled = watching(250)
    first, second, third = (begin(watched, chunked()) for _ in range(3))
    assert first.holds(100)
    assert second.holds(60)
    assert second.holds(100)
    assert not third.holds(51)
    assert settled == [NO_ROOM]
    assert watched.held == 200
    second.release()
    second.release()
    assert watched.held == 100


def test_an_upload_that_stands_still_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, settled = watching(150)
    cut: list[Any] = []
    watched.cut = cut.append
    still = begin(watched, chunked())
    assert still.holds(100)
    clock = uploads.time.monotonic() + uploads.STANDS_STILL + 1
    monkeypatch.setattr(uploads.time, "monotonic", lambda: clock)
    lively = begin(watched, chunked())
    assert lively.holds(50)
    assert not cut, "there was room"
    assert lively.holds(90)
    assert (cut, settled, watched.held) == ([still.client], [], 90)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60), st.sampled_from(["grow", "end", "leave"]))))
def test_what_is_held_is_the_sum_of_what_each_holds(steps: list[tuple[int, int, str]]) -> None:
    watched, _ = watching(200)
    flows = [chunked() for _ in range(6)]
    sizes = [0] * 6
    for sent in flows:
        begin(watched, sent)
    for place, more, what in steps:
        upload = watched.of(flows[place])
        if what == "grow" and upload is not None and not upload.settled:
            if upload.holds(sizes[place] + more):
                sizes[place] += more
        elif what == "end":
            watched.end(flows[place])
            sizes[place] = 0
        elif what == "leave":
            watched.end_of_client(flows[place].client_conn.id)
            sizes[place] = 0
        assert watched.held == sum(sizes) <= 200
    for sent in flows:
        watched.end(sent)
    assert (watched.held, len(watched)) == (0, 0)


@pytest.mark.parametrize(
    ("sent", "let_in"),
    [
        (flow(("Content-Length", "100")), True),
        (flow(("Content-Length", "101")), False),
        (flow(("Transfer-Encoding", "chunked")), False),
        (flow(version="HTTP/2.0"), False),
        (flow(), True),
    ],
)
def test_where_nobody_bounds_them_only_bodies_that_declare_a_length_that_fits_are_let_in(
    sent: http.HTTPFlow, let_in: bool
) -> None:
    watched, _ = watching(1000)
    watched.only_declared = True
    sent.live = True
    begin(watched, sent)
    assert (sent.error is None) is let_in


def test_where_nobody_bounds_them_declared_lengths_count_from_the_start() -> None:
    watched, _ = watching(150)
    watched.only_declared = True
    first, second = (flow(("Content-Length", "100")) for _ in range(2))
    for sent in (first, second):
        sent.live = True
        begin(watched, sent)
    assert (first.error, watched.held) == (None, 100)
    assert second.error is not None
    watched.end(first)
    assert watched.held == 0
