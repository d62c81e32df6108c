"""Secrets that are known by how they begin: those of AI providers, which stand in their table (`protocols/providers`),
those of other services here and in `services.py`, and those of plug-ins.

Sources: the services' own pages on key formats and secret scanning partners' lists, as of 2026. A row is as strict as
its prefix is short: `sk-ant-` is enough by itself, `sk-` is also the start of English words and of parts of slugs.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from ..protocols.providers import Secret, added_secrets, secrets
from .services import SERVICES

_AFTER_ESCAPE = rb"(?<=\\[nrtbf])|(?<=\\u00[0-9a-fA-F]{2})|(?<=%[0-9a-fA-F]{2})"
"""A letter before a key is no part of a word where it ends an escape: `\\nsk-...`, `\\u0022sk-...`, `%3Dsk-...`."""

_LOOSE = rb"(?:(?<![A-Za-z0-9])|" + _AFTER_ESCAPE + rb")"
_STRICT = rb"(?:(?<![A-Za-z0-9_-])|" + _AFTER_ESCAPE + rb")"
"""Short prefixes occur within base64url, where a dash or an underscore stands before them."""

_NO_SECRET = re.compile(
    rb"redacted|example|placeholder|filtered|changeme|dummy[-_]|fake[-_]|(?:^|[-_])your[-_]|[xX*.]{8}", re.IGNORECASE
)
"""What documentation and recorders write in place of a key. Each is too long to turn up in a random one."""

_DIGIT, _LOWER, _UPPER = re.compile(rb"[0-9]"), re.compile(rb"[a-z]"), re.compile(rb"[A-Z]")


def is_stand_in(value: bytes) -> bool:
    """Whether `value` was written to say that there is a key, not which."""
    return _NO_SECRET.search(value) is not None


def looks_random(value: bytes) -> bool:
    """Whether a value that a name such as `api_key` announces is one that somebody made up at random.

    Names in code (`get_api_key_from_env2`) and words joined by dashes have no long run of letters and digits.
    """
    if is_stand_in(value) or len(set(value)) < 8:
        return False
    for part in re.split(rb"[^A-Za-z0-9]+", value):
        mixed_case = _LOWER.search(part) and _UPPER.search(part)
        if len(part) >= 12 and _DIGIT.search(part) and (_LOWER.search(part) or _UPPER.search(part)):
            return True
        if len(part) >= 20 and mixed_case:
            return True
    # base64 of random bytes, cut short by its own signs
    return len(value) >= 32 and all(sort.search(value) for sort in (_DIGIT, _LOWER, _UPPER)) and not _words(value)


def _words(value: bytes) -> bool:
    """Whether the parts between signs are words or numbers, as in a path or an identifier."""
    return all(re.fullmatch(rb"[A-Za-z]?[a-z]*|[A-Z]+|[0-9]+", part) for part in re.split(rb"[^A-Za-z0-9]+", value))


def _mixed(value: bytes) -> bool:
    """A key behind `sk-`: no slug such as `sk-learn-tutorial-part-2`."""
    cases = _LOWER.search(value[3:]) and _UPPER.search(value)
    long_part = max(map(len, re.split(rb"[-_]", value))) >= 16
    return not is_stand_in(value) and _DIGIT.search(value) is not None and (cases is not None or long_part)


def is_mixed(value: bytes) -> bool:
    """A key behind a prefix that words have, too: letters and digits by turns, none of `re_compile_all_patterns_2`."""
    longest = max(re.split(rb"[-_./]", value), key=len)
    humps = re.findall(rb"[A-Z]?[a-z]+|[A-Z]+|[0-9]+", longest)
    return not is_stand_in(value) and len(longest) >= 12 and any(map(bytes.isdigit, humps)) and len(humps) >= 4


def is_jwt(value: bytes) -> bool:
    """Whether the first part is a JSON header that names an algorithm (RFC 7515 section 4.1.1, RFC 7516)."""
    head = value.partition(b".")[0]
    try:
        parsed = orjson.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(parsed, dict) and "alg" in parsed


def _no_stand_in(value: bytes) -> bool:
    return not is_stand_in(value)


@dataclass(frozen=True, slots=True)
class Shape:
    """A secret of `kind` where `pattern` matches and `check` agrees."""

    kind: str
    pattern: re.Pattern[bytes]
    check: Callable[[bytes], bool] = _no_stand_in


_OTHERS: tuple[Secret, ...] = (
    Secret("sk-", "langfuse-key", rb"sk-lf-[0-9a-f-]{36}", strict=True),
    Secret("tvly-", "tavily-key", rb"tvly-[A-Za-z0-9_-]{20,}"),
    Secret("pcsk_", "pinecone-key", rb"pcsk_[A-Za-z0-9_]{40,}"),
    Secret("lsv2_", "langsmith-key", rb"lsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}"),
    Secret("glpat-", "gitlab-token", rb"glpat-[A-Za-z0-9_.-]{20,}"),
    Secret("xox", "slack-token", rb"xox[abeoprs]-[A-Za-z0-9.-]{16,}"),
    Secret("xapp-", "slack-token", rb"xapp-[A-Za-z0-9-]{20,}"),
    Secret("services/T", "slack-webhook", rb"services/T[A-Z0-9]{7,}/B[A-Z0-9]{7,}/[A-Za-z0-9]{20,}"),
    Secret("sk_", "stripe-key", rb"sk_(?:live|test)_[A-Za-z0-9]{16,}", strict=True),
    Secret("sk_", "elevenlabs-key", rb"sk_[0-9a-f]{48}(?![A-Za-z0-9])", strict=True),
    Secret("rk_", "stripe-key", rb"rk_(?:live|test)_[A-Za-z0-9]{16,}", strict=True),
    Secret("whsec_", "stripe-key", rb"whsec_[A-Za-z0-9+/=]{24,}"),
    Secret("npm_", "npm-token", rb"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    Secret("pypi-", "pypi-token", rb"pypi-[A-Za-z0-9_-]{32,}"),
    Secret("SG.", "sendgrid-key", rb"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}", strict=True),
    Secret("hvs.", "vault-token", rb"hvs\.[A-Za-z0-9_-]{24,}"),
    Secret("glsa_", "grafana-token", rb"glsa_[A-Za-z0-9_]{32,}"),
    Secret("dop_v1_", "digitalocean-token", rb"dop_v1_[0-9a-f]{64}"),
    Secret("shpat_", "shopify-token", rb"shpat_[0-9a-fA-F]{32}"),
    Secret("dckr_pat_", "docker-token", rb"dckr_pat_[A-Za-z0-9_-]{20,}"),
    Secret("AGE-SECRET-KEY-1", "age-key", rb"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    *SERVICES,
)
"""Of those who are no AI providers."""

_JWT = rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}"
_CHECKS = {"any": _no_stand_in, "random": is_mixed, "general": _mixed}


@dataclass(frozen=True, slots=True)
class Known:
    """All secrets that are known by how they begin, ready to be searched for."""

    shapes: dict[bytes, tuple[Shape, ...]]
    """By the literal they begin with."""
    prefix: re.Pattern[bytes]
    """One of these literals."""
    within: re.Pattern[bytes]
    """The same where one may begin within a run of letters, digits and dashes."""
    dotted: re.Pattern[bytes]
    """Where one may begin whose first dot comes early: `ya29.`, `SG.`, JWTs with a short header."""


@functools.cache
def known() -> Known:
    """Compiling takes some milliseconds, so it is done once, when first asked for."""
    shapes = {prefix.encode(): tuple(map(_shape, alike)) for prefix, alike in _by_prefix().items()}
    shapes[b"eyJ"] = (Shape("jwt", re.compile(_LOOSE + _JWT), is_jwt), *shapes.get(b"eyJ", ()))
    any_of = _any_of(shapes)
    dots = rb"|".join(re.escape(one) for one in shapes if one[-1:] == b".")
    return Known(
        shapes,
        re.compile(any_of),
        re.compile(rb"(?<![A-Za-z0-9])" + any_of),
        re.compile(_LOOSE + rb"(?:" + dots + rb"|eyJ)"),
    )


def _shape(secret: Secret) -> Shape:
    before = _STRICT if secret.strict else _LOOSE
    return Shape(secret.kind, re.compile(before + secret.pattern), _CHECKS[secret.looks])


def _by_prefix() -> dict[str, list[Secret]]:
    """The secrets in the order in which they are asked where their prefix stands: the longest of those that fit.

    One of a plug-in may have a prefix that begins as ours does, or ours as it does: it is asked there, too.
    """
    table: dict[str, list[Secret]] = {}
    for secret in (*secrets(), *_OTHERS):
        table.setdefault(secret.prefix, []).append(secret)
    for secret in added_secrets():
        shorter = max((prefix for prefix in table if secret.prefix.startswith(prefix)), key=len, default="")
        if not shorter or secret.prefix.endswith("."):
            shorter = secret.prefix
            table.setdefault(shorter, [])
        for prefix, alike in table.items():
            if prefix == shorter or prefix.startswith(secret.prefix):
                alike.append(secret)
    return {prefix: sorted(alike, key=lambda secret: secret.looks == "general") for prefix, alike in table.items()}


def _any_of(prefixes: Iterable[bytes]) -> bytes:
    """One of these, by their first letter: there are many, and each is tried in turn."""
    by_letter: dict[bytes, list[bytes]] = {}
    for prefix in sorted(prefixes, key=len, reverse=True):
        by_letter.setdefault(prefix[:1], []).append(re.escape(prefix[1:]))
    return rb"(?:" + rb"|".join(first + rb"(?:" + rb"|".join(rest) + rb")" for first, rest in by_letter.items()) + rb")"
