"""`ai-cache run -- COMMAND`: the proxy on a free port for as long as COMMAND runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..configuration.settings import Settings
from ..counts.stats import Stats
from ..stores import CASSETTES
from ..system import descriptors
from . import replaying, reports
from .environment import variables
from .outer import MARK, alive
from .proxy import Running, SettingsError, StartError, add_options, failed, print_summary, proxy, settings_of
from .sources import gather

SUMMARY = "run a command with its AI calls cached"

_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
"""Ctrl-C and Ctrl-\\ reach COMMAND from the terminal itself, once."""

_HARMLESS = {getattr(signal, "SIGWINCH", None)}
_NOT_STARTED = (126, 127)
"""Exit codes of a COMMAND that cannot be executed or found, as shells give them."""
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def add_arguments(parser: argparse.ArgumentParser, mode: bool = True) -> None:
    """`mode`: the user chooses it."""
    parser.usage = "ai-cache run [options] -- COMMAND [ARG ...]"
    add_options(parser, port=0, mode=mode)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what happened to FILE, as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the verdict to FILE, as JUnit XML")
    replaying.add_options(parser)
    parser.add_argument(
        "--local",
        action="store_true",
        help="also cache calls to models on this machine over http: names localhost, 127.0.0.1 and ::1 as AI hosts, "
        "and sets HTTP_PROXY",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per call on stderr")
    if mode:  # else DIR stands there
        parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="a command and its arguments")


def main(arguments: argparse.Namespace) -> int:
    """`arguments.command` is what stood behind `--`."""
    name = arguments.name
    arguments.command = arguments.command or getattr(arguments, "words", [])
    if not arguments.command:
        return failed(
            StartError(f"no command; write ai-cache {name} -- COMMAND, for example ai-cache {name} -- pytest")
        )
    for option in ("report", "junit"):
        file = getattr(arguments, option)
        if file and not file.absolute().parent.is_dir():
            return failed(StartError(f"--{option}: there is no directory {file.absolute().parent}"))
    arguments.set += [f"ai_cache_allow_hosts={glob}" for glob in arguments.allow_host or ()]
    try:
        return asyncio.run(_run(arguments, arguments.command))
    except (StartError, SettingsError) as error:
        return failed(error)


async def _run(arguments: argparse.Namespace, command: list[str]) -> int:
    around = os.environ.get(MARK, "")
    with signals() as forward:
        if around and _asks_for_nothing(arguments) and alive(around):
            if not arguments.quiet:
                print(f"ai-cache: inside another run; its proxy {around} is used", file=sys.stderr)
            return await wait_for(command, dict(os.environ), forward)
        settings = settings_of(arguments)
        replaying.check(settings, arguments)
        async with proxy(arguments, log_calls=arguments.verbose) as running:
            with command_environment(running, settings, arguments) as environ:
                code = await wait_for(command, environ, forward, running.files)
            stats, store = running.stats, running.store
            problems = replaying.verdict(stats, store, arguments) if settings.mode == "replay" else []
    if settings.stores and (settings.store.startswith(CASSETTES) or stats.unwritten):
        problems = replaying.unrecorded(stats, store)
    code = code or (replaying.FAILED if problems else 0)
    _report(arguments, stats, problems, code, settings.mode)
    if not arguments.quiet:
        print_summary(stats, _why_nothing(stats) if code not in _NOT_STARTED else ())
    for problem in problems:
        print(f"ai-cache: {settings.mode} failed: {problem}", file=sys.stderr)
    return code


@contextmanager
def command_environment(
    running: Running, settings: Settings, arguments: argparse.Namespace
) -> Iterator[dict[str, str]]:
    """What COMMAND gets. In a replay with placeholders for credentials, whose files are gone afterwards."""
    hosts = running.master.options.ai_cache_hosts
    block, removed = variables(running.url, running.roots, os.environ, hosts, arguments.local)
    if removed:
        print(f"ai-cache: taken out of NO_PROXY for this run: {', '.join(removed)}", file=sys.stderr)
    if settings.mode != "replay":
        yield {**os.environ, **block}
        return
    with tempfile.TemporaryDirectory(prefix="ai-cache-keys-") as folder:
        values, replaced = replaying.placeholders(os.environ, Path(folder), arguments.keep_credentials)
        if replaced and not arguments.quiet:
            print(f"ai-cache: placeholders instead of {', '.join(replaced)} (--keep-credentials)", file=sys.stderr)
        yield {**os.environ, **values, **block}


def _report(arguments: argparse.Namespace, stats: Stats, problems: list[str], code: int, mode: str) -> None:
    if arguments.report:
        reports.write(arguments.report, reports.as_json(stats, problems, code))
    if arguments.junit:
        reports.write(arguments.junit, reports.as_junit(stats, problems))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        reports.write(Path(summary), reports.as_markdown(stats, problems, mode), append=True)


def _asks_for_nothing(arguments: argparse.Namespace) -> bool:
    """Whether a run inside another one has no wish of its own, so that the outer proxy will do."""
    found = gather(arguments, os.environ, Path.cwd())
    own = (
        arguments.report
        or arguments.junit
        or arguments.local
        or arguments.mode
        or arguments.port
        or arguments.ephemeral_ca
        or arguments.set
    )
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


async def wait_for(
    command: list[str], environ: dict[str, str], forward: list[subprocess.Popen[bytes]], files: int = 0
) -> int:
    """COMMAND's exit code as a shell gives it: 126 not executable, 127 not found, 128+n killed by signal n.

    `files` is its limit of open files; 0 for ours.
    """
    try:
        with descriptors.for_child(files):
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
def signals() -> Iterator[list[subprocess.Popen[bytes]]]:
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
