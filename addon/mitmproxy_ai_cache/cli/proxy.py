"""What `run` and `serve` have in common: their options, and a proxy made of them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from mitmproxy import exceptions

from .. import trust
from ..master import ProxyMaster, quiet_logs
from ..settings import MODES, Settings, SettingsError
from .sources import gather


class StartError(Exception):
    """The proxy did not start. One line for a user."""


def add_options(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("--store", metavar="URL", help="sqlite:///PATH (default: in your cache directory) or memory:")
    parser.add_argument("--mode", choices=MODES, help="what to do with calls (default: cache)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=port, help="port to listen on, 0 for any (default: %(default)s)")
    parser.add_argument("--hosts", action="append", metavar="GLOB", help="one more AI host; may be repeated")
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="any other option, ours (see: ai-cache options) or mitmproxy's; may be repeated",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; write a number from 0 to 65535")
    return int(text)


@asynccontextmanager
async def proxy(arguments: argparse.Namespace, *, log_calls: bool) -> AsyncIterator[ProxyMaster]:
    """A running proxy. Raises `StartError` before it yields, `SettingsError` for wrong options."""
    quiet_logs(logging.INFO if log_calls and not arguments.quiet else logging.WARNING)
    values = {name: found.value for name, found in gather(arguments, os.environ, Path.cwd()).items()}
    Settings.parse(values)
    announce = (lambda line: None) if arguments.quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    master = ProxyMaster(announce)
    confdir = trust.directory()
    others = [text for text in arguments.set if not text.startswith("ai_cache_")]
    try:
        certificate = trust.make_authority(confdir)
        bundle = trust.write_bundle(confdir, certificate, os.environ)
        fixed = {
            "confdir": str(confdir),
            "listen_host": arguments.host,
            "listen_port": arguments.port,
            "tcp_timeout": 7200,
            "ssl_verify_upstream_trusted_ca": str(bundle),
        }
        master.configure({**fixed, **values}, others)
    except (exceptions.OptionsError, OSError) as error:
        raise StartError(str(error)) from None
    running = asyncio.create_task(_run(master))
    listening = asyncio.create_task(master.listening.wait())
    try:
        await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
        if not master.listening.is_set():
            raise StartError(
                f"the proxy did not start on {arguments.host}:{arguments.port}, see above; --port 0 takes a free port"
            )
        yield master
    finally:
        master.stop()
        listening.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _run(master: ProxyMaster) -> None:
    with suppress(SystemExit):  # mitmproxy ends its process when something was wrong at the start; we say it ourselves
        await master.run()


def failed(error: Exception) -> int:
    """Say why nothing was started. Exit code 125: ai-cache itself failed."""
    print(f"ai-cache: {error}", file=sys.stderr)
    return 125


__all__ = ["SettingsError", "StartError", "add_options", "failed", "proxy"]
