"""The first lines of a proxy: its state, and which options of mitmproxy do harm here."""

from __future__ import annotations

import logging

from mitmproxy import ctx

from ..configuration.settings import Settings
from ..identity.isolation import Isolation
from . import patches

logger = logging.getLogger("ai-cache")


def state(settings: Settings, isolation: Isolation, store: str, entries: int) -> str:
    """`ai-cache: mode cache, store sqlite:///..., 3 entries, entries apart by credential`"""
    why = f" ({settings.mode_why})" if settings.mode_why else ""
    noun = "entry" if entries == 1 else "entries"
    apart = "" if str(isolation) == "none" else f", entries apart by {isolation}"
    return f"ai-cache: mode {settings.mode}{why}, store {store}, {entries} {noun}{apart}"


def warn(settings: Settings, local: bool, stream_all: bool) -> None:
    """`local`: only this machine reaches the proxy. `stream_all`: it is one of `run` or `serve`."""
    for complaint in patches.complaints(settings.tune_mitmproxy):
        logger.warning("%s", complaint)
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
