"""Passwords do not stand in messages, however the URL that they are in is misspelt.

A message may quote a setting, an argument or a variable. Where that may hold a password it is replaced as a whole:
of a URL that is written wrongly nobody knows where the password begins.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

NOT_SHOWN = "(not shown: there may be a password in it)"

_URL = re.compile(r"(?:[a-z+]{2,20}:[/\\]|[/\\]{2}|(?:redis|valkey|unix|https?|socks)[a-z0-9+]*[:/\\])", re.IGNORECASE)
"""What URLs begin with, also where a slash or the colon is missing."""
_PLAIN = re.compile(
    r"(?:https?|file)://[^:@%/?#]*(?::\d{1,5})?(?:[/?#][^:@%]*)?|(?:sqlite://|cassettes:|memory:)[^:@]*", re.IGNORECASE
)
"""URLs that have no password for sure."""
_CODED = re.compile(r":.*%[0-9a-f]{2}", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
"""As `repr` writes a text."""
_SECRET_NAME = re.compile(r"auth|passw|secret|token|credential|_key$|passphrase", re.IGNORECASE)
_VARIABLES = re.compile(r"AI_CACHE_\w+|\w*proxy", re.IGNORECASE)
_SHORTEST = 4
"""Characters of a value that is looked for."""


def is_delicate(text: str) -> bool:
    """Whether there may be a password in `text`: an `@`, or what looks like a URL with more than a host and a port."""
    if "@" in text:
        return not _is_path(text)
    return _CODED.search(text) is not None or (_URL.search(text) is not None and not _PLAIN.fullmatch(text))


def _is_path(text: str) -> bool:
    """Directories may have an `@` in their name."""
    named = text.startswith(("/", "./", "../", "~/")) and not text.startswith("//")
    return ":" not in text and (named or os.path.lexists(text))


def hidden(message: str, values: Iterable[str]) -> str:
    """`message` without those of `values`, each as it is or as `repr` writes it, and without other quoted ones."""
    forms = {form for value in values if len(value) >= _SHORTEST for form in (value, repr(value)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        for quoted in (f"'{form}'", f'"{form}"', form):
            message = message.replace(quoted, NOT_SHOWN)
    return _QUOTED.sub(lambda found: NOT_SHOWN if is_delicate(found[0][1:-1]) else found[0], message)


def safe(message: str) -> str:
    """`message` without what the arguments and the environment of this process keep secret."""
    return hidden(message, delicate_values(sys.argv[1:], os.environ))


def delicate_values(arguments: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    """What of these may be, or hold, a password."""
    for argument in arguments:
        yield from _of(argument)
    for name, value in environ.items():
        if _VARIABLES.fullmatch(name):
            yield from _of(f"{name}={value}")
            yield from (part for part in re.split(r"[;\n]", value) if is_delicate(part))


def _of(assignment: str) -> Iterator[str]:
    """An argument, and what stands before and after each `=` of it: a password may have some."""
    if is_delicate(assignment):
        yield assignment
    for found in re.finditer("=", assignment):
        name, value = assignment[: found.start()], assignment[found.end() :]
        if is_delicate(name):
            yield name
        if is_delicate(value) or _SECRET_NAME.search(name):
            yield value.strip()
            yield value


def of_settings(values: Mapping[str, object], secrets: Iterable[str]) -> Iterator[str]:
    """The values of options that may be, or hold, a password."""
    for name, value in values.items():
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str) and (name in secrets or is_delicate(text)):
                yield text
