"""What `record` and `replay` have in common: the directory they name."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..settings import SettingsError
from ..stores import CASSETTES
from . import run
from .proxy import StartError, failed
from .sources import gather

DIRECTORY = "cassettes"
"""Where recordings are when nobody says otherwise, in the working directory."""


def add_directory(parser: argparse.ArgumentParser, name: str) -> None:
    parser.usage = f"ai-cache {name} [options] [DIR] -- COMMAND [ARG ...]"
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help="where the recordings are (default: the store of your configuration if it is cassettes:DIR, else "
        f"./{DIRECTORY})",
    )


def main(arguments: argparse.Namespace) -> int:
    try:
        arguments.store = store(arguments.directory, arguments)
    except (StartError, SettingsError) as error:
        return failed(error)
    return run.main(arguments)


def store(directory: str | None, arguments: argparse.Namespace) -> str:
    """The URL of the cassettes. Raises `StartError` and `SettingsError`."""
    if directory is not None:
        if arguments.store:
            raise StartError("DIR and --store both say where the recordings are; write one of them")
        return f"{CASSETTES}{directory}"
    configured = str(gather(arguments, os.environ, Path.cwd())["ai_cache_store"].value)
    if arguments.store or configured.startswith(CASSETTES):
        return configured
    return f"{CASSETTES}{DIRECTORY}"
