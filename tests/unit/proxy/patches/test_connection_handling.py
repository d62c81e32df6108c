"""What mitmproxy does where connections end or are few, without our patches and with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mitmproxy import connection, http, options
from mitmproxy.proxy import context, events, server
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._hooks import HttpRequestHook
from mitmproxy.proxy.server import ConnectionHandler

from mitmproxy_ai_cache.proxy.patches import connection_handling
from unit.proxy.patches.stock import Talk

pytestmark = pytest.mark.patches

ASKED = b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"


def told_to_answer(command: Any) -> None:
    if isinstance(command, HttpRequestHook):
        connection_handling.answer_if_unreachable(command.flow, lambda: http.Response.make(203, b"stale"))


def test_mitmproxy_itself_answers_502_where_the_provider_is_away() -> None:
    talk = Talk(told_to_answer)
    talk.send(ASKED)
    assert talk.written.startswith(b"HTTP/1.1 502 ")


def test_where_the_provider_is_away_its_client_gets_the_answer_that_was_given() -> None:
    connection_handling.install()
    talk = Talk(told_to_answer)
    talk.send(ASKED)
    assert talk.written.startswith(b"HTTP/1.1 203 ")
    assert talk.written.endswith(b"stale")


def test_what_nobody_has_an_answer_for_stays_502() -> None:
    connection_handling.install()
    talk = Talk()
    talk.send(ASKED)
    assert talk.written.startswith(b"HTTP/1.1 502 ")


def test_on_a_mitmproxy_that_is_not_known_a_provider_that_is_away_is_502(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_response(self: HttpStream, already_streamed: bool = False) -> Any:
        yield from ()

    monkeypatch.setattr(HttpStream, "send_response", send_response)
    connection_handling.install()
    talk = Talk(told_to_answer)
    talk.send(ASKED)
    assert talk.written.startswith(b"HTTP/1.1 502 ")


class Handler(ConnectionHandler):
    """Of mitmproxy; its events are written down instead."""

    def __init__(self) -> None:
        given = options.Options()
        given.add_option("tcp_timeout", int, 600, "")
        client = connection.Client(peername=("127.0.0.1", 5), sockname=("127.0.0.1", 8484))
        super().__init__(context.Context(client, given))
        self.seen: list[events.Event] = []

    async def handle_hook(self, hook: Any) -> None:
        pass

    async def server_event(self, event: events.Event) -> None:
        self.seen.append(event)


def test_mitmproxy_itself_opens_five_connections_at_a_time() -> None:
    async def main() -> None:
        assert Handler().max_conns[("a.example", 80)]._value == 5

    asyncio.run(main())


def test_as_many_connections_as_calls_are_opened() -> None:
    async def main() -> None:
        handler, other = Handler(), Handler()
        connection_handling.lift_connection_limit([other, handler], handler.client)
        assert handler.max_conns[("a.example", 80)]._value == connection_handling.MAX_CONNECTIONS
        assert other.max_conns[("a.example", 80)]._value == 5

    asyncio.run(main())


def test_the_limit_of_a_mitmproxy_that_is_not_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        handler = Handler()
        connection_handling.lift_connection_limit([handler], handler.client)
        assert handler.max_conns[("a.example", 80)]._value == 5

    monkeypatch.setattr(server.ConnectionHandler, "open_connection", lambda self, command: None)
    asyncio.run(main())


def leaving(needed: list[bool], outlive: bool = True) -> list[int]:
    """How many events mitmproxy has had just after its client left, and once nobody needs the call any more."""
    counts: list[int] = []

    async def main() -> None:
        handler, over = Handler(), asyncio.Event()
        if outlive:
            connection_handling.outlive_client([handler], handler.client, over, lambda: needed[0])
        told = asyncio.create_task(handler.server_event(events.ConnectionClosed(handler.client)))
        await asyncio.sleep(0.01)
        counts.append(len(handler.seen))
        needed[0] = False
        over.set()
        await told
        counts.append(len(handler.seen))

    asyncio.run(main())
    return counts


def test_mitmproxy_itself_hears_of_a_leaving_client_at_once() -> None:
    assert leaving([True], outlive=False) == [1, 1]


def test_a_call_that_others_need_outlives_its_client() -> None:
    assert leaving([True]) == [0, 1]
    assert leaving([False]) == [1, 1]


def test_on_a_mitmproxy_that_is_not_known_no_call_outlives_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.ConnectionHandler, "handle_connection", lambda self, connection: None)
    assert leaving([True]) == [1, 1]
