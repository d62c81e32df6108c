"""The parts of the pytest plugin that need no proxy."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest

import pytest_ai_cache
from pytest_ai_cache.plugin import _default_mode, elsewhere
from pytest_ai_cache.proxy import Control, ProxyError, command, split_password
from pytest_ai_cache.scope import Wish, explanation, shown_store, summary, wish
from pytest_ai_cache.session import AICache, Environment

NODE = "tests/test_a.py::test_x[1]"


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        ((), {}, Wish(NODE)),
        (("shared",), {}, Wish("shared", shared=True)),
        ((), {"mode": "off"}, Wish("", off=True)),
    ],
)
def test_the_scope_of_a_test_is_its_node_id_unless_a_marker_says_otherwise(
    arguments: tuple[Any, ...], keywords: dict[str, Any], expected: Wish
) -> None:
    assert wish(NODE, arguments, keywords) == expected


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("a", "b"), {}), ((1,), {}), (("",), {}), ((" a",), {}), (("a\n",), {}), ((), {"mode": "replay"}),
        ((), {"scope": "a"}), (("a",), {"mode": "off"}),
    ],
)  # fmt: skip
def test_a_wrong_marker_is_told_what_to_write(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"write @pytest\.mark\.ai_cache\(.scope"):
        wish(NODE, arguments, keywords)


def test_long_and_unprintable_node_ids_are_scopes_of_their_own() -> None:
    names = [wish(f"test[{'x' * 5000}{number}]", (), {}).namespace for number in range(2)]
    assert names[0] != names[1]
    assert max(map(len, names)) <= 1000
    assert wish("test[\u2028\n]", (), {}).namespace.isprintable()


def test_an_explanation_tells_only_of_what_is_new() -> None:
    misses = [{"call": f"call {number}", "explanation": [f"why {number}"]} for number in range(3)]
    text = explanation({"missed": 5, "misses": misses}, 1, NODE)
    assert text.splitlines() == [
        f'ai-cache: 4 calls have no recorded answer; record with: pytest --ai-cache=record "{NODE}"',
        "",
        "call 1",
        "  why 1",
        "",
        "call 2",
        "  why 2",
        "",
        "and 2 more",
    ]


def test_the_summary_counts_what_happened_since_the_start() -> None:
    before = {"statuses": {"HIT": 2, "BYPASS": 1}, "stored": 1}
    after = {"statuses": {"HIT": 14, "BYPASS": 1, "REFRESH": 2}, "stored": 3}
    shown = shown_store("cassettes:tests/recordings")
    assert summary(before, after, shown) == (
        "ai-cache: 12 HIT, 0 MISS, 2 REFRESH, 2 stored, cassettes at tests/recordings"
    )


@pytest.mark.parametrize(
    ("ci", "mode"), [("true", "replay"), ("1", "replay"), ("", "record"), ("false", "record"), ("0", "record")]
)
def test_ci_replays(ci: str, mode: str) -> None:
    assert _default_mode({"CI": ci}) == mode
    assert _default_mode({}) == "record"


def test_what_names_the_proxy_around_names_our_listener() -> None:
    around, own = "http://127.0.0.1:8484", "http://127.0.0.1:5000"
    java = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8484 -Dx=84841"
    environ = {"HTTPS_PROXY": around, "AI_CACHE_URL": around, "OTHER": "x", "JAVA_TOOL_OPTIONS": java}
    assert elsewhere(environ, around, own) == {
        "HTTPS_PROXY": own,
        "JAVA_TOOL_OPTIONS": java.replace("proxyPort=8484", "proxyPort=5000"),
    }


def test_variables_are_restored_also_those_that_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "before")
    monkeypatch.delenv("B_VARIABLE", raising=False)
    environment = Environment({"A_VARIABLE": "now", "B_VARIABLE": "now"})
    for _ in range(2):
        environment.set()
        environment.set()
        assert (os.environ["A_VARIABLE"], os.environ["B_VARIABLE"]) == ("now", "now")
        environment.restore()
        assert (os.environ["A_VARIABLE"], "B_VARIABLE" in os.environ) == ("before", False)


def test_without_a_proxy_the_fixture_leaves_addresses_alone() -> None:
    off = AICache()
    assert (off.url, off.mode, off.counters["calls"]) == ("", "off", 0)
    assert off.base_url("https://api.openai.com/v1") == "https://api.openai.com/v1"
    assert AICache("record", "http://127.0.0.1:1").base_url("https://h/v1") == "http://127.0.0.1:1/https://h/v1"


def test_the_command_may_be_named_with_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_CACHE_COMMAND", "uvx --from mitmproxy-ai-cache ai-cache")
    assert command() == ["uvx", "--from", "mitmproxy-ai-cache", "ai-cache"]


def test_who_has_no_proxy_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_CACHE_COMMAND", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProxyError, match="uv tool install mitmproxy-ai-cache"):
        command()


def test_a_proxy_that_does_not_answer_is_named() -> None:
    with pytest.raises(ProxyError, match=r"no ai-cache answers at http://127\.0\.0\.1:9 "):
        Control("http://127.0.0.1:9").status()


def test_the_plugin_is_python_3_9() -> None:
    folder = Path(pytest_ai_cache.__file__).parent
    for file in folder.glob("*.py"):
        ast.parse(file.read_text("utf-8"), feature_version=(3, 9))


def test_the_password_of_a_url_is_told_to_the_proxy_and_shown_nowhere() -> None:
    assert split_password("http://:p%40ss:w@h:8484") == ("http://h:8484", "p@ss:w")
    assert split_password("http://me@h:1") == ("http://h:1", "")
    assert split_password("http://h:1") == ("http://h:1", "")
    assert split_password("h:1") == ("h:1", "")
    with pytest.raises(ProxyError) as refused:
        Control("http://:secret@127.0.0.1:9").status()
    assert "secret" not in str(refused.value)
