"""redis-py's client for a `Server`: one server, a cluster, or whom the sentinels name as the primary."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from .redis_url import Server

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
        # While slots move a node may be asked that has just handed over: the cluster's client tries again itself.
        return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 3), require_full_coverage=False, **common)
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
