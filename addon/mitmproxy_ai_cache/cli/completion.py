"""`ai-cache completion SHELL`: the script that completes commands and options."""

from __future__ import annotations

import argparse

SUMMARY = "print a script that completes commands and options in bash, zsh or fish"
FAILURE = 2

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = 'In ~/.bashrc: eval "$(ai-cache completion bash)". README.md has the lines for zsh and fish.'


def main(arguments: argparse.Namespace) -> int:
    import shtab

    from . import parser_for

    print(shtab.complete(parser_for(), shell=arguments.shell))
    return 0
