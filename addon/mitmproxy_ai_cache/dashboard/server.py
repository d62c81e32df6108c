"""The page on a port of its own: tornado's HTTP server, which mitmproxy brings, on the loop of the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ..wire.messages import Headers, Response
from .site import Site
from .visit import LARGEST, Door

_IDLE = 30.0
"""Seconds until a connection without requests is closed."""


class Server:
    """Answers what comes to `host`:`port`; port 0 takes a free one."""

    def __init__(self, site: Site, host: str, port: int, came_from_us: Callable[..., bool]) -> None:
        """Raises `OSError` where nothing can listen there. `came_from_us`: a peer, at an address of ours, is a
        connection of the proxy."""
        self._site = site
        self._came_from_us = came_from_us
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = HTTPServer(
            self._take,
            idle_connection_timeout=_IDLE,
            body_timeout=_IDLE,
            max_header_size=LARGEST,
            max_body_size=LARGEST,
        )
        sockets = bind_sockets(port, host)
        self._server.add_sockets(sockets)
        number = sockets[0].getsockname()[1]
        self.address = host, number
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{number}/"

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
        for task in self._tasks:
            task.cancel()

    def _take(self, request: httputil.HTTPServerRequest) -> None:
        task = asyncio.create_task(self._answer(request), name="ai-cache page")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: httputil.HTTPServerRequest) -> None:
        connection = request.connection
        assert connection is not None
        target = request.uri or "/"
        headers = Headers(request.headers.get_all())
        local = not self._came_from_us(*_ends(connection))
        door = Door(self._host, local=local)
        response = await self._site.visit(request.method or "GET", target, headers, request.body, door)
        body = b"" if request.method == "HEAD" else response.body
        line = httputil.ResponseStartLine("HTTP/1.1", response.status, _phrase(response.status))
        connection.write_headers(line, _fields(response), body)
        connection.finish()


def _ends(connection: Any) -> tuple[Any, Any]:
    """The client's address, and the one of ours that it reached. None for what is not known any more."""
    peer = getattr(getattr(connection, "context", None), "address", None)
    try:
        return peer, connection.stream.socket.getsockname()
    except (AttributeError, OSError):
        return peer, None


def _fields(response: Response) -> httputil.HTTPHeaders:
    fields = httputil.HTTPHeaders()
    for name, value in response.headers:
        fields.add(name, value)
    if response.status != HTTPStatus.NO_CONTENT:
        fields["Content-Length"] = str(len(response.body))
    return fields


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
