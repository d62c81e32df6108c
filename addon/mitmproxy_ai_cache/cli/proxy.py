"""What `run` and `serve` have in common: their options, and a proxy made of them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration.options import LOG_FORMATS, MODES
from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import own_answers_of
from ..counts import log_line
from ..counts.stats import Stats
from ..identity.hosts import HostList
from ..proxy.targets import LOCAL
from ..stores import Store
from ..system import bundles, descriptors, ports, trust
from ..wire.safe_text import quoted, scrubbed
from . import first_start, outer, project
from .first_start import StartError
from .project import Project
from .sources import Value, collect, gather, mistyped

if TYPE_CHECKING:
    from .master import ProxyMaster

_STOP = 15.0
"""Seconds for the last writes and for connections to end."""


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
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a port; write a number from 0 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that listens, the directory of its certificate authority, and what its clients trust."""

    master: ProxyMaster
    confdir: Path
    roots: trust.Roots
    files: int = 0
    """The limit of open files that this process was started with; 0 where there is none."""
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

    from .master import ProxyMaster, quiet_logs

    found, directory = collect(arguments, os.environ, Path.cwd())
    values = {name: value.value for name, value in found.items()}
    settings = Settings.parse(values)
    json_lines = settings.log_format == "json"
    handler = quiet_logs(logging.INFO if log_calls and not arguments.quiet else logging.WARNING, json_lines)

    def announce(line: str) -> None:
        if not arguments.quiet:
            print(log_line.message(line) if json_lines else line, file=sys.stderr, flush=True)

    told = _tell(found, directory, arguments, json_lines)
    _check_port(arguments)
    with descriptors.raised() as files, first_start.place(arguments, settings) as place:
        master = ProxyMaster(announce, HostList(outer.globs([*outer.no_proxy(os.environ), *LOCAL])))
        # Until it listens an error is what `StartError` says, once.
        handler.addFilter(lambda record: record.levelno < logging.ERROR or master.listening.is_set())
        if directory.own_answers_only and values["ai_cache_store"].startswith(project.SQLITE):
            master.cache_addon.store_of = own_answers_of
        try:
            fixed = {
                "confdir": str(place.confdir),
                "listen_host": arguments.host,
                "listen_port": arguments.port,
                "tcp_timeout": 7200,
                "ssl_verify_upstream_trusted_ca": str(place.bundle),
                **_outer_proxy(arguments),
            }
            others = [text for text in arguments.set if not text.startswith(("ai_cache_", "confdir="))]
            master.configure({**fixed, **values, **place.options}, others)
        except (exceptions.OptionsError, outer.UnusableProxy, OSError) as error:
            raise StartError(str(error)) from None
        running = asyncio.create_task(_run(master))
        listening = asyncio.create_task(master.listening.wait())
        keeping = asyncio.create_task(bundles.keep_used(place.bundle))
        try:
            await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
            if not master.listening.is_set():
                raise StartError(_why_not(master.complaints))
            roots = trust.Roots(place.confdir / trust.CERTIFICATE, place.bundle)
            yield Running(master, place.confdir, roots, files, told)
        finally:
            master.stop()
            listening.cancel()
            keeping.cancel()
            # A connection that asyncio takes for open must not keep a run from ending.
            await asyncio.wait([running], timeout=_STOP)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _tell(found: Mapping[str, Value], directory: Project, arguments: argparse.Namespace, json_lines: bool) -> str:
    """Say which settings came from the directory, and which variables look mistyped."""
    for line in mistyped(os.environ):
        print(log_line.message(line, "warning") if json_lines else f"ai-cache: {line}", file=sys.stderr, flush=True)
    counting = [name for name, value in found.items() if value.origin == str(directory.file)]
    told = project.first_line(directory, counting)
    if told and (directory.ignored or not arguments.quiet):
        print(log_line.message(told) if json_lines else f"ai-cache: {told}", file=sys.stderr, flush=True)
    return told


def _check_port(arguments: argparse.Namespace) -> None:
    """Raises `StartError` where somebody has the port. Listeners that `--set` describes are left to mitmproxy."""
    if any(text.startswith(("mode=", "server=", "listen_")) for text in arguments.set):
        return
    host, port = arguments.host, arguments.port
    if not ports.is_taken(host, port):
        return
    other = ""
    if outer.alive(f"http://{f'[{host}]' if ':' in host else host}:{port}"):
        other = f", an ai-cache: use it (ai-cache env{'' if port == 8484 else f' --port {port}'}), stop it"
    raise StartError(
        f"{ports.taken(host, port)}{other or ': stop it'}, or take another port; --port 0 takes a free port"
    )


def _why_not(complaints: Sequence[str]) -> str:
    """Why a proxy did not start, of what was logged while it did: a port that somebody has, or else all of it."""
    for complaint in complaints:
        failed_at = _FAILED.search(complaint)
        if failed_at and ports.is_taken(failed_at[1].strip("*[]"), int(failed_at[2])):
            taken = ports.taken(failed_at[1].strip("*[]"), int(failed_at[2]))
            return f"{taken}: stop it, or take another port; --port 0 takes a free port"
    return "\nai-cache: ".join(complaints) or "the proxy did not start; ai-cache doctor checks this machine"


_FAILED = re.compile(r"failed to listen on (\S+):(\d+) with")
"""How mitmproxy says it. It does not say who has the port."""


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
    print(f"ai-cache: {scrubbed(str(error))}", file=sys.stderr)
    return 125


__all__ = ["SettingsError", "StartError", "add_options", "failed", "print_summary", "proxy", "settings_of"]
