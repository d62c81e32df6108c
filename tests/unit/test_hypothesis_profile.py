"""Each save tries a tenth of the examples that `.ci/run` tries, whatever count a test asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hypothesis_profile import examples

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def profile_of_this_run() -> Iterator[None]:
    name = settings.get_current_profile_name()
    yield
    settings.load_profile(name)


@pytest.mark.parametrize(("profile", "tried"), [("quick", {400: 40, 3: 1}), ("full", {400: 400, 3: 3})])
def test_a_count_of_its_own_follows_the_profile(profile: str, tried: dict[int, int]) -> None:
    settings.load_profile(profile)
    assert {count: examples(count) for count in tried} == tried


def test_no_test_has_a_count_that_the_profile_does_not_change() -> None:
    files = {
        path.relative_to(TESTS): path.read_text("utf-8")
        for path in TESTS.rglob("*.py")
        if path.name != "hypothesis_profile.py"
    }
    assert [str(name) for name, text in files.items() if re.search(r"max_examples=\d", text)] == []
