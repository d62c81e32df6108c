"""redis-py's client for a `Server`: one server, a cluster, or whom the sentinels name as the primary."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ClusterError

from .url import Server

CONNECTIONS = 32
"""Look-ups on the wire at a time. One process gains nothing from more, and a fleet must share the server's 10,000."""

CONNECT = 2.0
"""Seconds for a connection."""
WRITE = 5.0
"""Seconds for a command nobody waits for."""

_SENTINEL = 0.5
"""Seconds for a sentinel: the next one may know."""

Client = Any
"""`Redis` or `RedisCluster`: redis-py gives them no type in common."""


class _Cluster(RedisCluster):
    """Tries again where redis-py has sent ASKING on one connection of a node and the command on another, where that is
    no use, and has given up after 16 turns. A moment later the slot has moved."""

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(20):
            with suppress(ClusterError):
                return await super().execute_command(*args, **kwargs)
            await asyncio.sleep(0.01)
        return await super().execute_command(*args, **kwargs)


def client(server: Server) -> Client:
    """Not connected yet. The pool is wider than what is let on the wire: redis-py's fail where they are exhausted."""
    common: dict[str, Any] = {
        "username": server.user or None,
        "password": server.password or None,
        "socket_connect_timeout": CONNECT,
        "socket_timeout": WRITE,
        "max_connections": 2 * CONNECTIONS,
        "protocol": 2,  # HELLO and its answers are nothing we need
        **_tls(server),
    }
    # One more try: for a pooled connection that the server has closed meanwhile.
    once = Retry(NoBackoff(), 1)
    if server.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in server.addresses]
        return _Cluster(
            startup_nodes=nodes,
            retry=Retry(NoBackoff(), 3),
            require_full_coverage=False,
            reinitialize_steps=0,  # else each fifth MOVED closes all connections, those in use too
            **common,
        )
    if server.kind == "unix":
        return Redis(unix_socket_path=server.socket, db=server.database, retry=once, **common)
    if server.kind == "redis":
        ((host, port),) = server.addresses
        return Redis(host=host, port=port, db=server.database, retry=once, **common)
    ask = {
        "socket_connect_timeout": _SENTINEL,
        "socket_timeout": _SENTINEL,
        "retry": Retry(NoBackoff(), 0),
        "password": server.sentinel_password or None,
        "protocol": 2,
        **_tls(server),
    }
    sentinel: Any = Sentinel(server.addresses, sentinel_kwargs=ask)  # type: ignore[no-untyped-call]
    return sentinel.master_for(server.service, db=server.database, retry=once, **common)


def _tls(server: Server) -> dict[str, Any]:
    if not server.tls:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": server.ca_certs or None,
        "ssl_certfile": server.certfile or None,
        "ssl_keyfile": server.keyfile or None,
        "ssl_check_hostname": server.check_hostname,
    }


async def close(opened: Client) -> None:
    """End its connections, those to the sentinels too."""
    await opened.aclose()
    manager = getattr(getattr(opened, "connection_pool", None), "sentinel_manager", None)
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()
