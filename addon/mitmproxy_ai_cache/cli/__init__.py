"""The command line. One file a command: `SUMMARY`, `add_arguments(parser)`, `main(arguments) -> exit code`."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from ..configuration.options import OPTIONS
from ..wire.safe_text import safe_name, scrubbed
from ..wire.spelling import did_you_mean
from .help import COMMANDS, GROUPS, examples

_MODULES = {"import": "import_"}
"""Commands that Python keeps the name of for itself."""


def _module(command: str) -> str:
    return _MODULES.get(command, command.replace("-", "_"))


_WRAPPERS = ("run", "record", "replay", "prune")
"""Commands that run another one."""


def _split(chosen: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Ours, and what stands behind `--`."""
    if chosen not in _WRAPPERS or "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


class _Parser(argparse.ArgumentParser):
    """Wrong usage is 125, like every failure before COMMAND starts: 2 might be COMMAND's own.

    Commands that run no other say with `FAILURE` what it is for them.
    """

    failure = 125
    command = ""
    commands: argparse._SubParsersAction[Any] | None = None
    """Set where they are to be listed."""

    def format_help(self) -> str:
        if not self.commands:
            return super().format_help() + examples(self.command)
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        listed = {action.dest: action for action in self.commands._choices_actions}
        for title, names in GROUPS.items():
            formatter.start_section(title)
            formatter.add_arguments(listed[name] for name in names)
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(action for action in self._actions if action is not self.commands)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help() + examples("")

    def error(self, message: str) -> NoReturn:
        message = scrubbed(_with_suggestion(message))
        if self.failure != 125:
            self.exit(self.failure, f"ai-cache: {message}; {self.prog} --help says more\n")
        self.exit(125, f"{self.format_usage()}{self.prog}: error: {message}\n")


def _with_suggestion(message: str) -> str:
    """argparse lists what there is; the nearest of it is said, too."""
    wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
    return message + did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else message


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    chosen = next((word for word in arguments if not word.startswith("-") or word == "--version"), "")
    if chosen and chosen not in (*COMMANDS, "--version"):
        return _no_such_command(chosen)
    parser = parser_for(chosen)
    if not arguments:
        parser.print_help(sys.stderr)
        return 125
    arguments, command = _split(chosen, arguments)
    parsed, unknown = parser.parse_known_args(arguments, argparse.Namespace(command=command))
    if unknown:
        parsed.parser.error(_unknown(unknown, list(parsed.parser._option_string_actions)))
    try:
        code: int = parsed.main(parsed)
        if chosen not in _WRAPPERS:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # somebody has read enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing is said at the end, either
        return 125 if chosen in _WRAPPERS else 0
    except (OSError, ValueError) as error:
        # A directory that is gone or not writable, a file that is none of ours: a line, not a traceback.
        print(f"ai-cache: {type(error).__name__}: {scrubbed(str(error))}", file=sys.stderr)
        return 125


def _no_such_command(word: str) -> int:
    print(
        f"ai-cache: there is no command {safe_name(word)}{did_you_mean(word, COMMANDS)}; ai-cache --help lists them",
        file=sys.stderr,
    )
    return 125


def _unknown(words: Sequence[str], options: Sequence[str]) -> str:
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if not option:
        return f"unrecognized arguments: {' '.join(words)}"
    setting = "ai_cache_" + option.strip("-").replace("-", "_")
    if setting in (each.name for each in OPTIONS):
        return f"there is no option {safe_name(option)}; write --set {setting}=VALUE"
    return f"there is no option {safe_name(option)}{did_you_mean(option, options)}"


def parser_for(chosen: str = "") -> argparse.ArgumentParser:
    """The parser that knows the chosen command, or without one all of them."""
    parser = _Parser(
        prog="ai-cache",
        description="A caching, recording and replaying proxy for LLM API traffic.",
        epilog="ai-cache COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"ai-cache {__version__}")
    subparsers = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    if not chosen:
        parser.commands = subparsers
    for name in COMMANDS:
        # Only the chosen command is imported in full: `ai-cache addon-path` need not load a proxy.
        module = importlib.import_module(f".{_module(name)}", __name__) if chosen in (name, "") else None
        summary = module.SUMMARY if module else None
        added = subparsers.add_parser(
            name, help=summary, description=summary and summary[0].upper() + summary[1:] + "."
        )
        added.command = name
        if module:
            module.add_arguments(added)
            added.set_defaults(main=module.main, parser=added)
            added.failure = getattr(module, "FAILURE", 125)
            parser.failure = added.failure if chosen else 125
    return parser


if __name__ == "__main__":
    sys.exit(main())
