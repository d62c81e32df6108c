"""JSON request bodies: parsed once, without losing what tells two requests apart.

Ordinary parsers lose information: the second of two equal members wins silently, long numbers become doubles. Two
requests that a provider tells apart would then share a key. So a body is parsed by orjson only where writing the result
again gives the very same bytes (what the SDKs send), and by the slower, exact way everywhere else.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

Json = Any
"""None, bool, int, float, Decimal, str, list or dict."""

MAX_NUMBER = 400
"""Longest number, in characters, that is compared by value. Longer ones are a denial of service, not a parameter."""


MAX_CONTAINERS = 500_000
"""Most arrays and objects of a document that is parsed at all. A parser holds the interpreter for microseconds each."""

MAX_NUMBERS = 500_000
"""Most integers that are read exactly. The longest lists there are, tokens to embed, have some 300,000."""

MAX_DECIMALS = 150_000
"""Most other numbers that are read exactly: as many as the canonical form may have."""


class NotCanonical(ValueError):
    """No JSON whose meaning all parsers agree on: NaN, lone surrogates, bad UTF-8, too deep, huge numbers."""


class TooComplex(ValueError):
    """More arrays and objects than `MAX_CONTAINERS`."""


class DuplicateMembers(ValueError):
    """An object names a member twice. Parsers disagree on which one counts."""


def parse(data: bytes) -> Json:
    """The value of `data`, numbers exact. Raises `NotCanonical`, `TooComplex` or `DuplicateMembers`."""
    if is_too_complex(data):
        raise TooComplex
    if not _SPACED.match(data):
        try:
            value = orjson.loads(data)
            if orjson.dumps(value) == data:
                return value
        except (orjson.JSONDecodeError, TypeError, RecursionError):
            pass
    return _parse_exactly(data)


_SPACED = re.compile(rb'\s|[{\[]\s|\{"[^"\\]*+"(?:\s|:\s)')
"""The beginning of a document that orjson would write without white space: no use in trying."""


def is_too_complex(data: bytes) -> bool:
    """Whether to parse `data` would stall everybody else. Brackets inside strings count too."""
    if len(data) <= 2 * MAX_CONTAINERS:  # each has two; and to count takes half as long as to parse
        return False
    return data.count(b"[") + data.count(b"{") > MAX_CONTAINERS


def _parse_exactly(data: bytes) -> Json:
    numbers = _Numbers()
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_int=numbers.integer, parse_float=numbers.decimal, parse_constant=_constant
    )
    try:
        return decoder.decode(data.decode("utf-8"))
    except DuplicateMembers:
        raise
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise NotCanonical(str(error)) from None


def parse_leniently(data: bytes) -> Json:
    """What `data` says where it is no canonical JSON, or None: enough to see which call it is, never to key it by.

    Raises `DuplicateMembers`.
    """
    try:
        value = orjson.loads(data)
        # A member that is there twice is lost, and its quotes with it; an escaped quote comes back as a quote.
        if data.count(b'"') + data.count(rb"\u0022") == orjson.dumps(value).count(b'"'):
            return value
    except (orjson.JSONDecodeError, TypeError, RecursionError):
        pass
    try:
        return _LENIENT.decode(data.decode("utf-8-sig", "replace"))
    except DuplicateMembers:
        raise
    except (ValueError, RecursionError):
        return None


class _Numbers:
    """Reads the numbers of one document, up to `MAX_NUMBERS` and `MAX_DECIMALS`."""

    __slots__ = ("decimals", "integers")

    def __init__(self) -> None:
        self.integers, self.decimals = MAX_NUMBERS, MAX_DECIMALS

    def integer(self, text: str) -> int | Decimal:
        # int() forgets the sign of -0
        if len(text) < 19 and text != "-0":
            self.integers -= 1
            if self.integers < 0:
                raise NotCanonical("too many numbers")
            return int(text)
        return self.decimal(text)

    def decimal(self, text: str) -> Decimal:
        self.decimals -= 1
        if len(text) > MAX_NUMBER or self.decimals < 0:
            raise NotCanonical("too many or too huge numbers")
        return Decimal(text)


def _constant(text: str) -> Json:
    raise NotCanonical(text)


def _object(members: list[tuple[str, Json]]) -> dict[str, Json]:
    value = {name: member for name, member in members}  # noqa: C416 twice as fast as dict() for three members
    if len(value) != len(members):
        raise DuplicateMembers
    return value


def _roughly(text: str) -> Json:
    """A number of whatever size. Not by float(), which takes microseconds for numbers that are next to nothing."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return 0.0


_LENIENT = json.JSONDecoder(object_pairs_hook=_object, parse_int=float, parse_float=_roughly)
