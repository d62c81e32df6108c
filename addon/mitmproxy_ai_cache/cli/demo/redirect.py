"""Lets a proxy reach a provider on this machine under the provider's public name.

The redirection is below the flow, where the socket is opened, so that URLs, Host, SNI and signatures stay the
provider's own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ...proxy.connecting import redirected


def redirect_to(tls_port: int, plain_port: int | None = None) -> None:
    """From now on connections of mitmproxy to port 443 go to `tls_port` on this machine.

    With `plain_port` all others go there, also those to this machine. Connections of a store are left alone: only
    mitmproxy says from which local address it connects.
    """
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

    setattr(asyncio, "open_connection", open_connection)  # noqa: B010
