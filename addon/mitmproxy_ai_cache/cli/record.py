"""`ai-cache record [DIR] -- COMMAND`: `run` with cassettes, which keeps what is not recorded yet."""

from __future__ import annotations

import argparse

from . import cassettes, run

SUMMARY = "run a command and record its AI calls as files for git"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run.add_arguments(parser, mode=False)
    cassettes.add_directory(parser, "record")
    parser.add_argument("--refresh", action="store_true", help="buy every answer again, also those that are recorded")
    parser.add_argument(
        "--keep-retries",
        action="store_true",
        help="also keep a 429 or 5xx that was followed by another answer",
    )


def main(arguments: argparse.Namespace) -> int:
    arguments.mode = "refresh" if arguments.refresh else "record"
    if arguments.keep_retries:
        arguments.set.append("ai_cache_keep_retries=true")
    return cassettes.main(arguments)
