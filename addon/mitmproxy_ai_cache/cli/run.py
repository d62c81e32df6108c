"""`ai-cache run -- COMMAND`: the proxy on a free port for as long as COMMAND runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..stats import Stats
from .environment import variables
from .outer import MARK, alive
from .proxy import SettingsError, StartError, add_options, failed, proxy

SUMMARY = "run a command with its AI calls cached"

_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache run [options] -- COMMAND [ARG ...]"
    add_options(parser, port=0)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what happened to FILE, as JSON")
    parser.add_argument(
        "--local",
        action="store_true",
        help="also cache calls to models on this machine over http (sets HTTP_PROXY)",
    )
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
    around = os.environ.get(MARK, "")
    with _signals() as forward:
        if around and not (arguments.mode or arguments.store or arguments.set) and alive(around):
            if not arguments.quiet:
                print(f"ai-cache: inside another run; its proxy {around} is used", file=sys.stderr)
            return await _wait_for(command, dict(os.environ), forward)
        async with proxy(arguments, log_calls=arguments.verbose) as running:
            hosts = running.master.options.ai_cache_hosts
            block, removed = variables(running.url, running.confdir, os.environ, hosts, arguments.local)
            if removed:
                print(f"ai-cache: taken out of NO_PROXY for this run: {', '.join(removed)}", file=sys.stderr)
            code = await _wait_for(command, {**os.environ, **block}, forward)
            stats = running.stats
    if arguments.report:
        arguments.report.write_text(json.dumps({**stats.as_json(), "exit_code": code}, indent=2) + "\n", "utf-8")
    if not arguments.quiet:
        lines = [*stats.summary(), *_why_nothing(stats)]
        print("\n".join(line if line.startswith(" ") else f"ai-cache: {line}" for line in lines), file=sys.stderr)
    return code


def _why_nothing(stats: Stats) -> list[str]:
    """Where no AI call was seen: the likely cause and the mend."""
    if stats.calls or stats.refused:
        return []
    if not stats.connections:
        return [
            "  nothing came to the proxy: the command made no call, or its client ignores HTTPS_PROXY (Node 20,",
            "  aiohttp without trust_env, Rust with built-in roots, calls to localhost). With run --port 8484 give",
            "  it http://127.0.0.1:8484/https://api.openai.com/v1 as base URL; ai-cache doctor checks what is here",
        ]
    if stats.tunnels:
        return ["  the hosts it called are no AI hosts that are known here; --hosts HOST adds one"]
    return []


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
