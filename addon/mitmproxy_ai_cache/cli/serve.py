"""`ai-cache serve`: the proxy in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from .. import trust
from .proxy import SettingsError, StartError, add_options, failed, proxy

SUMMARY = "run the proxy in the foreground"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, port=8484)


def main(arguments: argparse.Namespace) -> int:
    try:
        return asyncio.run(_serve(arguments))
    except (StartError, SettingsError) as error:
        return failed(error)


async def _serve(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with proxy(arguments, log_calls=True) as master:
        host, port = master.address
        if not arguments.quiet:
            print(
                f"ai-cache: listening on http://{host}:{port}; clients need HTTPS_PROXY=http://{host}:{port} "
                f"and to trust {trust.directory() / 'mitmproxy-ca-cert.pem'}",
                file=sys.stderr,
                flush=True,
            )
        await stop.wait()
        summary = master.cache_addon.cache.stats.summary() if master.cache_addon.cache else []
    if not arguments.quiet:
        print(
            "\n".join(["ai-cache: " + line if not line.startswith(" ") else line for line in summary]), file=sys.stderr
        )
    return 0
