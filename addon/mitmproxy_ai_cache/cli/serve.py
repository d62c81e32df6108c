"""`ai-cache serve`: the proxy in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

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
    async with proxy(arguments, log_calls=True) as running:
        if not arguments.quiet:
            port = running.master.address[1]
            hint = "ai-cache env" if port == 8484 else f"ai-cache env --port {port}"
            print(
                f'ai-cache: listening on {running.url}; for your shell: eval "$({hint})"', file=sys.stderr, flush=True
            )
        await stop.wait()
        summary = running.stats.summary()
    if not arguments.quiet:
        print("\n".join(line if line.startswith(" ") else f"ai-cache: {line}" for line in summary), file=sys.stderr)
    return 0
