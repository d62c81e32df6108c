"""Connections of mitmproxy are led to a provider on this machine, for `ai-cache demo` and the tests."""

from __future__ import annotations

import asyncio
from typing import Any

from .base import replace
from .judged_connections import redirected
from .table import OPEN_CONNECTION, REDIRECTED


def install(tls_port: int, plain_port: int | None = None) -> None:
    """From now on connections to port 443 go to `tls_port` on this machine, and all others to `plain_port` if given.

    Each time one more, with its own ports. Connections of a store are left alone: only mitmproxy says from which local
    address it connects. Raises RuntimeError on a mitmproxy that may not do so: calls would go to real providers.
    """
    if complaint := REDIRECTED.complaint():
        raise RuntimeError(complaint)
    original = asyncio.open_connection

    async def open_connection(host: str | None = None, port: int | str | None = None, **options: Any) -> Any:
        if host is not None and "local_addr" in options:
            if port == 443:
                host, port = "127.0.0.1", tls_port
                redirected.set(True)
            elif plain_port is not None:
                host, port = "127.0.0.1", plain_port
                redirected.set(True)
        return await original(host, port, **options)

    replace(REDIRECTED, OPEN_CONNECTION, open_connection)
