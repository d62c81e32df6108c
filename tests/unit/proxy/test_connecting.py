"""Connections that come back to us, that go where they must not, or that are too many."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from mitmproxy import connection
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy import connecting
from mitmproxy_ai_cache.proxy.connecting import Connecting
from mitmproxy_ai_cache.proxy.patches import judged_connections
from mitmproxy_ai_cache.proxy.patches.judged_connections import Refused
from mitmproxy_ai_cache.system.out_of_files import OutOfFiles
from mitmproxy_ai_cache.wire.our_headers import HOP

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(autouse=True)
def patched() -> Iterator[None]:
    before = asyncio.open_connection
    judged_connections.install()
    yield
    setattr(asyncio, "open_connection", before)  # noqa: B010
    judged_connections.attempt_of_task.set(None)


def client(peer: str = "192.0.2.9") -> connection.Client:
    return connection.Client(peername=(peer, 4), sockname=("192.0.2.1", 8484))


def to(host: str, port: int, own: tuple[str, int] = ("10.0.0.1", 5000), of: connection.Client | None = None) -> Any:
    server = connection.Server(address=(host, port))
    server.sockname = own
    return ServerConnectionHookData(server=server, client=of or client())


def test_a_client_that_is_our_own_connection_is_known_while_it_is_open() -> None:
    known, data = Connecting(list), to("llm.example", 80)
    known.server_connected(data)
    assert known.came_from_us(("10.0.0.1", 5000))
    assert known.came_from_us(("::ffff:10.0.0.1", 5000, 0, 0))
    assert not known.came_from_us(("10.0.0.1", 5001))
    assert not known.came_from_us(("10.0.0.2", 5000))
    assert not known.came_from_us(None)
    known.server_disconnected(data)
    assert not known.came_from_us(("10.0.0.1", 5000))


def test_a_client_with_a_port_that_we_use_towards_somebody_else_is_none_of_ours() -> None:
    """The kernel gives one port of this machine to several connections, as long as their other ends differ."""
    known, data = Connecting(list), to("llm.example", 80)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        data.server.sockname, data.server.peername = one.getsockname(), ("192.0.2.5", 80)
        known.server_connected(data)
        assert not known.came_from_us(one.getsockname(), listener.getsockname())
        # Led here by address translation: there is no socket with these two ends.
        assert known.came_from_us(one.getsockname(), ("127.0.0.1", 1))
        known.server_disconnected(data)
        data.server.peername = listener.getsockname()
        known.server_connected(data)
        assert known.came_from_us(one.getsockname(), listener.getsockname())


def test_a_client_elsewhere_is_not_let_to_loopback_unless_the_user_named_it() -> None:
    async def main() -> None:
        server, port, seen = await _listening()
        known = Connecting(list)
        known.server_connect(to("localhost", port, of=client("192.0.2.9")))
        with pytest.raises(Refused, match=r"loopback address, .* --hosts localhost$"):
            await asyncio.open_connection("localhost", port)
        assert not seen
        for who, allowed in ((client("127.0.0.1"), False), (client("::ffff:127.0.0.1"), False), (client(), True)):
            known.allowed = lambda host, allowed=allowed: allowed
            known.server_connect(to("localhost", port, of=who))
            _, writer = await asyncio.open_connection("localhost", port)
            writer.close()
        server.close()

    asyncio.run(main())


def test_a_request_says_once_for_each_proxy_that_it_passed() -> None:
    one, two, request = Connecting(list), Connecting(list), tflow.tflow().request
    assert not one.passed_us(request)
    one.mark(request)
    assert one.passed_us(request)
    assert not two.passed_us(request)
    two.mark(request)
    assert one.passed_us(request)
    assert two.passed_us(request)
    assert len(request.headers.get_all(HOP)) == 1


def test_connections_of_one_client_address_to_one_target_end_at_a_number(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connecting, "most_connections", lambda: 3)
    known = Connecting(list)
    opened = [to("llm.example", 443) for _ in range(3)]
    for each in opened:
        known.server_connect(each)
        assert each.server.error is None
        known.server_connected(each)
    with caplog.at_level(logging.WARNING, "ai-cache"):
        for _ in range(2):
            refused = to("llm.example", 443)
            known.server_connect(refused)
            assert "looks like a loop" in str(refused.server.error)
    assert caplog.text.count("looks like a loop") == 1
    for other in (to("llm.example", 80), to("other.example", 443), to("llm.example", 443, of=client("192.0.2.10"))):
        known.server_connect(other)
        assert other.server.error is None
    known.server_disconnected(opened[0])
    again = to("llm.example", 443)
    known.server_connect(again)
    assert again.server.error is None


def test_the_number_leaves_descriptors_for_a_loop_to_end() -> None:
    assert 1 <= connecting.most_connections() <= 1000


# Judged in the step in which the connection is made


async def _listening() -> tuple[asyncio.Server, int, list[bytes]]:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(10))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], seen


def test_a_judged_target_is_refused_by_its_address_and_says_why() -> None:
    async def main() -> None:
        server, port, seen = await _listening()
        known, who = Connecting(list), client()
        ticket = known.judge(who, "localhost", port, strictly=True)
        known.server_connect(to("localhost", port, of=who))
        with pytest.raises(Refused, match="loopback"):
            await asyncio.open_connection("localhost", port)
        assert ticket.refused is not None
        assert ticket.refused[1] == "a loopback address"
        assert not seen
        unjudged = client("127.0.0.1")
        known.judge(unjudged, "localhost", port, strictly=False)
        known.server_connect(to("localhost", port, of=unjudged))
        _, writer = await asyncio.open_connection("localhost", port)
        writer.close()
        server.close()

    asyncio.run(main())


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver says a good address first and loopback afterwards, or one of each."""

    async def main() -> None:
        server, port, _ = await _listening()
        loop, asked = asyncio.get_running_loop(), []

        def entry(address: str) -> Any:
            return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)

        async def resolve(host: str, *_: Any, **__: Any) -> Any:
            asked.append(host)
            return [entry("127.0.0.1"), entry("127.0.0.2")] if len(asked) > 1 else [entry("127.0.0.1")]

        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        known, who = Connecting(list), client()
        known.judge(who, "rebound.example", port, strictly=True)
        for _ in range(2):
            known.server_connect(to("rebound.example", port, of=who))
            with pytest.raises(Refused):
                await asyncio.open_connection("rebound.example", port)
        assert asked == ["rebound.example"] * 2
        server.close()

    asyncio.run(main())


def test_our_own_listener_is_refused_to_everybody_before_a_byte_is_sent() -> None:
    async def main() -> None:
        server, port, seen = await _listening()
        known = Connecting(lambda: [("127.0.0.1", port)])
        known.client_connected()
        assert await known.leads_to_us("localhost", port)
        assert await known.leads_to_us("127.1", port)
        assert not await known.leads_to_us("127.0.0.1", port + 1)
        assert not await known.leads_to_us("192.0.2.77", port)
        known.server_connect(to("127.0.0.1", port))
        with pytest.raises(Refused, match="a listener of this proxy"):
            await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0)
        assert not any(seen)
        server.close()

    asyncio.run(main())


def test_connections_of_a_store_are_not_judged() -> None:
    async def main() -> None:
        server, port, _ = await _listening()
        known = Connecting(lambda: [("127.0.0.1", port)])
        known.client_connected()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        server.close()

    asyncio.run(main())


# File descriptors


def test_no_descriptors_is_said_once_for_each_change(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr("mitmproxy_ai_cache.system.out_of_files.time.monotonic", lambda: now[0])
    others: list[dict[str, Any]] = []

    async def main() -> None:
        loop, files = asyncio.get_running_loop(), OutOfFiles()
        loop.set_exception_handler(lambda _, context: others.append(context))
        files.watch(loop)
        files.connected()
        for _ in range(5):
            loop.call_exception_handler(
                {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")}
            )
            now[0] += 1
            files.connected()  # one connection closed, one more came in
        assert caplog.text.count("no file descriptors are left") == 1
        assert "again" not in caplog.text
        now[0] += 10
        files.connected()
        files.connected()
        assert caplog.text.count("there are file descriptors again") == 1
        files.happened(OSError(errno.ENFILE, "Too many open files in system"))
        assert caplog.text.count("no file descriptors are left") == 2
        loop.call_exception_handler({"message": "another", "exception": ValueError("x")})

    with caplog.at_level(logging.WARNING, "ai-cache"):
        asyncio.run(main())
    assert [context["message"] for context in others] == ["another"]
