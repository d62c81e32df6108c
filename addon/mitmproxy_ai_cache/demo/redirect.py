"""Lets a proxy reach a provider on this machine under the provider's public name.

The redirection is below the flow, where the socket is opened, so that URLs, Host, SNI and signatures stay the
provider's own.
"""

from __future__ import annotations

import asyncio
from typing import Any


def redirect_to(port: int, plain_port: int | None = None) -> None:
    """From now on connections of this process to port 443 go to `port` on this machine.

    With `plain_port` all others go there, also those to this machine.
    """
    original = asyncio.open_connection

    async def open_connection(host: str | None = None, at: int | str | None = None, **options: Any) -> Any:
        if host is not None and at == 443:
            host, at = "127.0.0.1", port
        elif host is not None and plain_port is not None:
            host, at = "127.0.0.1", plain_port
        return await original(host, at, **options)

    setattr(asyncio, "open_connection", open_connection)  # noqa: B010
