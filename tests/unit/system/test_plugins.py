"""What other distributions bring is loaded once; what cannot be used is left out and named."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mitmproxy_ai_cache.system import plugins
from plugged import installed, on_path

GROUP = "ai_cache.test"


@dataclass(frozen=True)
class Row:
    name: str


def load(*taken: str) -> list[str]:
    """The names of the rows that were loaded."""
    return [each.value.name for each in plugins.load(GROUP, Row, lambda row: row.name, taken=taken)]


ROWS = f"""
from {__name__} import Row

ONE = Row("one")
TWO = [Row("two"), Row("three")]

def made():
    return Row("made")

class Own(Row):
    def __init__(self):
        super().__init__("own")
"""


@pytest.mark.parametrize(
    ("names", "found"),
    [("ONE", ["one"]), ("TWO", ["two", "three"]), ("made", ["made"]), ("Own", ["own"])],
)
def test_a_value_a_list_a_function_and_a_class_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, found: list[str]
) -> None:
    module = f"acme_{names.lower()}"
    installed(tmp_path, "acme-rows", GROUP, {"rows": f"{module}:{names}"}, **{module: ROWS})
    on_path(monkeypatch, tmp_path)
    assert load() == found


def test_a_plugin_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"from {__name__} import Row\ncalls = []\ndef made():\n    calls.append(1)\n    return Row('a')\n"
    installed(tmp_path, "acme-rows", GROUP, {"rows": "acme_once:made"}, acme_once=source)
    on_path(monkeypatch, tmp_path)
    load(), load()
    assert sys.modules["acme_once"].calls == [1]


def test_a_plugin_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "acme-rows", GROUP, {"rows": "acme_whose:ONE"}, "3.1", acme_whose=ROWS)
    on_path(monkeypatch, tmp_path)
    (found,) = plugins.load(GROUP, Row, lambda row: row.name)
    assert (found.distribution, found.version) == ("acme-rows", "3.1")


BROKEN = {
    "no_module": ("acme_not_there:ROW", "ModuleNotFoundError: No module named 'acme_not_there'"),
    "no_name": ("acme_bad:NOT_THERE", "AttributeError: module 'acme_bad' has no attribute 'NOT_THERE'"),
    "wrong_type": ("acme_bad:TEXT", "it must give a test_plugins.Row and gave a str"),
    "one_of_many": ("acme_bad:MANY", "it must give a test_plugins.Row and gave a int"),
    "raises": ("acme_bad:raises", "ValueError: no licence"),
    "exits": ("acme_bad:exits", "SystemExit: 3"),
    "ours": ("acme_bad:OURS", "the name ours is one of ai-cache's own"),
}
BAD = f"""
import sys
from {__name__} import Row

TEXT = "a text"
MANY = [Row("first of many"), 7]
OURS = Row("ours")

def raises():
    raise ValueError("no licence")

def exits():
    sys.exit(3)
"""


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_used_is_left_out_and_named_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    names, why = BROKEN[kind]
    installed(tmp_path, "acme-bad", GROUP, {kind: names}, acme_bad=BAD)
    installed(tmp_path, "good-rows", GROUP, {"rows": f"good_{kind}:ONE"}, **{f"good_{kind}": ROWS})
    on_path(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING, "ai-cache"):
        assert load("ours") == ["one"]
    (line,) = caplog.messages
    assert line == (
        f"ai-cache: the plug-in acme-bad 1.2 is left out (entry point {kind} of {GROUP}): {why}; "
        "update it, or pip uninstall acme-bad"
    )


def test_of_two_plugins_with_one_name_the_first_distribution_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(tmp_path, "beta-rows", GROUP, {"rows": "rows_of_two:ONE"}, "2.0")
    installed(tmp_path, "alpha-rows", GROUP, {"rows": "rows_of_two:ONE"}, "1.0", rows_of_two=ROWS)
    on_path(monkeypatch, tmp_path)
    assert [each.distribution for each in plugins.load(GROUP, Row, lambda row: row.name)] == ["alpha-rows"]
    assert "beta-rows 2.0 is left out" in caplog.text
    assert "the name one is taken by alpha-rows" in caplog.text


def test_a_message_of_a_plugin_cannot_write_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(tmp_path, "acme-bad", GROUP, {"rows": "acme_escapes:ROW"}, acme_escapes="raise ValueError('\\x1b[2J\\n')")
    on_path(monkeypatch, tmp_path)
    assert load() == []
    assert "ValueError: ?[2J?" in caplog.text


def test_without_plugins_importlib_metadata_is_not_imported() -> None:
    code = (
        "import sys; from mitmproxy_ai_cache.system import plugins; plugins.load('ai_cache.test', str, str); "
        "sys.exit('importlib.metadata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
