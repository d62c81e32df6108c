"""Connections of the proxy to others: which of them come back to us, and where a base URL must not go.

A target is judged by the address that the connection is made to, in the same step: a name that means something else a
moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mitmproxy import connection, http
from mitmproxy.proxy import mode_specs, server_hooks

from ..calls.own_rules import OUR_LISTENER
from ..system import sockets
from ..system.sockets import Peer
from ..wire.addresses import canonical, is_loopback, is_of_this_machine
from ..wire.our_headers import HOP
from .patches.judged_connections import Attempt, Ticket, attempt_of_task
from .patches.table import JUDGED_CONNECTIONS

logger = logging.getLogger("ai-cache")

_MOST = 1000
"""Open connections to one address for one client address; see `most_connections`."""


def most_connections() -> int:
    """At most a third of the file descriptors: a loop takes two for each round."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(min(_MOST, soft // 3), 1)


class Connecting:
    """`listeners` says where we listen; `accepted` is told of each client. One for each proxy."""

    def __init__(self, listeners: Callable[[], Iterable[Peer]], accepted: Callable[[], None] = lambda: None) -> None:
        self._listeners = listeners
        self._accepted = accepted
        self.allowed: Callable[[str], bool] = lambda host: False
        """Whether the user named this host exactly."""
        self.ports: frozenset[int] = frozenset()
        """Of our own listeners."""
        self._hop = secrets.token_hex(8)
        self._tickets: dict[tuple[str, str, int], Ticket] = {}
        self._own: dict[Peer, Counter[Peer]] = {}
        """Own ends of open connections, each with its other ends: a port may be used towards several addresses."""
        self._own_ports: Counter[int] = Counter()
        self._open: dict[str, tuple[Peer, Peer, tuple[str, Peer]]] = {}
        """By connection: its own end, its other end, and the client's address with what it asked for."""
        self._count: Counter[tuple[str, Peer]] = Counter()
        self._warned = False

    def came_from_us(self, peer: tuple[Any, ...] | None, at: tuple[Any, ...] | None = None) -> bool:
        """Whether a client is one of our own connections: what it sends went through us before. `at`: the address of
        ours that it reached.

        The kernel gives a port of ours to others as well, towards another address. So a client that is a socket of
        its own with these two ends is none of ours. One of ours that address translation led here is no such socket:
        its other end is the address that was translated.
        """
        if peer is None or len(peer) < 2 or peer[1] not in self._own_ports:
            return False
        own = _peer(peer)
        if own not in self._own:
            return False
        reached = _peer(at) if at is not None and len(at) > 1 else None
        return reached is None or reached in self._own[own] or not sockets.is_end_of(own, reached)

    def passed_us(self, request: http.Request) -> bool:
        """Whether `request` says that it has been forwarded by us."""
        named = request.headers.get(HOP)
        return named is not None and self._hop in (each.strip() for each in named.split(","))

    def mark(self, request: http.Request) -> None:
        """`request` is forwarded by us now."""
        before = request.headers.get(HOP)
        request.headers[HOP] = f"{before}, {self._hop}" if before else self._hop

    async def leads_to_us(self, host: str, port: int) -> bool:
        """Whether a connection there would reach one of our own listeners. Asks DNS only for our own ports."""
        if port not in self.ports:
            return False
        if is_loopback(host) or is_of_this_machine(host):
            return True
        try:
            async with asyncio.timeout(5):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            return False
        return any(is_of_this_machine(str(each[4][0])) for each in found)

    def judge(self, client: connection.Client, host: str, port: int, strictly: bool) -> Ticket:
        """What becomes of a connection for this client to this target; only own listeners are refused to it, unless
        `strictly`."""
        ticket = self._tickets.setdefault((client.id, host, port), Ticket())
        ticket.judged = ticket.judged or strictly
        return ticket

    # Hooks

    def client_connected(self) -> None:
        self.ports = frozenset(address[1] for address in self._listeners())  # they come and go
        self._accepted()

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        address = data.server.address
        if address is None:
            return
        host, port = str(address[0]), int(address[1])
        pair = _address_of(data.client), (host, port)
        if self._count[pair] >= most_connections():
            data.server.error = (
                f"ai-cache: {self._count[pair]} connections to {host}:{port} are open for one client; this looks like "
                "a loop"
            )
            if not self._warned:
                self._warned = True
                logger.warning("%s; see who sends it back to the proxy", data.server.error)
            return
        ticket = self._tickets.get((data.client.id, host, port)) or Ticket()
        if data.server.via is None and self._is_elsewhere(data.client) and not self.allowed(host):
            ticket.judged = True
        attempt_of_task.set(Attempt(ticket, self.ports, host))
        if (ticket.judged or port in self.ports) and not JUDGED_CONNECTIONS.is_known():
            # Nobody will look at the address: what may be wrong is refused.
            ticket.refused = host, OUR_LISTENER if port in self.ports else "not looked at with this mitmproxy"
            data.server.error = f"ai-cache: {host}:{port} is {ticket.refused[1]}, and no connection is made to it"

    @staticmethod
    def _is_elsewhere(client: connection.Client) -> bool:
        """Whether it is a client of ours on another machine, who must not become one of this machine: what listens on
        loopback here trusts who comes from there, other proxies of ours and their status pages included."""
        chosen = isinstance(client.proxy_mode, mode_specs.RegularMode | mode_specs.Socks5Mode | mode_specs.UpstreamMode)
        return chosen and client.peername is not None and not is_loopback(str(client.peername[0]))

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        server = data.server
        if server.sockname is None or server.address is None:
            return
        own, other = _peer(server.sockname), _peer(server.peername or server.address)
        pair = _address_of(data.client), (str(server.address[0]), int(server.address[1]))
        self._open[server.id] = own, other, pair
        self._own.setdefault(own, Counter())[other] += 1
        self._own_ports[own[1]] += 1
        self._count[pair] += 1

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        opened = self._open.pop(data.server.id, None)
        if opened is None:
            return
        own, other, pair = opened
        self._own[own] -= Counter([other])
        if not self._own[own]:
            del self._own[own]
        self._own_ports[own[1]] -= 1
        if not self._own_ports[own[1]]:
            del self._own_ports[own[1]]
        self._count[pair] -= 1
        if not self._count[pair]:
            del self._count[pair]

    def client_disconnected(self, client: connection.Client) -> None:
        for key in [key for key in self._tickets if key[0] == client.id]:
            del self._tickets[key]


class ConnectionHooks:
    """The hooks of an addon that need nothing but `connecting`."""

    connecting: Connecting

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        self.connecting.mark(flow.request)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        self.connecting.server_connected(data)

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        self.connecting.server_disconnected(data)


def _peer(address: tuple[Any, ...]) -> Peer:
    return canonical(str(address[0])), int(address[1])


def _address_of(client: connection.Client) -> str:
    return str(client.peername[0]) if client.peername else ""
