"""SECURITY.md says what every way in gets, and names tests that exist."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from ways_in import ASKED_BY, KINDS, SECURITY, WAYS_IN, WHAT, Cell, cells, names

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_cell_has_one_expectation() -> None:
    assert set(cells()) == {Cell(*each) for each in product(WAYS_IN, ASKED_BY, KINDS, WHAT)}


def test_at_least_twelve_spellings_are_asked() -> None:
    assert set(names()) == set(KINDS)
    assert len({name for several in names().values() for name in several}) >= 12
    assert all(names().values())


def test_the_tests_it_names_exist() -> None:
    missing = {
        name for name in re.findall(r"`(tests/\S+\.py)`", SECURITY.read_text("utf-8")) if not (ROOT / name).is_file()
    }
    assert not missing
