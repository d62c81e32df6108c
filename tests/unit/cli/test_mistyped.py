"""Typing errors are answered with the name that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmproxy_ai_cache.cli import COMMANDS, main
from mitmproxy_ai_cache.cli.sources import mistyped


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def code_of(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu", "--", "pytest"], "there is no command rnu; did you mean run?"),
        (["nonsense"], "there is no command nonsense; ai-cache --help lists them"),
        (["run", "--moed", "replay", "--", "pytest"], "there is no option --moed; did you mean --mode?"),
        (["run", "--stroe=memory:", "--", "pytest"], "there is no option --stroe; did you mean --store?"),
        (["ls", "--jsno"], "there is no option --jsno; did you mean --json?"),
        (["run", "--mode", "cahce", "--", "pytest"], "; did you mean cache?"),
        (["config", "--set", "ttl=1h"], "there is no option ttl; did you mean ai_cache_ttl?"),
        (["config", "--set", "ai_cache_tll=1h"], "there is no option ai_cache_tll; did you mean ai_cache_ttl?"),
        (["env", "more"], "unrecognized arguments: more"),
    ],
)
def test_a_typing_error_gets_a_suggestion(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*arguments) != 0
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tll", "ai_cache_ttl"])
def test_a_setting_in_a_file_gets_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ai-cache.toml").write_text(f'{name} = "1h"\n')
    assert code_of("config") == 125
    assert f"there is no setting '{name}'; did you mean ttl?" in capsys.readouterr().err


def test_what_looks_like_a_password_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("https://user:S3cret@host") == 125
    assert "S3cret" not in capsys.readouterr().err


def test_a_variable_that_nobody_reads_is_warned_of() -> None:
    environ = {"AI_CACHE_TLL": "1h", "AI_CACHE_TTL": "1h", "AI_CACHE_PORT": "1", "AI_CACHE_TEST_STORE": "x", "TTL": "1"}
    assert mistyped(environ) == ["the variable AI_CACHE_TLL does nothing; did you mean AI_CACHE_TTL?"]


def test_the_warning_is_a_line_of_config(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AI_CACHE_MOED", "replay")
    assert code_of("config") == 0
    assert "ai-cache: the variable AI_CACHE_MOED does nothing; did you mean AI_CACHE_MODE?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_taken_for_a_mistyped_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(command, "--help") == 0
    assert not capsys.readouterr().err


def test_a_setting_that_is_no_option_of_the_command_says_how_it_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--ttl", "1h", "--", "true"])
    assert "there is no option --ttl; write --set ai_cache_ttl=VALUE" in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 125
    assert "ai-cache run" in capsys.readouterr().err
