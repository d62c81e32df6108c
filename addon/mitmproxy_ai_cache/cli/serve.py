"""`ai-cache serve`: the proxy in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..configuration.store_of import directory_of
from ..counts import log_line
from ..system import trust
from . import cassettes
from .env import folder
from .environment import variables
from .proxy import Running, SettingsError, StartError, add_options, failed, print_summary, proxy, settings_of
from .replaying import placeholders

SUMMARY = "run the proxy in the foreground"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, port=8484)
    parser.add_argument(
        "--local",
        action="store_true",
        help="also for models on this machine: names localhost, 127.0.0.1 and ::1 as AI hosts",
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="when the proxy listens, write its URL and what `ai-cache env` says to FILE, as JSON",
    )
    parser.add_argument(
        "--placeholders",
        type=Path,
        metavar="DIR",
        help="for --ready-file: in a replay, placeholders for all credentials, too; DIR gets the files they need",
    )
    parser.add_argument(
        "--cassettes",
        action="store_true",
        help="recordings where record and replay have them; a replay where there are none answers nothing",
    )
    parser.add_argument(
        "--until-eof", action="store_true", help="also end when standard input does: with the program that started it"
    )


def main(arguments: argparse.Namespace) -> int:
    try:
        note = _use_cassettes(arguments) if arguments.cassettes else ""
        return asyncio.run(_serve(arguments, note))
    except (StartError, SettingsError) as error:
        return failed(error)


def _use_cassettes(arguments: argparse.Namespace) -> str:
    """What there is to say about them."""
    arguments.store = cassettes.store(None, arguments)
    settings = settings_of(arguments)
    if settings.mode != "replay" or directory_of(settings).is_dir():
        return ""
    arguments.store = "memory:"
    return f"there are no recordings at {directory_of(settings)}"


async def _serve(arguments: argparse.Namespace, note: str) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if arguments.until_eof:
        threading.Thread(target=_wait_for_eof, args=(asyncio.get_running_loop(), stop), daemon=True).start()
    async with proxy(arguments, log_calls=True) as running:
        _publish(running)
        if arguments.ready_file:
            _write_ready(arguments, running, note)
        if not arguments.quiet:
            port = running.master.address[1]
            hint = "ai-cache env" if port == 8484 else f"ai-cache env --port {port}"
            hint += " --local" if arguments.local else ""
            line = f'ai-cache: listening on {running.url}; for your shell: eval "$({hint})"'
            print(log_line.message(line) if running.stats.json_lines else line, file=sys.stderr, flush=True)
        await stop.wait()
        stats = running.stats
    if not arguments.quiet:
        print_summary(stats)
    return 0


def _publish(running: Running) -> None:
    """For clients that are set up once. A directory that cannot be written was warned of, or holds what is needed."""
    with suppress(OSError):
        trust.publish_bundle(running.confdir, running.roots.bundle)


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError, RuntimeError):  # the loop may be gone
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)


def _write_ready(arguments: argparse.Namespace, running: Running, note: str) -> None:
    """All or nothing: somebody waits for the file and reads it at once."""
    hosts = running.master.options.ai_cache_hosts
    environment, _ = variables(running.url, running.roots, os.environ, hosts, arguments.local)
    if arguments.placeholders and running.master.options.ai_cache_mode == "replay":
        environment |= placeholders(os.environ, folder(arguments.placeholders), keep=False)[0]
    file: Path = arguments.ready_file
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.write_text(
        json.dumps({"url": running.url, "note": note, "directory": running.directory, "environment": environment}),
        "utf-8",
    )
    partial.replace(file)
