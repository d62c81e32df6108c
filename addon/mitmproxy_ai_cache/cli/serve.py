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

from ..store_of import directory_of
from . import cassettes
from .proxy import SettingsError, StartError, add_options, failed, proxy, settings_of

SUMMARY = "run the proxy in the foreground"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, port=8484)
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write the URL to FILE, as JSON, when the proxy listens"
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
        if arguments.ready_file:
            _write_ready(arguments.ready_file, running.url, note)
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


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError, RuntimeError):  # the loop may be gone
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)


def _write_ready(file: Path, url: str, note: str) -> None:
    """All or nothing: somebody waits for the file and reads it at once."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.write_text(json.dumps({"url": url, "note": note}), "utf-8")
    partial.replace(file)
