"""An explanation in words, for the error body, the log and the terminal."""

from __future__ import annotations

import re

from ..entries.entry import short_key
from .explanation import Difference, Explanation
from .shown import printable

_SHOWN = 5
"""Differences that are spelled out."""
_LISTED = 3

_SAME = {
    "used-up": "this very request is recorded, but its {answers} used up",
    "expired": "this very request is recorded, but its answer has expired",
    "not-cacheable": "this very request is recorded, but its answer is kept for record and replay only",
    "other-scope": (
        "the same request is recorded under another key: for another credential or user (ai_cache_isolate), "
        "with another ai_cache_secret, or with other ai_cache_* rules for keys"
    ),
}


def lines(explanation: Explanation) -> list[str]:
    """Up to 12 lines. The first is a sentence that stands alone: some clients show no more."""
    if explanation.verdict == "nothing-recorded":
        return [f"no recorded answer for {printable(explanation.asked)}: nothing is recorded at all"]
    if explanation.verdict == "nothing-comparable":
        return _what_there_is(explanation)
    name = f"{printable(explanation.name)} (key {short_key(explanation.key)})"
    if explanation.verdict != "differs":
        return [f"no recorded answer; {_same(explanation)}: {name}"]
    first, *others = explanation.differences
    if first.path == "namespace" and not others:
        where = f"in namespace {first.recorded}, not in {first.sent}"
        return [f"no recorded answer; the same request is recorded {where}: {name}"]
    said = [f"no recorded answer; nearest is {name}: {sentence(first)}"]
    said += [f"and {sentence(other)}" for other in others[: _SHOWN - 1]]
    if more := len(others[_SHOWN - 1 :]):
        said.append(f"and {more} more differences")
    if explanation.equal:
        said.append("the same are " + ", ".join(explanation.equal[:_LISTED]))
    if explanation.hints:
        said.append("this looks like something that is new in every run; to make both one call, add")
        said.extend(f"  {hint}" for hint in explanation.hints[:_LISTED])
    return said


def sentence(difference: Difference) -> str:
    """One difference as a sentence without its full stop."""
    path, kind = difference.path, difference.kind
    if kind == "reordered":
        return f"{path}: same {difference.sent} in another order"
    if kind == "added":
        return f"{path} {_was(path)} added: {difference.sent}"
    if kind == "removed":
        return f"{path} {_was(path)} removed: {difference.recorded}"
    return f"{path} differs: recorded {difference.recorded}, sent {difference.sent}"


def _was(path: str) -> str:
    return "were" if re.search(r"\.\.\d+\]$", path) else "was"


def _same(explanation: Explanation) -> str:
    count = explanation.answers
    answers = "answer is" if count == 1 else f"{count} answers are"
    return _SAME[explanation.verdict].format(answers=answers)


def _what_there_is(explanation: Explanation) -> list[str]:
    present = [printable(place) for place in explanation.present]
    said = ", ".join(present[:_LISTED])
    more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
    return [
        f"no recorded answer; nothing comparable is recorded for {printable(explanation.asked)}; there is {said}{more}"
    ]
