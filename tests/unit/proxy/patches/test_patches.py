"""Each patch knows what it relies on, and is off by itself where that is another."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.proxy.layers.http import HttpStream

from mitmproxy_ai_cache.proxy.patches import (
    PATCHES,
    arrival,
    complaints,
    connection_handling,
    fingerprints,
    informational,
    judged_connections,
    memory_origin,
    odd_answers,
    request_bodies,
    table,
    tuning,
)
from mitmproxy_ai_cache.proxy.patches.base import Doubt, Part, Patch
from mitmproxy_ai_cache.proxy.uploads import Uploads

pytestmark = pytest.mark.patches

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
PARTS = list(dict.fromkeys(part for patch in PATCHES for part in patch.relies_on))
INSTALLERS: dict[Patch, Callable[[], None]] = {
    table.ARRIVAL: arrival.install,
    table.JUDGED_CONNECTIONS: judged_connections.install,
    table.UPLOADS: lambda: request_bodies.install(Uploads()),
    table.INFORMATIONAL: informational.install,
    table.ODD_ANSWERS: odd_answers.install,
    table.UNREACHABLE: connection_handling.install,
    table.MEMORY_ORIGIN: memory_origin.install,
    table.WHOLE_ANSWERS: tuning.send_whole_answers,
    table.CHUNKS_TOGETHER: tuning.pass_on_together,
    table.TRUSTED_MESSAGES: tuning.trust_messages,
}
"""The others take the place of a function of one object: their own tests show them."""


def put(monkeypatch: pytest.MonkeyPatch, part: Part, new: Any) -> None:
    module, _, path = part.where.partition(":")
    owner, _, name = path.rpartition(".")
    monkeypatch.setattr(fingerprints.find(f"{module}:{owner}"), name, new)


def change(monkeypatch: pytest.MonkeyPatch, part: Part) -> None:
    """Let a newer mitmproxy have another function there."""

    def another(quite: object, different: object) -> None: ...

    another.__module__ = part.where.partition(":")[0]
    put(monkeypatch, part, another)


def count(where: str, patch: Patch) -> int:
    """How often `patch` is there."""
    found, times = fingerprints.find(where), 0
    while found is not None:
        times += getattr(found, "ai_cache_patch", "") == patch.name
        found = getattr(found, "__wrapped__", None)
    return times


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_the_mitmproxy_that_is_installed_is_known(patch: Patch) -> None:
    """Where this fails mitmproxy has changed. `scripts/patches` prints what is new; `notice` says what to look at."""
    assert patch.trouble() == "", patch.notice


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_only_the_patches_that_rely_on_a_changed_function_are_off(monkeypatch: pytest.MonkeyPatch, part: Part) -> None:
    change(monkeypatch, part)
    off = {patch.name for patch in PATCHES if not patch.is_known()}
    assert off == {patch.name for patch in PATCHES if part in patch.relies_on or _inherits(part, patch)}


def _inherits(part: Part, patch: Patch) -> bool:
    """Whether `patch` relies on the same function under the name of another class."""
    return any(fingerprints.find(each.where) is fingerprints.find(part.where) for each in patch.relies_on)


@pytest.mark.parametrize("patch", INSTALLERS, ids=lambda patch: patch.name)
def test_a_patch_is_laid_once(patch: Patch) -> None:
    for _ in range(2):
        INSTALLERS[patch]()
    assert [count(where, patch) for where in patch.replaces] == [1] * len(patch.replaces)
    assert patch.is_known(), "it still sees what is below it"


@pytest.mark.parametrize("patch", INSTALLERS, ids=lambda patch: patch.name)
def test_a_patch_lays_nothing_on_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch, patch: Patch) -> None:
    change(monkeypatch, patch.relies_on[-1])
    before = [fingerprints.find(where) for where in patch.replaces]
    INSTALLERS[patch]()
    assert [fingerprints.find(where) for where in patch.replaces] == before


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_fingerprint_is_of_the_whole_function(part: Part) -> None:
    """As Python's own tools find it, which take longer."""
    function = fingerprints.original(part.where)
    lines = [line for line in map(str.strip, inspect.getsource(function).splitlines()) if line and line[0] != "#"]
    assert fingerprints.source(function) == hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def test_without_source_only_a_shape_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a mitmproxy that is frozen into one file."""
    monkeypatch.setattr(fingerprints.linecache, "getlines", lambda *_: [])
    fingerprints.source.cache_clear()
    try:
        assert not table.UPLOADS.is_known()
        assert "has no source code of" in table.UPLOADS.complaint()
        assert "install mitmproxy with its source" in table.UPLOADS.complaint()
        assert Part(table.UNREACHABLE.replaces[0], ("(self, event) generator",)).trouble() == ""
    finally:
        fingerprints.source.cache_clear()


def test_a_part_that_is_gone_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpStream, "check_body_size")
    assert table.UPLOADS.trouble() == "has no HttpStream.check_body_size"


def test_a_script_that_names_what_it_wraps_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    original = HttpStream.send_response

    @functools.wraps(original)
    def send_response(self: Any, already_streamed: bool = False) -> Any:
        return original(self, already_streamed)

    monkeypatch.setattr(HttpStream, "send_response", send_response)
    assert table.UNREACHABLE.is_known()


def test_a_script_that_does_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpStream, "send_response", lambda self: None)
    assert f"replaced by another script ({__name__})" in table.UNREACHABLE.complaint()
    assert "run mitmproxy without that script" in table.UNREACHABLE.complaint()


def test_one_line_says_what_is_off_what_that_costs_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints() == []
    change(monkeypatch, table.UNREACHABLE.relies_on[1])
    (line,) = complaints()
    assert "has another HttpStream.send_response: the patch 'unreachable-provider' is off, so a provider" in line
    assert line.endswith("upgrade ai-cache, or pin mitmproxy<=12.3.1")


def test_what_only_tunes_is_not_missed_where_nobody_tunes(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, table.HOOK_TABLE.relies_on[0])
    assert complaints(tuned=False) == []
    assert len(complaints(tuned=True)) == 1


def test_a_patch_relies_on_what_it_replaces_of_mitmproxy() -> None:
    for patch in PATCHES:
        replaced = {where for where in patch.replaces if inspect.isfunction(fingerprints.find(where))}
        assert {where for where in replaced if where.startswith("mitmproxy")} <= {
            part.where for part in patch.relies_on
        }


def test_what_security_md_promises_is_kept_closed_in_doubt() -> None:
    security = (ROOT / "SECURITY.md").read_text("utf-8")
    for patch in PATCHES:
        assert patch.doubt is not Doubt.OFF or "SECURITY.md" not in patch.why, patch.name
    assert "docs/patches.md" in security


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "patches.md").read_text("utf-8")
    assert page.endswith(f"\n{table.markdown()}")
