"""Where the status page is reached: behind the proxy under its own name, and on a port of its own."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mitmproxy import http

from ..calls import own_address
from ..counts import metrics
from ..system import ports
from ..wire.messages import Headers, Response
from . import bridge

if TYPE_CHECKING:
    from ..calls.exchange import Exchange
    from ..counts.counted import CountedCache
    from ..dashboard.server import Server
    from ..dashboard.site import Site

logger = logging.getLogger("ai-cache")


def is_for_it(flow: http.HTTPFlow) -> bool:
    """Under the proxy's own name all is the status page but what clients and programs ask it for."""
    path = flow.request.path.partition("?")[0]
    named = bridge.is_magic(flow.request.host) and path not in own_address.ANSWERED
    return named or path == metrics.PATH


class StatusPage:
    """The status page and its two doors. Nothing of it is imported before it is wanted."""

    def __init__(
        self,
        cache: Callable[[], CountedCache | None],
        under_way: Callable[[], list[Exchange]],
        came_from_us: Callable[..., bool] = lambda peer, at: False,
    ) -> None:
        self._cache = cache
        self._under_way = under_way
        self._came_from_us = came_from_us
        self._site: Site | None = None
        self._server: Server | None = None

    def _made(self) -> Site:
        if self._site is None:
            from ..dashboard.site import Site

            self._site = Site(self._cache, self._under_way)
        return self._site

    def listen(self, host: str, port: int, announce: Callable[[str], None]) -> None:
        """Without a port of its own the page is still behind the proxy, and calls are worth more than the page."""
        from ..dashboard.server import Server

        try:
            self._server = Server(self._made(), host, port, self._came_from_us)
        except OSError as error:
            why = ports.taken(host, port) if error.errno == errno.EADDRINUSE else error.strerror or error
            logger.warning("ai-cache: no status page on %s:%d: %s; write another port", host, port, why)
            return
        announce(f"ai-cache: status page on {self._server.url}")

    @property
    def address(self) -> tuple[str, int] | None:
        """Where its own listener is."""
        return self._server.address if self._server is not None else None

    async def answer(self, flow: http.HTTPFlow, local: bool) -> Response:
        """Whoever asks was let in, under a name of ours."""
        from ..dashboard.visit import Door

        wire = flow.request
        door = Door(wire.host, through_proxy=True, local=local, named=True)
        headers = bridge.headers_from(wire.headers.fields)
        if "host" not in headers:  # HTTP/2
            headers = Headers([*headers, ("host", wire.host_header or wire.host)])
        return await self._made().visit(wire.method, wire.path, headers, wire.raw_content or b"", door)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()
