"""`--help`: the commands in groups, and examples that can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

import mitmproxy_ai_cache.cli as cli
from mitmproxy_ai_cache.cli import COMMANDS, main, parser_for
from mitmproxy_ai_cache.cli.help import EXAMPLES, GROUPS

LINES = [line for lines in EXAMPLES.values() for line in lines]


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_each_command_has_a_file_a_group_and_examples() -> None:
    files = Path(cli.__file__).parent.rglob("*.py")
    with_summary = {file for file in files if re.search(r"^SUMMARY = ", file.read_text("utf-8"), re.MULTILINE)}
    assert len(with_summary) == len(COMMANDS) == len(set(COMMANDS))
    assert set(EXAMPLES) == {"", *COMMANDS}


def test_the_help_lists_the_commands_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(["--help"], capsys)
    places = [text.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    assert re.findall(r"^  ([a-z][a-z-]*) ", text.partition("options:")[0], re.MULTILINE) == list(COMMANDS)
    assert text.endswith("\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[""]), ""]))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown([command, "--help"], capsys).endswith("\n  ".join(["\nexamples:", *EXAMPLES[command]]) + "\n")


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_a_line_that_the_parser_takes(line: str) -> None:
    found = re.search(r"ai-cache ([^()>]*)", line)
    assert found
    words = shlex.split(found[1])
    before = words[: words.index("--")] if "--" in words else words
    parsed = parser_for(words[0]).parse_args(before, argparse.Namespace(command=[]))
    assert parsed.name == words[0]
