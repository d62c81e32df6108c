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
from .sources import gather

SUMMARY = "run a command with its AI calls cached"

_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
"""Ctrl-C and Ctrl-\\ reach COMMAND from the terminal itself, once."""

_HARMLESS = {getattr(signal, "SIGWINCH", None)}
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
    if arguments.report and not arguments.report.absolute().parent.is_dir():
        return failed(StartError(f"--report: there is no directory {arguments.report.absolute().parent}"))
    try:
        return asyncio.run(_run(arguments, command))
    except (StartError, SettingsError) as error:
        return failed(error)


async def _run(arguments: argparse.Namespace, command: list[str]) -> int:
    around = os.environ.get(MARK, "")
    with _signals() as forward:
        if around and _asks_for_nothing(arguments) and alive(around):
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
        try:
            arguments.report.write_text(json.dumps({**stats.as_json(), "exit_code": code}, indent=2) + "\n", "utf-8")
        except OSError as error:
            print(f"ai-cache: the report could not be written: {error}", file=sys.stderr)
    if not arguments.quiet:
        lines = [*stats.summary(), *_why_nothing(stats)]
        print("\n".join(line if line.startswith(" ") else f"ai-cache: {line}" for line in lines), file=sys.stderr)
    return code


def _asks_for_nothing(arguments: argparse.Namespace) -> bool:
    """Whether a run inside another one has no wish of its own, so that the outer proxy will do."""
    found = gather(arguments, os.environ, Path.cwd())
    own = arguments.report or arguments.local or arguments.port or arguments.ephemeral_ca or arguments.set
    return not own and all(value.origin == "default" for value in found.values())


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
    """What a terminal sends reaches COMMAND by itself; other signals are passed on to it."""
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: object) -> None:
        stop_if_alone(number, _frame)
        for child in children:
            child.send_signal(number)

    def stop_if_alone(number: int, _frame: object) -> None:
        if not children and number not in _HARMLESS:
            raise SystemExit(128 + number)

    handlers = dict.fromkeys(_FROM_TERMINAL, stop_if_alone) | dict.fromkeys(_FORWARDED, pass_on)
    previous = {}
    for name, handler in handlers.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
            previous[number] = signal.signal(number, handler)
    try:
        yield children
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
