"""What the configuration file of a directory may set without trust, and how it is trusted."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.cli import main, project, trusted
from mitmproxy_ai_cache.cli.project import Untrusted
from mitmproxy_ai_cache.cli.sources import collect, gather
from mitmproxy_ai_cache.configuration.options import LIST, OPTIONS
from mitmproxy_ai_cache.configuration.settings import SettingsError

SAFE = {
    "ttl", "live_ttl", "ignore", "normalize", "key_headers", "profiles", "namespace", "samples", "repeat",
    "skip_stop_reasons", "redact", "log_format",
}  # fmt: skip
NAMES = [option.name.removeprefix("ai_cache_") for option in OPTIONS]
UNSAFE = [name for name in NAMES if name not in SAFE]
STARTS = ("run", "serve", "record", "replay", "prune")
LOOKS = ("ls", "show", "grep", "stats", "export", "rm", "explain", "diff", "import", "doctor")

HOSTILE: dict[str, Any] = {
    "store": "redis://evil.example:6379",
    "mode": "refresh",
    "dashboard": "127.0.0.1:9",
    "hosts": ["*"],
    "allow_hosts": ["*"],
    "encryption_key": "00" * 32,
    "alias": ["*=evil"],
    "bypass_on": ["*=*"],
    "websocket": "pass",
    "fail_mode": "error",
}
"""Values for settings that take no text of any kind."""


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that is the current directory of a user who trusts nothing yet."""
    for name in [*os.environ]:
        if name.startswith("AI_CACHE_") or name == "CI":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def value_of(name: str) -> Any:
    if name in HOSTILE:
        return HOSTILE[name]
    option = next(option for option in OPTIONS if option.name == f"ai_cache_{name}")
    if option.type is LIST:
        return ["x=y"] if name in ("redact", "normalize") else []
    if option.type is bool:
        return not option.default
    return option.default or ("1" if option.type is str else 1)


def write(folder: Path, **settings: Any) -> Path:
    file = folder / "ai-cache.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return file


def found(folder: Path, name: str = "run", environ: dict[str, str] | None = None, **flags: Any) -> dict[str, Any]:
    values = gather(Namespace(name=name, **flags), environ or {}, folder)
    return {key.removeprefix("ai_cache_"): value.value for key, value in values.items()}


def line(folder: Path, name: str = "run", environ: dict[str, str] | None = None, **flags: Any) -> str:
    values, directory = collect(Namespace(name=name, **flags), environ or {}, folder)
    return project.first_line(directory, [key for key, one in values.items() if one.origin == str(directory.file)])


# The list


def test_the_settings_that_count_without_trust_are_these_and_a_new_option_is_not_among_them() -> None:
    assert project.SAFE == SAFE
    assert set(NAMES) > SAFE


@pytest.mark.parametrize("name", sorted(SAFE))
def test_a_safe_setting_counts_without_trust(repository: Path, name: str) -> None:
    value = value_of(name)
    write(repository, **{name: value})
    assert found(repository)[name] == (tuple(value) if isinstance(value, list) else value)
    assert line(repository) == f"settings from {repository / 'ai-cache.toml'}: {name}"


@pytest.mark.parametrize("command", [*STARTS, *LOOKS])
@pytest.mark.parametrize("name", UNSAFE)
def test_any_other_setting_stops_every_command(repository: Path, name: str, command: str) -> None:
    write(repository, ttl="1h", **{name: value_of(name)})
    with pytest.raises(Untrusted) as raised:
        found(repository, command)
    said = str(raised.value)
    assert f"need your trust: {name};" in said
    assert "ai-cache trust" in said
    assert "--ignore-project" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.thorough
def test_the_start_stops_before_anything_is_opened(
    repository: Path, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(repository, **{name: value_of(name)})
    for arguments in (["run", "--", "touch", "ran"], ["serve", "--port", "0"], ["serve", "--cassettes", "--port", "0"]):
        assert main(arguments) == 125
        assert f"need your trust: {name};" in capsys.readouterr().err
    assert main(["record", "--", "touch", "ran"]) == main(["replay", "--", "touch", "ran"]) == 125
    assert main(["rm", "--all"]) == main(["ls"]) == 2
    assert main(["export", "all.jsonl"]) == 2
    assert main(["prune", "--max-age", "1d"]) == 125
    assert [file.name for file in repository.iterdir()] == ["ai-cache.toml"]
    assert not (tmp_path / "home").exists(), "not even a certificate was made"


@pytest.mark.parametrize("name", UNSAFE)
def test_with_ignore_project_it_does_not_count_and_one_line_says_so(repository: Path, name: str) -> None:
    defaults = found(repository)
    write(repository, ttl="1h", **{name: value_of(name)})
    assert found(repository, ignore_project=True) == {**defaults, "ttl": "1h"}
    file = repository / "ai-cache.toml"
    assert line(repository, ignore_project=True) == (
        f"settings from {file}: ttl; ignored settings: {name} (--ignore-project)"
    )


def test_every_setting_at_once(repository: Path) -> None:
    defaults = found(repository)
    write(repository, **{name: value_of(name) for name in UNSAFE})
    assert found(repository, ignore_project=True) == defaults
    with pytest.raises(Untrusted) as raised:
        found(repository)
    assert all(name in str(raised.value) for name in UNSAFE)


@pytest.mark.parametrize("name", UNSAFE)
def test_with_trust_it_counts(repository: Path, name: str) -> None:
    write(repository, **{name: value_of(name)})
    assert main(["trust"]) == 0
    assert line(repository) == f"settings from {repository / 'ai-cache.toml'}, which you trust: {name}"


def test_options_of_mitmproxy_are_no_settings(repository: Path) -> None:
    write(repository, scripts=["evil.py"])
    with pytest.raises(SettingsError, match="there is no setting 'scripts'"):
        found(repository)
    assert "ignored settings" in line(repository, ignore_project=True)


def test_a_variable_or_flag_of_the_user_does_not_make_the_file_trusted(repository: Path) -> None:
    write(repository, mode="refresh")
    with pytest.raises(Untrusted):
        found(repository, mode="replay")
    with pytest.raises(Untrusted):
        found(repository, environ={"AI_CACHE_MODE": "replay"})


def test_what_a_file_calls_its_settings_cannot_write_to_the_terminal(repository: Path) -> None:
    (repository / "ai-cache.toml").write_text('"\\u001b[2J\\n\\u202e" = 1\n')
    for ignore in (False, True):
        try:
            said = line(repository, ignore_project=ignore)
        except SettingsError as error:
            said = str(error)
        assert said.isprintable()


# The store


INSIDE = ("cassettes:tapes", "cassettes:./a/../tapes", "sqlite:///.cache/x.db", "sqlite:///x.db", "cassettes:.")
OUTSIDE = (
    "sqlite:////etc/x.db",
    "sqlite:///../x.db",
    "sqlite:///a/../../x.db",
    "sqlite:///~/x.db",
    "sqlite:///out/x.db",
    "sqlite:///link.db",
    "sqlite:///walled.db",
    "sqlite:///.git/index",
    "sqlite:///sub/.GIT/config",
    "sqlite:///",
    "sqlite:///.",
    "sqlite:///pipe",
    "sqlite:///a\0b",
    "cassettes:..",
    "cassettes:out",
    "cassettes:out/deeper",
    "cassettes:loop",
    "cassettes:/tmp",
    "cassettes:~root",
    "cassettes:.git/hooks",
    "memory:",
    "redis://127.0.0.1",
    "rediss://evil.example",
    "redis+sentinel://evil.example/x",
    "redis+cluster://evil.example",
    "unix:///var/run/redis.sock",
    "SQLITE:///x.db",
    "file:x.db",
    "",
)


@pytest.fixture
def links(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repository / "out").symlink_to(tmp_path / "elsewhere")
    (repository / "link.db").symlink_to(tmp_path / "elsewhere" / "mine.db")
    (repository / "walled.db-wal").symlink_to(tmp_path / "elsewhere" / "mine.txt")
    (repository / "loop").symlink_to(repository / "loop")
    os.mkfifo(repository / "pipe")


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("store", INSIDE)
def test_a_store_inside_the_directory_counts_and_its_size(repository: Path, store: str) -> None:
    write(repository, store=store, max_size="1m")
    for command in ("record", "ls"):
        values = found(repository, command)
        assert str(repository) in values["store"]
        assert values["max_size"] == "1m"


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("store", OUTSIDE)
def test_a_store_anywhere_else_needs_trust_and_so_does_its_size(repository: Path, store: str) -> None:
    write(repository, store=store, max_size="1m")
    for command in (*STARTS, *LOOKS):
        with pytest.raises(Untrusted, match="need your trust: max_size, store;"):
            found(repository, command)
    defaults = found(repository, "ls", ignore_project=True)
    assert (defaults["store"], defaults["max_size"]) == ("", "1g")


@pytest.mark.parametrize("store", [1, True, ["sqlite:///x.db"], {"a": 1}])
def test_a_store_that_is_no_text_is_not_inside(repository: Path, store: Any) -> None:
    assert not project.is_inside(store, repository)


@given(st.lists(st.sampled_from(["..", ".", "a", "out", "b", "~", "/", ""]), max_size=8))
def test_no_path_outside_passes_for_one_inside(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "inside"
    (root / "a").mkdir(parents=True, exist_ok=True)
    if not (root / "out").is_symlink():
        (root / "out").symlink_to("..")
    path = "/".join(parts)
    if project.is_inside(f"cassettes:{path}", root):
        really = os.path.realpath(os.path.join(root, os.path.expanduser(path)))
        assert Path(really).is_relative_to(os.path.realpath(root))


def test_the_size_is_for_the_store_of_the_directory_alone(repository: Path) -> None:
    write(repository, store="sqlite:///x.db", max_size="1k")
    assert found(repository, "run", store="sqlite:////tmp/mine.db")["max_size"] == "1g"
    assert found(repository, "run", environ={"AI_CACHE_STORE": "memory:"})["max_size"] == "1g"
    assert found(repository, "run")["max_size"] == "1k"


@pytest.mark.parametrize("command", ["run", "serve"])
@pytest.mark.parametrize(("store", "mode"), [("cassettes:tapes", None), ("sqlite:///tapes/x.json", "replay")])
def test_recordings_do_not_answer_in_run_and_serve_without_trust(
    repository: Path, command: str, store: str, mode: str | None
) -> None:
    write(repository, store=store)
    assert found(repository, command, mode=mode)["store"], "nothing is there yet"
    (repository / "tapes").mkdir()
    (repository / "tapes" / "x.json").write_text("{}")
    with pytest.raises(Untrusted, match=f"do not answer in {command} without trust"):
        found(repository, command, mode=mode)
    assert found(repository, "replay", mode="replay")["store"]
    assert found(repository, "serve", mode="replay", cassettes=True)["store"], "the plugin"
    assert not found(repository, command, ignore_project=True)["store"]
    assert found(repository, command, mode=mode, trust="all")["store"]


@pytest.mark.parametrize("settings", [{"mode": "replay"}, {"store": "cassettes:tapes"}, {"store": "cassettes:/etc"}])
def test_where_a_replay_was_meant_ignoring_the_file_buys_nothing(repository: Path, settings: dict[str, str]) -> None:
    write(repository, **settings)
    for command in ("run", "serve"):
        assert found(repository, command, {"CI": "true"}, ignore_project=True)["mode"] == "replay"
        assert found(repository, command, {"CI": "true"}, ignore_project=True, mode="cache")["mode"] == "cache"


# The file


def test_trust_is_for_this_content_at_this_place(repository: Path, tmp_path: Path) -> None:
    file = write(repository, hosts=["a.example"])
    assert main(["trust"]) == 0
    assert found(repository)["hosts"] == ("a.example",)
    write(repository, hosts=["b.example"])
    with pytest.raises(Untrusted):
        found(repository)
    write(repository, hosts=["a.example"])
    assert found(repository)["hosts"] == ("a.example",)
    other = tmp_path / "other"
    other.mkdir()
    (other / "ai-cache.toml").write_bytes(file.read_bytes())
    with pytest.raises(Untrusted):
        found(other)
    assert main(["trust", "--forget"]) == 0
    with pytest.raises(Untrusted):
        found(repository)


def test_comments_and_the_rest_of_a_pyproject_do_not_end_trust_but_any_change_of_our_table_does(
    repository: Path,
) -> None:
    file = repository / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n[tool.ai-cache]\nhosts = ["a"]\nsamples = 1\n')
    assert main(["trust"]) == 0
    file.write_text('[tool.ai-cache]\n# sorted\nsamples = 1\nhosts = [\n  "a",\n]\n[project]\nname = "y"\n')
    assert found(repository)["hosts"] == ("a",)
    for change in ('hosts = ["b"]\nsamples = 1', 'hosts = ["a"]\nsamples = 2', 'hosts = ["a"]'):
        file.write_text(f"[tool.ai-cache]\n{change}\n")
        with pytest.raises(Untrusted):
            found(repository)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(TABLES, TABLES)
def test_tables_have_one_hash_only_where_they_say_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (project.digest(one) == project.digest(other)) == same
    assert project.digest(one) == project.digest(dict(reversed(one.items())))


def test_a_hash_for_ci_trusts_this_content_alone(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository, hosts=["a.example"])
    assert main(["trust", "--print"]) == 0
    printed = capsys.readouterr().out.strip()
    with pytest.raises(Untrusted):
        found(repository)
    for flags, environ in (({"trust": printed}, {}), ({}, {"AI_CACHE_TRUST": printed}), ({"trust": "all"}, {})):
        assert found(repository, environ=environ, **flags)["hosts"] == ("a.example",)
    assert found(repository, environ={"AI_CACHE_TRUST": f"{'0' * 64}, {printed.upper()}"})["hosts"] == ("a.example",)
    for wrong in (printed[:-1], "0" * 64, "ALL", "al", "*", "1", "true"):
        with pytest.raises(Untrusted, match="is for another content"):
            found(repository, environ={"AI_CACHE_TRUST": wrong})
    assert found(repository, trust="all", ignore_project=True)["hosts"] == (), "the flag that takes away wins"


def test_no_repository_can_bring_the_users_memory_along(repository: Path) -> None:
    """CI jobs with HOME at the checkout: what remembers trust would come out of git."""
    write(repository, hosts=["a.example"])
    assert main(["trust"]) == 0
    (note,) = trusted.directory().iterdir()
    content = note.read_bytes()
    note.unlink()
    note.write_bytes(content)
    with pytest.raises(Untrusted):
        found(repository)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_needs_trust_for_every_setting(repository: Path) -> None:
    file = write(repository, ttl="1h", store="sqlite:///x.db")
    os.chown(file, 12345, 12345)
    for command in (*STARTS, *LOOKS):
        with pytest.raises(Untrusted, match="belongs to another user; its settings need your trust: store, ttl;"):
            found(repository, command)
    assert found(repository, ignore_project=True)["ttl"] == "7d"
    assert main(["trust"]) == 0
    assert found(repository)["ttl"] == "1h"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_link_of_another_user_is_no_file_of_ours(repository: Path, tmp_path: Path) -> None:
    write(repository, ttl="1h").rename(repository / "real.toml")
    (repository / "ai-cache.toml").symlink_to("real.toml")
    assert found(repository)["ttl"] == "1h"
    os.lchown(repository / "ai-cache.toml", 12345, 12345)
    with pytest.raises(Untrusted, match="belongs to another user"):
        found(repository)


def test_a_link_that_leads_out_needs_trust_for_every_setting(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.toml").write_text('ttl = "1h"\n')
    (repository / "ai-cache.toml").symlink_to(tmp_path / "theirs.toml")
    with pytest.raises(Untrusted, match="leads out of its directory; its settings need your trust: ttl;"):
        found(repository)


def test_the_file_of_a_directory_above_needs_trust_as_well(repository: Path) -> None:
    write(repository, hosts=["a.example"])
    below = repository / "a" / "b"
    below.mkdir(parents=True)
    with pytest.raises(Untrusted, match=str(repository / "ai-cache.toml")):
        found(below)
    assert main(["trust", str(below)]) == 0
    assert found(below)["hosts"] == ("a.example",)


def test_no_file_makes_a_command_wait_or_run_out_of_memory(repository: Path) -> None:
    os.mkfifo(repository / "ai-cache.toml")
    assert found(repository)["ttl"] == "7d", "a pipe is passed over"
    (repository / "ai-cache.toml").unlink()
    (repository / "ai-cache.toml").symlink_to("/dev/zero")
    assert found(repository)["ttl"] == "7d"
    (repository / "ai-cache.toml").unlink()
    (repository / "ai-cache.toml").write_text("#" * (2 << 20))
    with pytest.raises(SettingsError, match="too large"):
        found(repository)
    (repository / "ai-cache.toml").write_text("hosts = " + "[" * 100_000)
    with pytest.raises(SettingsError, match="nested too deep"):
        found(repository)
    (repository / "ai-cache.toml").write_text(".".join(["a"] * 20_000) + " = 1\n")
    with pytest.raises(SettingsError, match="too large"):
        found(repository)
    assert main(["trust"]) == 125


# The commands


def test_trust_shows_what_is_trusted_and_no_secret(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository, store="redis://u:hunter2@cache.corp", secret="hunter3", hosts=["\x1b[2Ja"])
    assert main(["trust"]) == 0
    said = capsys.readouterr().err
    assert "cache.corp" in said
    assert "hunter" not in said
    assert "\x1b" not in said


def test_trust_without_a_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for how in ([], ["--print"]):
        assert main(["trust", *how]) == 125
        assert "no ai-cache.toml with settings" in capsys.readouterr().err


def test_config_shows_what_counts_and_names_the_rest(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository, ttl="1h", hosts=["a.example"])
    assert main(["config"]) == 0
    out, err = capsys.readouterr()
    assert "a.example" not in out
    assert "ignored settings of" in err
    assert "hosts (they need trust, run: ai-cache trust)" in err


def test_a_link_in_place_of_the_default_recordings_is_not_followed(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (repository / "cassettes").symlink_to(tmp_path / "mine")
    for arguments in (["record", "--", "true"], ["replay", "--", "true"], ["prune", "--max-age", "1d"], ["diff"]):
        assert main(arguments) == 125
        assert f"./cassettes is a link to {tmp_path / 'mine'}" in capsys.readouterr().err
