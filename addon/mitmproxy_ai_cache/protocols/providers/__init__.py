"""The table of providers, and what is read from it: hosts, credentials, keys, headers.

One row is one provider (`table.py`; `row.py` says what a row holds). Other distributions add rows by the entry point
`ai_cache.providers`, and kinds of secrets by `ai_cache.secret_kinds`; they are read once, when first asked for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from ...system import plugins
from ...wire.messages import Response
from ..base import json_response
from .checks import problem, secret_problem
from .row import PLACEHOLDER, Key, Provider, Secret, Variable
from .table import PROVIDERS

__all__ = ["PLACEHOLDER", "PROVIDERS", "Key", "Provider", "Secret", "Variable"]

_OF_MANY_HEADERS = frozenset({"authorization"})
"""Credential headers that are no provider's own."""

_NAMES_OF_OURS = frozenset(provider.name for provider in PROVIDERS)
_VARIABLES_OF_OURS = frozenset(variable.name for provider in PROVIDERS for variable in provider.variables)


@functools.cache
def providers() -> tuple[Provider, ...]:
    """All rows: ours, then those of plug-ins."""
    added = plugins.load(
        plugins.PROVIDERS,
        Provider,
        lambda row: row.name,
        taken=_NAMES_OF_OURS,
        wrong=lambda row: problem(row, _VARIABLES_OF_OURS),
    )
    return (*PROVIDERS, *(each.value for each in added))


@functools.cache
def secrets() -> tuple[Secret, ...]:
    """The keys of our rows that are known by how they begin."""
    return tuple(secret for row in PROVIDERS for secret in row.secrets)


@functools.cache
def added_secrets() -> tuple[Secret, ...]:
    """Those of plug-ins: of their rows, then kinds by themselves."""
    kinds = plugins.load(
        plugins.SECRET_KINDS, Secret, lambda secret: f"{secret.kind} ({secret.prefix})", wrong=secret_problem
    )
    rows = providers()[len(PROVIDERS) :]
    return (*(secret for row in rows for secret in row.secrets), *(each.value for each in kinds))


@functools.cache
def host_globs() -> tuple[str, ...]:
    """The hosts of all providers; `ai_cache_hosts` adds to them."""
    return _words("hosts")


@functools.cache
def hosts_without_done() -> tuple[str, ...]:
    """Globs of hosts that never send `data: [DONE]`; `ai_cache_no_done_hosts` adds to them."""
    return _words("no_done")


@functools.cache
def credential_headers() -> frozenset[str]:
    """Headers that carry a credential and nothing that shapes the answer, in lower case."""
    return _OF_MANY_HEADERS | {name.lower() for name in _words("credential_headers")}


@functools.cache
def principal_headers() -> frozenset[str]:
    """Headers that carry a further key, which tells whose call it is."""
    return frozenset(name.lower() for name in _words("principal_headers"))


@functools.cache
def secret_headers() -> frozenset[str]:
    """All headers of providers that carry a secret."""
    others = frozenset(name.lower() for name in _words("redacted_headers"))
    return credential_headers() | principal_headers() | others


@functools.cache
def key_header_prefixes() -> tuple[str, ...]:
    """Beginnings of headers that shape the answer in every protocol."""
    return tuple(name.lower() for name in _words("key_headers"))


@functools.cache
def answer_headers() -> frozenset[str]:
    """Headers of answers that are stored with them."""
    return frozenset(name.lower() for name in _words("answer_headers"))


@functools.cache
def rotating_tokens() -> tuple[str, ...]:
    """Beginnings of bearer tokens that change and name nobody."""
    return _words("rotating")


def key_of(host: str) -> Key | None:
    """How requests to `host` (in lower case) authenticate; None where that is not known."""
    return next((key for globs, key in _keys() if any(fnmatchcase(host, glob) for glob in globs)), None)


@functools.cache
def _keys() -> tuple[tuple[tuple[str, ...], Key], ...]:
    return tuple((_globs(key.hosts or row.hosts), key) for row in providers() for key in row.keys)


def _globs(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split())


def variables() -> Iterator[Variable]:
    """The environment variables of all providers."""
    return (variable for row in providers() for variable in row.variables)


@functools.cache
def side_traffic() -> re.Pattern[str]:
    """Matches `HOST PATH`, the host in lower case, of what clients send beside their calls."""
    each = (
        rf"(?:\S+\.)?{re.escape(row.domain)} (?:{'|'.join(map(re.escape, row.side_paths.split()))})"
        for row in providers()
        if row.domain and row.side_paths
    )
    return re.compile("|".join(each) or r"(?!)")


def error_for_host(host: str, status: int, code: str, message: str) -> Response:
    """An error in the shape of the provider behind `host`, for requests no protocol claims."""
    for row in providers():
        if row.error and row.domain and f".{host}".endswith(f".{row.domain}"):
            return row.error(status, code, message)
    return json_response(status, {"error": {"message": message, "type": code, "param": None, "code": code}})


def price_id(host: str) -> str:
    """The id in genai-prices of the provider at `host`, or nothing."""
    fitting = (row for row in providers() if row.prices and any(fnmatchcase(host, one) for one in _globs(row.hosts)))
    return next((row.prices for row in fitting), "")


def _words(field: str) -> tuple[str, ...]:
    """The words of one field of all rows."""
    return tuple(word for row in providers() for word in getattr(row, field).split())
