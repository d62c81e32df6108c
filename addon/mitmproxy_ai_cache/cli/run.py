"""`ai-cache run -- COMMAND`: the proxy on a free port for as long as COMMAND runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .. import trust
from .environment import variables
from .proxy import SettingsError, StartError, add_options, failed, proxy

SUMMARY = "run a command with its AI calls cached"

_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache run [options] -- COMMAND [ARG ...]"
    add_options(parser, port=0)
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per call on stderr")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")


def main(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        return failed(StartError("no command; write ai-cache run -- COMMAND, for example ai-cache run -- pytest"))
    try:
        return asyncio.run(_run(arguments, command))
    except (StartError, SettingsError) as error:
        return failed(error)


async def _run(arguments: argparse.Namespace, command: list[str]) -> int:
    with _signals() as forward:
        async with proxy(arguments, log_calls=arguments.verbose) as master:
            host, port = master.address
            confdir = trust.directory()
            block = variables(
                f"http://{host}:{port}", confdir / "mitmproxy-ca-cert.pem", confdir / "ca-bundle.pem", os.environ
            )
            code = await _wait_for(command, {**os.environ, **block}, forward)
            summary = master.cache_addon.cache.stats.summary() if master.cache_addon.cache else []
    if not arguments.quiet:
        print("\n".join(line if line.startswith(" ") else f"ai-cache: {line}" for line in summary), file=sys.stderr)
    return code


async def _wait_for(command: list[str], environ: dict[str, str], forward: list[subprocess.Popen[bytes]]) -> int:
    """COMMAND's exit code as a shell gives it: 126 not executable, 127 not found, 128+n killed by signal n."""
    try:
        process = subprocess.Popen(command, env=environ)  # noqa: ASYNC220 it inherits the terminal
    except FileNotFoundError:
        print(f"ai-cache: {command[0]}: command not found", file=sys.stderr)
        return 127
    except OSError as error:
        print(f"ai-cache: {command[0]}: {error.strerror}", file=sys.stderr)
        return 126
    forward.append(process)
    code = await asyncio.to_thread(process.wait)
    return code if code >= 0 else 128 - code


@contextmanager
def _signals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ctrl-C reaches COMMAND from the terminal itself, once; other signals are passed on to it."""
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    previous = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None)}
    for name in _FORWARDED:
        if number := getattr(signal, name, None):
            previous[number] = signal.signal(number, pass_on)
    try:
        yield children
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
