"""What `record` and `replay` have in common: the directory they name."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..configuration.settings import SettingsError
from ..explain.shown import printable
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
    found = gather(arguments, os.environ, Path.cwd())["ai_cache_store"]
    configured = str(found.value)
    if arguments.store or configured.startswith(CASSETTES):
        arguments.store_origin = found.origin
        return configured
    return default_store()


def default_store() -> str:
    """Where nothing else is said. Raises `SettingsError` for a link that leads elsewhere: a repository may bring it."""
    leads_to = Path(DIRECTORY).resolve()
    if not leads_to.is_relative_to(Path.cwd().resolve()):
        raise SettingsError(f"./{DIRECTORY} is a link to {printable(str(leads_to))}; to use that, write it as DIR")
    return f"{CASSETTES}{DIRECTORY}"
