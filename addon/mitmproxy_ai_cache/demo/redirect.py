"""Lets a proxy reach a provider on this machine under the provider's public name.

The redirection is below the flow, where the socket is opened, so that URLs, Host, SNI and signatures stay the
provider's own.
"""

from __future__ import annotations

import asyncio
from typing import Any

_LOCAL = ("127.0.0.1", "::1", "localhost")


def redirect_to(port: int, also_local: bool = False) -> None:
    """From now on every connection of this process to another machine goes to `port` on this one."""
    original = asyncio.open_connection

    async def open_connection(host: str | None = None, at: int | str | None = None, **options: Any) -> Any:
        if host is not None and (also_local or host not in _LOCAL):
            host, at = "127.0.0.1", port
        return await original(host, at, **options)

    setattr(asyncio, "open_connection", open_connection)  # noqa: B010
