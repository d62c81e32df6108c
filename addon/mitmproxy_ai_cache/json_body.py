"""JSON request bodies: parsed once, without losing what tells two requests apart.

Ordinary parsers lose information: the second of two equal members wins silently, long numbers become doubles. Two
requests that a provider tells apart would then share a key. So a body is parsed by orjson only where writing the result
again gives the very same bytes (what the SDKs send), and by the slower, exact way everywhere else.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson

Json = Any
"""None, bool, int, float, Decimal, str, list or dict."""

MAX_NUMBER = 400
"""Longest number, in characters, that is compared by value. Longer ones are a denial of service, not a parameter."""


class NotCanonical(ValueError):
    """No JSON whose meaning all parsers agree on: NaN, lone surrogates, bad UTF-8, too deep, huge numbers."""


class DuplicateMembers(ValueError):
    """An object names a member twice. Parsers disagree on which one counts."""


def parse(data: bytes) -> Json:
    """The value of `data`, numbers exact. Raises `NotCanonical` or `DuplicateMembers`."""
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == data:
            return value
    except (orjson.JSONDecodeError, TypeError, RecursionError):
        pass
    return _parse_exactly(data)


def _parse_exactly(data: bytes) -> Json:
    try:
        return _EXACT.decode(data.decode("utf-8"))
    except DuplicateMembers:
        raise
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise NotCanonical(str(error)) from None


def parse_leniently(data: bytes) -> Json:
    """What `data` says where it is no canonical JSON, or None: enough to see which call it is, never to key it by.

    Raises `DuplicateMembers`.
    """
    try:
        return _LENIENT.decode(data.decode("utf-8-sig", "replace"))
    except DuplicateMembers:
        raise
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> int | Decimal:
    if len(text) > MAX_NUMBER:
        raise NotCanonical("huge number")
    # int() forgets the sign of -0
    return int(text) if len(text) < 19 and text != "-0" else Decimal(text)


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER:
        raise NotCanonical("huge number")
    return Decimal(text)


def _constant(text: str) -> Json:
    raise NotCanonical(text)


def _object(members: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(members)
    if len(value) != len(members):
        raise DuplicateMembers
    return value


_LENIENT = json.JSONDecoder(object_pairs_hook=_object, parse_int=float, parse_float=float)
_EXACT = json.JSONDecoder(object_pairs_hook=_object, parse_int=_number, parse_float=_decimal, parse_constant=_constant)
