"""An origin in memory: how mitmproxy is made to stream an answer that comes from no network.

mitmproxy streams only what it reads from a connection. Connections to names below `flight.invalid` (RFC 6761 section
6.4: never a real host) are served from this process. A listener on loopback instead would be open to every local
process, and an outer proxy would be asked for it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, http

from ...calls.flight import BrokenStream, Follower
from .base import replace
from .table import MEMORY_ORIGIN, OPEN_CONNECTION

_SUFFIX = ".flight.invalid"

_waiting: dict[str, Follower] = {}
_numbers = itertools.count(1)


def send_to(flow: http.HTTPFlow, follower: Follower) -> Callable[[], None]:
    """Let `flow` be answered with what `follower` reads. The result gives the request its address back."""
    name = f"{next(_numbers)}{_SUFFIX}"
    _waiting[name] = follower
    data = flow.request.data
    address = data.host, data.port, data.scheme
    flow.server_conn = connection.Server(address=(name, 80))  # without the outer proxy
    data.host, data.port, data.scheme = name, 80, b"http"

    def restore() -> None:
        if (unread := _waiting.pop(name, None)) is not None:
            unread.leave()
        data.host, data.port, data.scheme = address

    return restore


def install() -> None:
    """Serve such names from memory from now on."""
    if not MEMORY_ORIGIN.may_install():
        return
    original = asyncio.open_connection

    async def open_connection(host: str | None = None, port: int | str | None = None, **options: Any) -> Any:
        if host is None or not host.endswith(_SUFFIX):
            return await original(host, port, **options)
        await asyncio.sleep(0)  # tasks are eager; mitmproxy does not expect a connection before it goes on
        follower = _waiting.pop(host, None)
        if follower is None:
            raise OSError(f"{host} is gone")
        origin = _Origin(follower)
        return origin, origin

    replace(MEMORY_ORIGIN, OPEN_CONNECTION, open_connection)


class _Origin:
    """Reader and writer of one connection, as much of both as mitmproxy uses."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._asked = asyncio.Event()
        self._closed = False
        self._head: bytes | None = _head(follower)
        self._ended = False

    async def read(self, _size: int) -> bytes:
        await self._asked.wait()
        if self._head is not None:
            head, self._head = self._head, None
            return head
        if self._ended or self._closed:
            return b""
        try:
            data = await self._follower.read()
        except BrokenStream:
            return b""  # the connection closes within the message, as that of a broken provider does
        if not data:
            self._ended = True
            return b"0\r\n\r\n"
        return b"%x\r\n%s\r\n" % (len(data), data)

    def write(self, _data: bytes) -> None:
        """The request, which is known."""
        self._asked.set()

    async def drain(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 0) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return self._closed

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self._closed = True
        self._asked.set()
        self._follower.leave()


def _head(follower: Follower) -> bytes:
    fields = [(name, value) for name, value in follower.stream.headers if name.lower() not in _FRAMING]
    fields.append(("transfer-encoding", "chunked"))
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


_FRAMING = ("transfer-encoding", "content-length", "connection", "keep-alive")
