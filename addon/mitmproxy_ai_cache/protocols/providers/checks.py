"""What is wrong with a row that another distribution brings: told in one line, before it can do harm."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from ...wire.regex_cost import is_cheap, shortest
from .row import PLACEHOLDER, Key, Provider, Secret, Variable

SHORTEST = 20
"""Bytes. Shorter runs of letters and digits are never looked at when secrets are searched."""

_KIND = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PREFIX = re.compile(r"[A-Za-z0-9+/_-]{2,}\.?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problem(row: Provider, taken: Collection[str]) -> str:
    """Why `row` cannot be used, or nothing. `taken` are environment variables that it may not name."""
    if wrong := _types(row):
        return wrong
    if not _NAME.fullmatch(row.name):
        return f"its name is {row.name!r}; use letters, digits, - and _"
    for glob in row.hosts.split():
        if not glob.strip("*?[].").strip() or not glob.isascii():
            return f"its host {glob!r} is every host; name its own"
    for variable in row.variables:
        if not _VARIABLE.fullmatch(variable.name):
            return f"{variable.name!r} is no name of an environment variable"
        if variable.name in taken:
            return f"the variable {variable.name} is one of ai-cache's own"
        if variable.replace and PLACEHOLDER not in variable.value:
            return f"the value of {variable.name} must have {PLACEHOLDER} in it, to be known for no real key"
    return next((wrong for secret in row.secrets if (wrong := secret_problem(secret))), "")


def secret_problem(secret: Secret) -> str:
    """Why `secret` cannot be used, or nothing."""
    if wrong := _types(secret):
        return wrong
    if not _KIND.fullmatch(secret.kind):
        return f"its kind is {secret.kind!r}; use words of a-z and 0-9 with dashes between"
    if not _PREFIX.fullmatch(secret.prefix):
        return f"the prefix of {secret.kind} is {secret.prefix!r}; use two or more letters, digits, -, _ or /"
    try:
        pattern = re.compile(secret.pattern)
    except re.error as error:
        return f"the pattern of {secret.kind} is no regular expression ({error})"
    prefix = secret.prefix.encode()
    if not secret.pattern.startswith((prefix, re.escape(prefix))):
        return f"the pattern of {secret.kind} must begin with its prefix, {secret.prefix}"
    if not is_cheap(pattern):
        return (
            f"the pattern of {secret.kind} has no bound on its time: write it without look-around and repetitions in "
            "repetitions, and with + or {20,} at its end alone"
        )
    if shortest(pattern) < SHORTEST:
        return f"the pattern of {secret.kind} matches less than {SHORTEST} characters; use ai_cache_redact for these"
    if pattern.search(b"REDACTED-" + secret.kind.encode()):
        return f"the pattern of {secret.kind} matches its own placeholder"
    return ""


_PARTS = {"keys": Key, "variables": Variable, "secrets": Secret}


def _types(row: Any) -> str:
    """A dataclass does not check what it is given: here is what a member must be."""
    for field in fields(row):
        value = getattr(row, field.name)
        if part := _PARTS.get(field.name):
            if not isinstance(value, tuple) or not all(isinstance(each, part) for each in value):
                return f"{field.name} must be a tuple of {part.__name__}"
            if wrong := next((wrong for each in value if (wrong := _types(each))), ""):
                return wrong
        elif field.type in ("str", "bytes", "bool"):
            if type(value).__name__ != field.type:
                return f"{field.name} must be {field.type}, and is {type(value).__name__}"
        elif field.name in ("error", "add") and not (callable(value) or value is None or isinstance(value, bool)):
            return f"{field.name} must be a function, and is {type(value).__name__}"
        elif field.name == "looks" and value not in ("any", "random", "general"):
            return "looks must be any, random or general"
    return ""
