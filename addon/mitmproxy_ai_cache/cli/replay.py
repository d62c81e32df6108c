"""`ai-cache replay [DIR] -- COMMAND`: `run` with cassettes, strictly offline."""

from __future__ import annotations

import argparse

from . import cassettes, run

SUMMARY = "run a command with recorded answers, offline and without keys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run.add_arguments(parser, mode=False)
    cassettes.add_directory(parser, "replay")


def main(arguments: argparse.Namespace) -> int:
    arguments.mode = "replay"
    return cassettes.main(arguments)
