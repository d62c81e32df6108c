"""Keys of answers to the same call: the first is kept under the key itself, the n-th under `KEY-n`."""

from __future__ import annotations


def nth(key: str, number: int) -> str:
    """The key of the n-th answer, n >= 1."""
    return key if number <= 1 else f"{key}-{number}"


def base(key: str) -> str:
    """The key of the first answer."""
    return key.partition("-")[0]


def number(key: str) -> int:
    return int(key.partition("-")[2] or 1)
