"""`ai-cache options`: the reference of all options, made from the code."""

from __future__ import annotations

import argparse

from ..configuration.options import LIST, OPTIONS, Option

SUMMARY = "list every ai_cache_* option with its default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as the table of the README")


def main(arguments: argparse.Namespace) -> int:
    print(markdown() if arguments.markdown else "\n\n".join(_plain(option) for option in OPTIONS))
    return 0


def markdown() -> str:
    rows = ["| option | default | what it does |", "|---|---|---|"]
    for option in OPTIONS:
        text = option.help.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
        rows.append(f"| `{option.name}` | {_default(option)} | {text} |")
    return "\n".join(rows)


def _plain(option: Option) -> str:
    return f"{option.name}  ({_default(option) or 'unset'})\n    {option.help}"


def _default(option: Option) -> str:
    if option.type is LIST:
        return ", ".join(option.default)
    if option.type is bool:
        return str(option.default).lower()
    return str(option.default)
