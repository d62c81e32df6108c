"""Who opens a connection for mitmproxy: the network, this process, or nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mitmproxy import connection
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmproxy_ai_cache.proxy.connecting import Connecting
from mitmproxy_ai_cache.proxy.patches import judged_connections, memory_origin, redirected
from mitmproxy_ai_cache.proxy.patches.judged_connections import Refused
from mitmproxy_ai_cache.proxy.patches.table import OPEN_CONNECTION
from unit.proxy.patches.stock import below_ours

pytestmark = pytest.mark.patches


@pytest.fixture
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionHandler, "open_connection", lambda self, command: None)


def to(host: str, port: int, peer: str) -> ServerConnectionHookData:
    client = connection.Client(peername=(peer, 4), sockname=("192.0.2.1", 8484))
    return ServerConnectionHookData(server=connection.Server(address=(host, port)), client=client)


def reached_by(peer: str) -> bool:
    """Whether a client at `peer` gets to what listens on loopback here."""
    reached: list[bool] = []

    async def main() -> None:
        listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        data = to("localhost", port, peer)
        Connecting(list).server_connect(data)
        if data.server.error is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                reached.append(True)
            except Refused:
                pass
        listener.close()

    asyncio.run(main())
    return bool(reached)


def test_mitmproxy_itself_lets_other_machines_to_loopback() -> None:
    assert reached_by("192.0.2.9")


def test_other_machines_do_not_get_to_loopback() -> None:
    judged_connections.install()
    assert not reached_by("192.0.2.9")
    assert reached_by("127.0.0.1")


@pytest.mark.usefixtures("_unknown")
def test_with_a_mitmproxy_that_is_not_known_other_machines_do_not_get_there_either() -> None:
    judged_connections.install()
    assert asyncio.open_connection is below_ours(OPEN_CONNECTION)
    assert not reached_by("192.0.2.9")
    assert reached_by("127.0.0.1")


@pytest.mark.usefixtures("_unknown")
def test_with_a_mitmproxy_that_is_not_known_nobody_gets_to_a_port_of_ours() -> None:
    known = Connecting(lambda: [("127.0.0.1", 8484)])
    known.client_connected()
    ours, other = to("a.example", 8484, "127.0.0.1"), to("a.example", 443, "127.0.0.1")
    for data in (ours, other):
        known.server_connect(data)
    assert "a listener of this proxy" in (ours.server.error or "")
    assert other.server.error is None


def opened(host: str) -> Any:
    return asyncio.run(asyncio.open_connection(host, 80))


def test_a_name_in_memory_is_no_name_to_mitmproxy_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def network(host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        raise OSError

    monkeypatch.setattr(asyncio, "open_connection", network)
    with pytest.raises(OSError):
        opened("1.flight.invalid")
    memory_origin.install()
    with pytest.raises(OSError, match="is gone"):
        opened("1.flight.invalid")
    assert asked == ["1.flight.invalid"]


@pytest.mark.usefixtures("_unknown")
def test_nothing_is_served_from_memory_to_a_mitmproxy_that_is_not_known() -> None:
    memory_origin.install()
    assert asyncio.open_connection is below_ours(OPEN_CONNECTION)


def test_connections_of_mitmproxy_go_to_the_provider_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def network(host: str, port: int, **options: Any) -> Any:
        asked.append((host, port))

    monkeypatch.setattr(asyncio, "open_connection", network)
    redirected.install(1443)
    asyncio.run(asyncio.open_connection("api.example", 443, local_addr=None))
    asyncio.run(asyncio.open_connection("store.example", 443))
    assert asked == [("127.0.0.1", 1443), ("store.example", 443)]


@pytest.mark.usefixtures("_unknown")
def test_the_demo_does_not_call_real_providers_by_a_mitmproxy_that_is_not_known() -> None:
    with pytest.raises(RuntimeError, match="cannot be tried"):
        redirected.install(1443)
