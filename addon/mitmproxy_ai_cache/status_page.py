"""Where the status page is reached: behind the proxy under its own name, and on a port of its own."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mitmproxy import http

from . import bridge, metrics, own_address, ports
from .messages import Response

if TYPE_CHECKING:
    from .cache import Cache
    from .dashboard.server import Server
    from .dashboard.site import Site
    from .exchange import Exchange

logger = logging.getLogger("ai-cache")


def is_for_it(flow: http.HTTPFlow) -> bool:
    """Under the proxy's own name all is the status page but what clients and programs ask it for."""
    path = flow.request.path.partition("?")[0]
    named = flow.request.host == own_address.MAGIC_HOST and path not in own_address.ANSWERED
    return named or path == metrics.PATH


class StatusPage:
    """The status page and its two doors. Nothing of it is imported before it is wanted."""

    def __init__(self, cache: Callable[[], Cache | None], under_way: Callable[[], list[Exchange]]) -> None:
        self._cache = cache
        self._under_way = under_way
        self._site: Site | None = None
        self._server: Server | None = None

    def _made(self) -> Site:
        if self._site is None:
            from .dashboard.site import Site

            self._site = Site(self._cache, self._under_way)
        return self._site

    def listen(self, host: str, port: int, announce: Callable[[str], None]) -> None:
        """Without a port of its own the page is still behind the proxy, and calls are worth more than the page."""
        from .dashboard.server import Server

        try:
            self._server = Server(self._made(), host, port)
        except OSError as error:
            why = ports.taken(host, port) if error.errno == errno.EADDRINUSE else error.strerror or error
            logger.warning("ai-cache: no status page on %s:%d: %s; write another port", host, port, why)
            return
        announce(f"ai-cache: status page on {self._server.url}")

    async def answer(self, flow: http.HTTPFlow) -> Response:
        from .dashboard.visit import Door

        wire, client = flow.request, flow.client_conn
        name = wire.host if wire.host == own_address.MAGIC_HOST else client.sockname[0]
        local = client.peername is not None and own_address.is_loopback(client.peername[0])
        door = Door(name, through_proxy=True, local=local)
        headers = bridge.headers_from(wire.headers.fields)
        return await self._made().visit(wire.method, wire.path, headers, wire.raw_content or b"", door)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()
