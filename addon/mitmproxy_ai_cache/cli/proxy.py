"""What `run` and `serve` have in common: their options, and a proxy made of them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import log_line, trust
from ..hosts import HostList
from ..options import LOG_FORMATS, MODES
from ..settings import Settings, SettingsError
from ..stats import Stats
from ..store_of import own_answers_of
from ..stores import Store
from . import outer, project
from .environment import LOCAL
from .sources import collect, gather

if TYPE_CHECKING:
    from ..master import ProxyMaster

_STOP = 15.0
"""Seconds for the last writes and for connections to end."""


class StartError(Exception):
    """The proxy did not start. One line for a user."""


def add_options(parser: argparse.ArgumentParser, port: int, mode: bool = True) -> None:
    parser.add_argument(
        "--store",
        metavar="URL",
        help="sqlite:///PATH (default: in your cache directory), cassettes:DIR, memory:, redis://...",
    )
    if mode:
        parser.add_argument(
            "--mode", choices=MODES, help="what to do with calls (default: cache; see ai-cache options)"
        )
    add_address(parser, port)
    parser.add_argument("--hosts", action="append", metavar="GLOB", help="one more AI host; may be repeated")
    parser.add_argument(
        "--dashboard", metavar="HOST:PORT", help="show the status page there, for example 127.0.0.1:8485"
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="any other option, ours (see: ai-cache options) or mitmproxy's; may be repeated",
    )
    parser.add_argument(
        "--ephemeral-ca", action="store_true", help="a certificate authority for this run only, gone afterwards (CI)"
    )
    parser.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        help="json: what is written to stderr is one JSON object a line (default: text)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")
    project.add_options(parser)


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """`--host` and `--port`; AI_CACHE_HOST and AI_CACHE_PORT for containers."""
    host, number = os.environ.get("AI_CACHE_HOST") or "127.0.0.1", os.environ.get("AI_CACHE_PORT") or str(port)
    parser.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=number, help="port to listen on, 0 for any (default: %(default)s)"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; write a number from 0 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that listens, and the directory of its certificate authority."""

    master: ProxyMaster
    confdir: Path
    directory: str = ""
    """Which settings came from the directory."""

    @property
    def url(self) -> str:
        host, port = self.master.address
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{reachable}:{port}"

    @property
    def store(self) -> Store | None:
        cache = self.master.cache_addon.cache
        return cache.store if cache is not None else None

    @property
    def stats(self) -> Stats:
        cache = self.master.cache_addon.cache
        return cache.stats if cache is not None else Stats()


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Raises `SettingsError`."""
    return Settings.parse(_values(arguments))


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: found.value for name, found in gather(arguments, os.environ, Path.cwd()).items()}


@asynccontextmanager
async def proxy(arguments: argparse.Namespace, *, log_calls: bool) -> AsyncIterator[Running]:
    """A running proxy. Raises `StartError` before it yields, `SettingsError` for wrong options."""
    # All of mitmproxy takes half a second of CPU time to import; what only looks into a store needs none of it.
    from mitmproxy import exceptions

    from ..master import ProxyMaster, quiet_logs

    found, directory = collect(arguments, os.environ, Path.cwd())
    values = {name: value.value for name, value in found.items()}
    json_lines = Settings.parse(values).log_format == "json"
    quiet_logs(logging.INFO if log_calls and not arguments.quiet else logging.WARNING, json_lines)

    def announce(line: str) -> None:
        if not arguments.quiet:
            print(log_line.message(line) if json_lines else line, file=sys.stderr, flush=True)

    told = project.first_line(directory, [name for name, value in found.items() if value.origin == str(directory.file)])
    if told and (directory.ignored or not arguments.quiet):
        print(log_line.message(told) if json_lines else f"ai-cache: {told}", file=sys.stderr, flush=True)
    with _authority(arguments.ephemeral_ca) as confdir:
        master = ProxyMaster(announce, HostList(outer.globs([*outer.no_proxy(os.environ), *LOCAL])))
        if directory.own_answers_only and values["ai_cache_store"].startswith(project.SQLITE):
            master.cache_addon.store_of = own_answers_of
        try:
            certificate = trust.make_authority(confdir)
            bundle = trust.write_bundle(confdir, certificate, os.environ)
            fixed = {
                "confdir": str(confdir),
                "listen_host": arguments.host,
                "listen_port": arguments.port,
                "tcp_timeout": 7200,
                "ssl_verify_upstream_trusted_ca": str(bundle),
                **_outer_proxy(arguments),
            }
            others = [text for text in arguments.set if not text.startswith("ai_cache_")]
            master.configure({**fixed, **values}, others)
        except (exceptions.OptionsError, outer.UnusableProxy, OSError) as error:
            raise StartError(str(error)) from None
        running = asyncio.create_task(_run(master))
        listening = asyncio.create_task(master.listening.wait())
        try:
            await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
            if not master.listening.is_set():
                raise StartError(
                    "the proxy did not start, see above" + ("; --port 0 takes a free port" if arguments.port else "")
                )
            yield Running(master, confdir, told)
        finally:
            master.stop()
            listening.cancel()
            # A connection that asyncio takes for open must not keep a run from ending.
            await asyncio.wait([running], timeout=_STOP)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@contextmanager
def _authority(ephemeral: bool) -> Iterator[Path]:
    """The directory of the certificate authority: the user's, or one that is gone afterwards."""
    if not ephemeral:
        yield trust.directory()
        return
    with tempfile.TemporaryDirectory(prefix="ai-cache-ca-") as folder:
        yield Path(folder)


def _outer_proxy(arguments: argparse.Namespace) -> dict[str, Any]:
    """A proxy that was there before us becomes the one we go through, unless a mode was asked for."""
    found = outer.proxy(os.environ)
    own = found is not None and found.url in (f"http://{host}:{arguments.port}" for host in ("127.0.0.1", "localhost"))
    if found is None or own or any(text.startswith("mode=") for text in arguments.set):
        return {}
    if not arguments.quiet:
        print(f"ai-cache: going on through the proxy {found.url} that HTTPS_PROXY names", file=sys.stderr)
    return {"mode": [f"upstream:{found.url}"], "upstream_auth": found.credentials or None}


def print_summary(stats: Stats, more: Sequence[str] = ()) -> None:
    """On stderr: lines for a person, or one JSON object."""
    if stats.json_lines:
        told = {name: value for name, value in stats.as_json().items() if name != "misses"}  # they show requests
        print(log_line.event({"event": "summary", "time": round(time.time(), 3), **told}), file=sys.stderr)
        return
    lines = [*stats.summary(), *more]
    print("\n".join(line if line.startswith(" ") else f"ai-cache: {line}" for line in lines), file=sys.stderr)


async def _run(master: ProxyMaster) -> None:
    with suppress(SystemExit):  # mitmproxy ends its process when something was wrong at the start; we say it ourselves
        await master.run()


def failed(error: Exception) -> int:
    """Say why nothing was started. Exit code 125: ai-cache itself failed."""
    print(f"ai-cache: {error}", file=sys.stderr)
    return 125


__all__ = ["SettingsError", "StartError", "add_options", "failed", "print_summary", "proxy", "settings_of"]
