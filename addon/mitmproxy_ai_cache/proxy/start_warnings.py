"""What is said at the start of options of mitmproxy that do harm here."""

from __future__ import annotations

import logging

from mitmproxy import ctx

logger = logging.getLogger("ai-cache")


def warn(local: bool, stream_all: bool) -> None:
    """`local`: only this machine reaches the proxy. `stream_all`: it is one of `run` or `serve`."""
    if not local and not ctx.options.proxyauth:
        logger.warning(
            "ai-cache: whoever reaches this port can use the proxy and be answered from the cache; listen on "
            "127.0.0.1, or add --set proxyauth=USER:PASSWORD"
        )
    if ctx.options.stream_large_bodies:
        logger.warning("ai-cache: requests larger than stream_large_bodies pass uncached: mitmproxy streams them")
    if ctx.options.tcp_timeout < 3600 and not stream_all:
        logger.warning(
            "ai-cache: mitmproxy ends calls that are silent for %d s; for slow models add --set tcp_timeout=7200",
            ctx.options.tcp_timeout,
        )
