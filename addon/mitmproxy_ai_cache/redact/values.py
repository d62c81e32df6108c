"""Whether a value was made up at random, or is a word, a template, a piece of code."""

from __future__ import annotations

import math
import re
from collections import Counter

from .kinds import is_stand_in, looks_random

_TEMPLATE = re.compile(rb"^[$%{<\[*&@(]|\$\{|\$\(|\{\{|%\(|<%|^\.\.")
_REFERENCE = re.compile(
    rb"^(?:process\.env|os\.environ|os\.getenv|env[.:\[]|secrets?[.:\[]|vault:|var\.|local\.|data\.|self\.|this\.|config\.|"
    rb"settings\.|import\.meta|Deno\.env|ENV\[|System\.|getenv|op://|ref\+|arn:|projects/|https?://|file:|\./|/|~/|None\b|"
    rb"null\b|true\b|false\b|undefined\b)",
    re.IGNORECASE,
)
_STAND_IN = re.compile(
    rb"your|my[-_]?(?:api|secret|token|key|pass)|here$|change|replace|insert|enter|todo|fixme|example|sample|dummy|fake|"
    rb"placeholder|redacted|masked|hidden|secret[-_]?here|test[-_]?(?:key|token|secret|pass)|some[-_]|xxx|\.\.\.|\*\*\*|"
    rb"goes|<|>|1234567890|abcdefgh|0123456789abcdef$|deadbeef",
    re.IGNORECASE,
)
"""What documentation writes in place of a value."""

_HUMP = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_NUMBER = re.compile(rb"[vV]?[0-9]{0,4}")
_COMMON = re.compile(
    rb"passw|secret|admin|user|test|demo|guest|root|letmein|qwerty|welcome|foobar|string|value|token|key|hash|field|input",
    re.IGNORECASE,
)


def is_wordy(value: bytes) -> bool:
    """Whether `value` is words and small numbers: an identifier, a slug, a sentence."""
    return all(map(_is_word, re.split(rb"[^A-Za-z0-9]+", value)))


def _is_word(part: bytes) -> bool:
    """Whether `part` is words of some length with at most one short number: `getUser2`, `V1`, `2024`."""
    if _NUMBER.fullmatch(part):
        return True
    humps = _HUMP.findall(part)
    letters = [hump for hump in humps if hump.isalpha()]
    numbers = [hump for hump in humps if hump.isdigit()]
    if b"".join(humps) != part or len(numbers) > 1 or any(len(number) > 4 for number in numbers):
        return False
    return sum(map(len, letters)) >= 3 * len(letters) - 1


def _says_nothing(value: bytes) -> bool:
    return bool(_TEMPLATE.search(value) or _REFERENCE.search(value) or _STAND_IN.search(value) or is_stand_in(value))


def is_password(value: bytes, quoted: bool) -> bool:
    """Whether a value that is called a password is one that nobody would guess. Words are not."""
    if not 8 <= len(value) <= 256 or len(set(value)) < 6 or (b"(" in value[:-1] and not quoted) or _says_nothing(value):
        return False
    lower, upper = any(97 <= one <= 122 for one in value), any(65 <= one <= 90 for one in value)
    digit = any(48 <= one <= 57 for one in value)
    sign = any(not chr(one).isalnum() for one in value[:-1])
    if not (digit and (lower or upper)) and not (lower and upper and sign):
        return False
    if not is_wordy(value):
        return True
    return quoted and digit and lower and upper and len(value) >= 10 and not _COMMON.search(value)


def is_shown_password(value: bytes) -> bool:
    """The same where a syntax has no other place for it."""
    return is_password(value, quoted=True)


def is_random_key(value: bytes, quoted: bool = False) -> bool:
    """Whether a value that is called a key, a token or a secret was drawn at random."""
    value = value.rstrip(b"=")
    if not 16 <= len(value) <= 4096 or _says_nothing(value) or is_wordy(value) or (b"(" in value and not quoted):
        return False
    if looks_random(value):
        return True
    has_digit = any(48 <= one <= 57 for one in value)
    return has_digit and any(chr(one).isalpha() for one in value) and entropy(value) >= 3.4


def entropy(value: bytes) -> float:
    """Shannon's, in bits a byte."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
