"""Options: what they mean, what they default to, where they come from, and what is said about wrong ones."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mitmproxy_ai_cache.cli import config
from mitmproxy_ai_cache.cli.sources import Value, gather, nearest_file
from mitmproxy_ai_cache.configuration.options import MODES, OPTIONS, default_store
from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.wire import units

NAMES = {option.name for option in OPTIONS}


# Sizes and durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("0", 0),
        ("10k", 10 * 1024),
        ("10m", 10 << 20),
        ("10M", 10 << 20),
        ("10MB", 10 << 20),
        ("10 MiB", 10 << 20),
        ("1.5g", 3 << 29),
        ("1GiB", 1 << 30),
        ("2t", 2 << 40),
        (" 7b ", 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert units.size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("0", 0),
        ("250ms", 0.25),
        ("1s", 1),
        ("1.5h", 5400),
        ("30m", 1800),
        ("12H", 43200),
        ("7d", 604800),
        ("2 w", 1209600),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert units.duration(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1,5m", "ten", "1x", "1 m m", "1e3", ".5", "inf", "nan", "0x10", "9" * 400]
)
@pytest.mark.parametrize("parse", [units.size, units.duration])
def test_what_is_no_size_or_duration_is_refused(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (0.0314, "31 ms"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (604800, "7 d")]
)
def test_durations_are_shown_short(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


# Settings


def test_every_default_is_what_the_design_promises() -> None:
    settings = Settings.parse({})
    assert settings.store == default_store()
    assert settings.mode == "cache"
    assert settings.ttl == 7 * 86400
    assert settings.max_size == 1 << 30
    assert settings.max_body == 10 << 20
    assert settings.lookup_timeout == 0.25
    assert settings.samples == 1
    assert settings.isolate is None
    assert settings.headers is True
    assert settings.eager is False
    assert {profile.name for profile in settings.key_rules.profiles} >= {"claude-code@1", "codex@1"}


def test_the_defaults_of_the_options_and_of_the_settings_agree() -> None:
    parsed, plain = Settings.parse({}), Settings()
    differing = {name for name in Settings.__dataclass_fields__ if getattr(parsed, name) != getattr(plain, name)}
    assert differing <= {"store", "key_rules"}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_our_prefix_a_fitting_default_and_a_help(option: Any) -> None:
    assert option.name.startswith("ai_cache_")
    assert isinstance(option.default, tuple if option.type not in (str, int, bool) else option.type)
    assert option.help.endswith((".", ")"))
    assert option.choices is None or option.default in option.choices


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("store", "memory:", "store", "memory:"),
        ("store", "sqlite:////abs/x.db", "store", "sqlite:////abs/x.db"),
        ("ttl", "0", "ttl", 0),
        ("live_ttl", "5m", "live_ttl", 300),
        ("max_size", "2g", "max_size", 2 << 30),
        ("max_body", "1k", "max_body", 1024),
        ("hosts", ["*.llm.example.com"], "hosts", ("*.llm.example.com",)),
        ("bypass_on", ["X-No-Cache = 1", "debug=*", "a=b=c"], "bypass_on",
         (("x-no-cache", "1"), ("debug", "*"), ("a", "b=c"))),
        ("isolate", "none", "isolate", Isolation("none")),
        ("isolate", "header:X-Team", "isolate", Isolation("header", "x-team")),
        ("skip_stop_reasons", ["LENGTH"], "skip_stop_reasons", frozenset({"length"})),
        ("samples", 5, "samples", 5),
    ],
)  # fmt: skip
def test_an_option_means_what_its_help_says(name: str, value: Any, attribute: str, expected: Any) -> None:
    assert getattr(Settings.parse({f"ai_cache_{name}": value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", "redis"),
        ("store", "sqlite:///"),
        ("store", "sqlite://x"),
        ("store", "/tmp/x.db"),
        ("mode", "on"),
        ("mode", "Cache"),
        ("ttl", "soon"),
        ("ttl", ""),
        ("live_ttl", "-1h"),
        ("max_size", "big"),
        ("max_body", "10 parsecs"),
        ("lookup_timeout", "fast"),
        ("fail_mode", "crash"),
        ("bypass_on", ["x-no-cache"]),
        ("bypass_on", ["=1"]),
        ("isolate", "user"),
        ("isolate", "header:"),
        ("isolate", "header:x y"),
        ("isolate", "none:x"),
        ("isolate", ""),
        ("samples", 0),
        ("samples", 1001),
        ("ignore", ["messages[x]"]),
        ("ignore", ["a..b"]),
        ("ignore", [""]),
        ("normalize", ["no separator"]),
        ("normalize", ["(=x"]),
        ("normalize", ["a=\\1"]),
        ("alias", ["host"]),
        ("alias", ["=x"]),
        ("profiles", ["claude-code@99"]),
        ("websocket", "maybe"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_option_and_the_mend(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.parse({f"ai_cache_{name}": value})
    message = str(raised.value)
    assert f"ai_cache_{name}" in message
    assert "write" in message
    assert "\n" not in message


def test_a_replay_gives_the_store_more_time() -> None:
    assert Settings.parse({"ai_cache_mode": "replay"}).lookup_timeout == 10
    longer = {"ai_cache_mode": "replay", "ai_cache_lookup_timeout": "30s"}
    assert Settings.parse(longer).lookup_timeout == 30


@pytest.mark.parametrize(
    ("mode", "looks_up", "stores", "everything"),
    [
        ("cache", True, True, False),
        ("read-only", True, False, False),
        ("record", True, True, True),
        ("refresh", False, True, False),
        ("replay", True, False, True),
        ("off", False, False, False),
    ],
)
def test_a_mode_says_what_is_looked_up_and_stored(mode: str, looks_up: bool, stores: bool, everything: bool) -> None:
    settings = Settings.parse({"ai_cache_mode": mode})
    assert (settings.looks_up, settings.stores, settings.everything) == (looks_up, stores, everything)


def test_every_mode_is_in_the_table_above() -> None:
    assert set(MODES) == {"auto", "cache", "read-only", "record", "refresh", "replay", "off"}


def test_a_secret_is_never_shown() -> None:
    assert "hunter2" not in repr(Settings.parse({"ai_cache_secret": "hunter2"}))


# Where they come from


def gathered(
    start: Path, environ: Mapping[str, str] | None = None, assignments: list[str] | None = None, **flags: Any
) -> dict[str, Value]:
    return gather(Namespace(set=assignments or [], trust="all", **flags), environ or {}, start)


def test_without_anything_every_option_has_its_default(tmp_path: Path) -> None:
    found = gathered(tmp_path)
    assert found == {option.name: Value(option.default, "default") for option in OPTIONS}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "ai-cache.toml"
    file.write_text('mode = "record"\nttl = "1h"\nmax_body = "1m"\nnamespace = "file"\n')
    environ = {"AI_CACHE_MODE": "refresh", "AI_CACHE_TTL": "2h", "AI_CACHE_NAMESPACE": "environment"}
    found = gathered(tmp_path, environ, ["ai_cache_namespace=set"], mode="replay", store=None, hosts=None)
    assert found["ai_cache_mode"] == Value("replay", "--mode")
    assert found["ai_cache_namespace"] == Value("set", "--set")
    assert found["ai_cache_ttl"] == Value("2h", "environment AI_CACHE_TTL")
    assert found["ai_cache_max_body"] == Value("1m", str(file))
    assert found["ai_cache_samples"] == Value(1, "default")


def test_the_nearest_file_upwards_counts_alone(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "ai-cache.toml").write_text('mode = "record"\nttl = "1h"\n')
    (tmp_path / "a" / "ai-cache.toml").write_text('mode = "replay"\n')
    found = gathered(deep)
    assert found["ai_cache_mode"] == Value("replay", str(tmp_path / "a" / "ai-cache.toml"))
    assert found["ai_cache_ttl"].origin == "default"


def test_a_table_in_pyproject_works_too(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ai-cache]\nmode = "replay"\nhosts = ["*.example.com"]\n')
    found = gathered(tmp_path)
    assert found["ai_cache_mode"] == Value("replay", str(tmp_path / "pyproject.toml"))
    assert found["ai_cache_hosts"].value == ("*.example.com",)


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path) -> None:
    below = tmp_path / "package"
    below.mkdir()
    (below / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.ruff]\n')
    (tmp_path / "ai-cache.toml").write_text('mode = "replay"\n')
    assert nearest_file(below)[0] == tmp_path / "ai-cache.toml"


def test_our_own_file_goes_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "ai-cache.toml").write_text('mode = "record"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.ai-cache]\nmode = "replay"\n')
    assert gathered(tmp_path)["ai_cache_mode"].value == "record"


def test_a_store_in_a_file_is_relative_to_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.setenv("HOME", "/home/ada")
    for written, meant in (
        ("sqlite:///cache/x.db", tmp_path / "cache" / "x.db"),
        ("sqlite:////abs/x.db", Path("/abs/x.db")),
        ("sqlite:///~/x.db", Path("/home/ada/x.db")),
    ):
        (tmp_path / "ai-cache.toml").write_text(f'store = "{written}"\n')
        assert gathered(below)["ai_cache_store"].value == f"sqlite:///{meant}"
    (tmp_path / "ai-cache.toml").write_text('store = "memory:"\n')
    assert gathered(below)["ai_cache_store"].value == "memory:"


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("headers = false", "headers", False),
        ("samples = 3", "samples", 3),
        ("ttl = 90", "ttl", "90"),
        ("lookup_timeout = 0.5", "lookup_timeout", "0.5"),
        ('ignore = ["a", "b"]', "ignore", ("a", "b")),
    ],
)
def test_a_file_holds_values_of_their_type(tmp_path: Path, line: str, name: str, value: Any) -> None:
    (tmp_path / "ai-cache.toml").write_text(line)
    assert gathered(tmp_path)[f"ai_cache_{name}"].value == value


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("samples = '3'", "samples"),
        ("samples = true", "samples"),
        ("samples = 1.5", "samples"),
        ("headers = 'no'", "headers"),
        ("headers = 0", "headers"),
        ("mode = true", "mode"),
        ("mode = ['cache']", "mode"),
        ("hosts = 'a'", "hosts"),
        ("hosts = [1]", "hosts"),
        ("moode = 'cache'", "moode"),
        ("ai_cache_mode = 'cache'", "ai_cache_mode"),
        ("mode = ", ""),
        ("\xff", ""),
    ],
)
def test_a_wrong_line_in_a_file_is_one_line_that_names_file_and_setting(
    tmp_path: Path, content: str, named: str
) -> None:
    file = tmp_path / "ai-cache.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError) as raised:
        gathered(tmp_path)
    message = str(raised.value)
    assert str(file) in message
    assert named in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("headers", "false", False),
        ("headers", "0", False),
        ("headers", "No", False),
        ("eager", "TRUE", True),
        ("eager", "1", True),
        ("eager", "on", True),
        ("samples", "3", 3),
        ("hosts", "a.com; b.com\n c.com ;", ("a.com", "b.com", "c.com")),
    ],
)
def test_a_variable_is_read_as_its_type(tmp_path: Path, name: str, text: str, value: Any) -> None:
    found = gathered(tmp_path, {f"AI_CACHE_{name.upper()}": text})
    assert found[f"ai_cache_{name}"] == Value(value, f"environment AI_CACHE_{name.upper()}")


@pytest.mark.parametrize("name", ["hosts", "namespace", "headers", "samples"])
def test_an_empty_variable_is_an_unset_one(tmp_path: Path, name: str) -> None:
    assert gathered(tmp_path, {f"AI_CACHE_{name.upper()}": ""})[f"ai_cache_{name}"].origin == "default"


@pytest.mark.parametrize(("name", "text"), [("headers", "maybe"), ("samples", "many")])
def test_a_wrong_variable_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"ai_cache_{name}"):
        gathered(tmp_path, {f"AI_CACHE_{name.upper()}": text})
    with pytest.raises(SettingsError, match=f"ai_cache_{name}"):
        gathered(tmp_path, assignments=[f"ai_cache_{name}={text}"])


@pytest.mark.parametrize(
    ("assignments", "name", "value"),
    [
        (["ai_cache_hosts=a", "ai_cache_hosts=b"], "hosts", ("a", "b")),
        (["ai_cache_bypass_on=x=1"], "bypass_on", ("x=1",)),
        (["ai_cache_normalize=a;b=c"], "normalize", ("a;b=c",)),
        (["ai_cache_eager"], "eager", True),
        (["ai_cache_eager=false"], "eager", False),
        (["ai_cache_ttl=1h", "ai_cache_ttl=2h"], "ttl", "2h"),
    ],
)
def test_set_works_as_in_mitmproxy(tmp_path: Path, assignments: list[str], name: str, value: Any) -> None:
    assert gathered(tmp_path, assignments=assignments)[f"ai_cache_{name}"] == Value(value, "--set")


def test_settings_of_mitmproxy_itself_are_left_to_it(tmp_path: Path) -> None:
    assert gathered(tmp_path, assignments=["ssl_insecure=true", "showhost"]).keys() == NAMES


def test_hosts_of_flags_are_a_list(tmp_path: Path) -> None:
    assert gathered(tmp_path, hosts=["a", "b"])["ai_cache_hosts"] == Value(("a", "b"), "--hosts")


@pytest.mark.parametrize(("name", "hint"), [("ai_cache_mod", "ai_cache_mode"), ("ai_cache_unheard_of", "")])
def test_an_option_of_ours_that_there_is_not_is_refused(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        gathered(tmp_path, assignments=[f"{name}=x"])
    assert name in str(raised.value)
    assert hint in str(raised.value)


def printed(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch, **environ: str
) -> tuple[int, dict[str, str], str]:
    """What `ai-cache config` says in `folder`: its exit code, its lines by option, its errors."""
    monkeypatch.chdir(folder)
    for name in NAMES:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code = config.main(Namespace(set=[]))
    out, err = capsys.readouterr()
    return code, {line.split()[0]: line for line in out.splitlines()}, err


def test_config_prints_every_setting_with_its_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ai-cache.toml").write_text('ttl = "1h"\n')
    code, lines, _ = printed(capsys, tmp_path, monkeypatch, AI_CACHE_MODE="record")
    assert code == 0
    assert lines.keys() == NAMES
    assert lines["ai_cache_ttl"].split()[1:] == ["1h", str(tmp_path / "ai-cache.toml")]
    assert lines["ai_cache_mode"].split()[1:] == ["record", "environment", "AI_CACHE_MODE"]
    assert default_store() in lines["ai_cache_store"]


def test_config_never_prints_the_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lines, _ = printed(capsys, tmp_path, monkeypatch, AI_CACHE_SECRET="hunter2")
    assert "hunter2" not in "".join(lines.values())
    assert "(set)" in lines["ai_cache_secret"]


def test_config_with_a_wrong_setting_says_so_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, lines, errors = printed(capsys, tmp_path, monkeypatch, AI_CACHE_TTL="soon")
    assert code == 125
    assert not lines
    assert "ai_cache_ttl" in errors
