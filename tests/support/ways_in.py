"""The tables of SECURITY.md as data: what each way in gets. There is no other copy that could disagree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

SECURITY = Path(__file__).resolve().parents[2] / "SECURITY.md"

WAYS_IN = ("loopback", "other machine", "other machine, no password given", "other machine with password")
ASKED_BY = ("plain", "proxied", "CONNECT", "base URL", "h2")
KINDS = ("loopback", "address", "short", "given", "page", "foreign")
WHAT = ("entries", "purge", "control", "metrics", "healthz")

ADDRESS, SECOND_ADDRESS = "10.77.0.1", "10.78.0.1"
SHORT, GIVEN, REBOUND = "cachebox", "cache.corp.example", "rebound.example"
"""The proxy's machine in the tests."""


@dataclass(frozen=True, slots=True)
class Cell:
    way_in: str
    asked_by: str
    kind: str
    what: str


def _table(mark: str) -> list[list[str]]:
    """The rows of the table after the comment that begins with `mark`."""
    after = SECURITY.read_text("utf-8").split(f"<!-- {mark}:", 1)[1].partition("-->")[2].strip()
    lines = after.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names() -> dict[str, list[str]]:
    """The spellings of each kind."""
    found = {kind: re.findall("`([^`]+)`", text) for kind, text in _table("names")}
    found["given"] = [GIVEN]
    found["address"] = [ADDRESS]
    found["foreign"] += [SECOND_ADDRESS]
    return found


def cells(mark: str = "cells") -> dict[Cell, int]:
    """The status of each cell. Raises `ValueError` where two rows speak of the same one."""
    expected: dict[Cell, int] = {}
    for ways_in, asked_by, kinds, *statuses in _table(mark):
        several = _each(ways_in, WAYS_IN), _each(asked_by, ASKED_BY), _each(kinds, KINDS)
        for (way_in, asked, kind), (what, status) in product(product(*several), zip(WHAT, statuses, strict=True)):
            cell = Cell(way_in, asked, kind, what)
            if cell in expected:
                raise ValueError(f"SECURITY.md has two rows for {cell}")
            expected[cell] = int(status)
    return expected


def _each(text: str, known: tuple[str, ...]) -> list[str]:
    """`all`, or members of `known` with commas between. Some have a comma of their own."""
    if text == "all":
        return list(known)
    found = []
    while text:
        longest = max((one for one in known if text.startswith(one)), key=len, default="")
        if not longest:
            raise ValueError(f"SECURITY.md: {text!r} is none of {known}")
        found.append(longest)
        text = text[len(longest) :].removeprefix(",").strip()
    return found
