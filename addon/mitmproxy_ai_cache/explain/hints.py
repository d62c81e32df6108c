"""Rules that would make a request and a recorded one the same call, where they differ by what never repeats.

A rule is suggested only after the keys were computed with it and were equal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..identity.canonical import parse_path
from ..identity.key import Alias, KeyRules, Normalize
from .compare import Change
from .key_view import KeyView
from .shown import change as changed_part

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"

VOLATILE: tuple[tuple[str, str], ...] = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\d{1,2}/\d{1,2}/\d{4}", "DATE"),
    (rf"{_MONTH} \d{{1,2}},? \d{{4}}", "DATE"),
    (rf"\d{{1,2}} {_MONTH} \d{{4}}", "DATE"),
    (r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b", "DAY"),
    (r"\b\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?(?: ?[AP]M)?", "TIME"),
    (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "UUID"),
    (r"\b1[5-9]\d{8}(?:\d{3})?(?:\.\d+)?\b", "EPOCH"),
    (r"(?:/private)?/(?:tmp|var/tmp|var/folders)/[^\s\"'`,;:)\]}]+", "/TMP"),
    (r"(?:/home|/Users|C:\\Users)[/\\][^\s/\\\"'`,;:)\]}]+", "HOME"),
    (r"\b(localhost|127\.0\.0\.1|\[::1\]):\d+", r"\1:PORT"),
    (r"\b[0-9a-f]{7,}\b", "HEX"),
)
"""What differs between two runs of the same program: a pattern that finds it, and what to put in its place.

The more specific ones come first: a rule acts on what those before it left.
"""

_RANDOM_SUFFIX = re.compile(r"([A-Za-z][\w-]*?[_-])([A-Za-z0-9]{6,})")
"""An id with a prefix, as providers and frameworks make them: `call_h1K...`, `run-8f3a...`."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST = 20_000
"""Characters of a change that are searched for patterns."""


@dataclass(frozen=True, slots=True)
class Rule:
    option: str
    """`ignore`, `normalize` or `alias`."""
    text: str

    @property
    def setting(self) -> str:
        """As it stands on a command line."""
        return f"--set {shlex.quote(f'ai_cache_{self.option}={self.text}')}"

    def added_to(self, rules: KeyRules) -> KeyRules:
        """Raises ValueError where the option would be refused."""
        if self.option == "ignore":
            return replace(rules, ignore=(*rules.ignore, parse_path(self.text)))
        if self.option == "normalize":
            return replace(rules, normalize=(*rules.normalize, Normalize.parse(self.text)))
        return replace(rules, aliases=(*rules.aliases, Alias.parse(self.text)))


def hints(recorded: KeyView, sent: KeyView, changes: list[Change]) -> tuple[str, ...]:
    """Settings that, all together, give both requests one key; none where a change is not covered by them."""
    found: list[Rule] = []
    for change in changes:
        if _equal(recorded, sent, found, change):
            continue
        rules = _rules(change, sent)
        if not rules:
            return ()
        found += [rule for rule in rules if rule not in found]
    if not found or not _one_key(recorded, sent, found):
        return ()
    for rule in list(found):
        fewer = [other for other in found if other is not rule]
        if fewer and _one_key(recorded, sent, fewer):
            found = fewer
    return tuple(rule.setting for rule in found)


def _equal(recorded: KeyView, sent: KeyView, rules: list[Rule], change: Change) -> bool:
    """Whether the patterns found so far take care of this change, too."""
    if not (isinstance(change.recorded, str) and isinstance(change.sent, str)):
        return False
    one, other = change.recorded, change.sent
    for rule in rules:
        if rule.option == "normalize":
            normalize = Normalize.parse(rule.text)
            one, other = (normalize.pattern.sub(normalize.replacement, text) for text in (one, other))
    return one == other


def _one_key(recorded: KeyView, sent: KeyView, added: list[Rule]) -> bool:
    rules = sent.rules
    try:
        for rule in added:
            rules = rule.added_to(rules)
    except ValueError:
        return False
    return recorded.fingerprint(rules) == sent.fingerprint(rules)


def _rules(change: Change, sent: KeyView) -> list[Rule]:
    if change.place == "port" and sent.request.host.lower() in _LOOPBACK:
        return [Rule("alias", f"{sent.request.host.lower()}=local")]
    if not change.of_body or change.kind != "changed":
        return []
    one, other = change.recorded, change.sent
    if _is_epoch(one) and _is_epoch(other):
        return [Rule("ignore", _every(change.path))]
    if not (isinstance(one, str) and isinstance(other, str)):
        return []
    if _is_member(change.path) and any(_is_whole(pattern, one, other) for pattern, _ in VOLATILE):
        return [Rule("ignore", _every(change.path))]
    return list(_of_text(one, other))


def _is_epoch(value: Any) -> bool:
    """Seconds or milliseconds since 1970, of this century."""
    if isinstance(value, dict) and value.keys() == {"#n"}:
        digits, _, exponent = value["#n"].partition("e")
        value = float(f"{digits}e{exponent or 0}") if len(exponent) < 4 else 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 1.5e9 < value < 2.0e9 or 1.5e12 < value < 2.0e12


def _is_member(path: tuple[Any, ...]) -> bool:
    """A member that stands alone, such as `metadata.run_id`; in lists of messages and tools a pattern is better."""
    return not any(isinstance(step, int) for step in path)


def _is_whole(pattern: str, one: str, other: str) -> bool:
    return bool(re.fullmatch(pattern, one) and re.fullmatch(pattern, other))


def _every(path: tuple[Any, ...]) -> str:
    """`path` as ai_cache_ignore has it, for every item of the lists it leads through."""
    text = ""
    for step in path:
        text += "[*]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _of_text(one: str, other: str) -> Iterator[Rule]:
    """Rules that make two texts one, or those that come nearest."""
    before, after = changed_part(one, other)
    margin = 80
    one, other = (text[max(0, before - margin) : len(text) - max(0, after - margin)] for text in (one, other))
    if max(len(one), len(other)) > _LONGEST:
        return
    for pattern, replacement in VOLATILE:
        if one == other:
            return
        compiled = re.compile(pattern)
        found, others = ([match[0] for match in compiled.finditer(text)] for text in (one, other))
        if len(found) == len(others) and found != others:
            yield Rule("normalize", f"{pattern}={replacement}")
            one, other = (compiled.sub(replacement, text) for text in (one, other))
    if one != other:
        yield from _suffixes(one, other)


def _suffixes(one: str, other: str) -> Iterator[Rule]:
    found, others = ([(match[1], match[2]) for match in _RANDOM_SUFFIX.finditer(text)] for text in (one, other))
    prefixes = dict.fromkeys(
        was[0] for was, is_now in zip(found, others, strict=False) if was[0] == is_now[0] and was != is_now
    )
    for prefix in prefixes:
        yield Rule("normalize", rf"\b{re.escape(prefix)}[A-Za-z0-9]{{6,}}={prefix}ID")
