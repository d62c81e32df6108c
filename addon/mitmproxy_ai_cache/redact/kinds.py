"""Secrets that are known by how they begin: one table, a row for each shape that a provider hands out.

Sources: the providers' own pages on key formats and secret scanning partners' lists, as of 2026. A row is as strict as
its prefix is short: `sk-ant-` is enough by itself, `sk-` is also the start of English words and of parts of slugs.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from .services import SERVICES, SERVICES_MIXED, SERVICES_STRICTLY

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


_ROWS: tuple[tuple[str, str, bytes], ...] = (
    ("sk-", "anthropic-key", rb"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("sk-", "openrouter-key", rb"sk-or-v1-[A-Za-z0-9]{32,}"),
    ("sk-", "langfuse-key", rb"sk-lf-[0-9a-f-]{36}"),
    ("sk-", "openai-key", rb"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}"),
    ("sk-", "deepseek-key", rb"sk-[0-9a-f]{32}(?![A-Za-z0-9_-])"),
    ("AIza", "google-key", rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    ("AQ.", "google-key", rb"AQ\.[A-Za-z0-9_-]{40,}"),
    ("ya29.", "google-token", rb"ya29\.[A-Za-z0-9_.-]{20,}"),
    ("GOCSPX-", "google-client-secret", rb"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("1//0", "google-refresh-token", rb"1//0[A-Za-z0-9_-]{30,}"),
    ("gsk_", "groq-key", rb"gsk_[A-Za-z0-9]{32,}"),
    ("hf_", "huggingface-token", rb"hf_[A-Za-z0-9]{30,}"),
    ("pplx-", "perplexity-key", rb"pplx-[A-Za-z0-9]{32,}"),
    ("xai-", "xai-key", rb"xai-[A-Za-z0-9]{40,}"),
    ("tgp_v1_", "together-key", rb"tgp_v1_[A-Za-z0-9_-]{32,}"),
    ("r8_", "replicate-token", rb"r8_[A-Za-z0-9]{30,}"),
    ("fw_", "fireworks-key", rb"fw_[A-Za-z0-9]{20,}"),
    ("csk-", "cerebras-key", rb"csk-[A-Za-z0-9]{32,}"),
    ("pa-", "voyage-key", rb"pa-[A-Za-z0-9_-]{40,}"),
    ("al-", "voyage-key", rb"al-[A-Za-z0-9_-]{40,}"),
    ("tvly-", "tavily-key", rb"tvly-[A-Za-z0-9_-]{20,}"),
    ("nvapi-", "nvidia-key", rb"nvapi-[A-Za-z0-9_-]{40,}"),
    ("pcsk_", "pinecone-key", rb"pcsk_[A-Za-z0-9_]{40,}"),
    ("jina_", "jina-key", rb"jina_[A-Za-z0-9_-]{40,}"),
    ("lsv2_", "langsmith-key", rb"lsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}"),
    ("dapi", "databricks-token", rb"dapi[0-9a-f]{32}(?:-[0-9])?(?![A-Za-z0-9])"),
    ("AKIA", "aws-key-id", rb"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("ASIA", "aws-key-id", rb"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("IQoJb3JpZ2lu", "aws-session-token", rb"IQoJb3JpZ2lu[A-Za-z0-9+/_-]{80,}={0,2}"),
    ("FwoGZXIvYXdz", "aws-session-token", rb"FwoGZXIvYXdz[A-Za-z0-9+/_-]{80,}={0,2}"),
    ("ABSK", "bedrock-key", rb"ABSK[A-Za-z0-9+/]{60,}={0,2}"),
    ("bedrock-api-key-", "bedrock-key", rb"bedrock-api-key-[A-Za-z0-9+/_-]{60,}={0,2}"),
    ("ghp_", "github-token", rb"ghp_[A-Za-z0-9]{30,}"),
    ("gho_", "github-token", rb"gho_[A-Za-z0-9]{30,}"),
    ("ghu_", "github-token", rb"ghu_[A-Za-z0-9]{30,}"),
    ("ghs_", "github-token", rb"ghs_[A-Za-z0-9]{30,}"),
    ("ghr_", "github-token", rb"ghr_[A-Za-z0-9]{30,}"),
    ("github_pat_", "github-token", rb"github_pat_[A-Za-z0-9_]{22,}"),
    ("glpat-", "gitlab-token", rb"glpat-[A-Za-z0-9_.-]{20,}"),
    ("xox", "slack-token", rb"xox[abeoprs]-[A-Za-z0-9.-]{16,}"),
    ("xapp-", "slack-token", rb"xapp-[A-Za-z0-9-]{20,}"),
    ("services/T", "slack-webhook", rb"services/T[A-Z0-9]{7,}/B[A-Z0-9]{7,}/[A-Za-z0-9]{20,}"),
    ("sk_", "stripe-key", rb"sk_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("sk_", "elevenlabs-key", rb"sk_[0-9a-f]{48}(?![A-Za-z0-9])"),
    ("rk_", "stripe-key", rb"rk_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("whsec_", "stripe-key", rb"whsec_[A-Za-z0-9+/=]{24,}"),
    ("npm_", "npm-token", rb"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    ("pypi-", "pypi-token", rb"pypi-[A-Za-z0-9_-]{32,}"),
    ("SG.", "sendgrid-key", rb"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}"),
    ("hvs.", "vault-token", rb"hvs\.[A-Za-z0-9_-]{24,}"),
    ("glsa_", "grafana-token", rb"glsa_[A-Za-z0-9_]{32,}"),
    ("dop_v1_", "digitalocean-token", rb"dop_v1_[0-9a-f]{64}"),
    ("shpat_", "shopify-token", rb"shpat_[0-9a-fA-F]{32}"),
    ("dckr_pat_", "docker-token", rb"dckr_pat_[A-Za-z0-9_-]{20,}"),
    ("AGE-SECRET-KEY-1", "age-key", rb"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    *SERVICES,
)

_STRICTLY = frozenset("sk- hf_ r8_ fw_ pa- al- csk- xai- sk_ rk_ 1//0 AQ. SG.".split()) | SERVICES_STRICTLY


def _table() -> dict[bytes, tuple[Shape, ...]]:
    table: dict[bytes, list[Shape]] = {}
    for prefix, kind, body in _ROWS:
        before = _STRICT if prefix in _STRICTLY and kind != "anthropic-key" else _LOOSE
        check = is_mixed if prefix in SERVICES_MIXED else _no_stand_in
        table.setdefault(prefix.encode(), []).append(Shape(kind, re.compile(before + body), check))
    table[b"sk-"].append(Shape("openai-key", re.compile(_STRICT + rb"sk-[A-Za-z0-9_-]{20,}"), _mixed))
    jwt = rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}"
    table[b"eyJ"] = [Shape("jwt", re.compile(_LOOSE + jwt), is_jwt)]
    return {prefix: tuple(shapes) for prefix, shapes in table.items()}


SHAPES = _table()
"""The shapes by the literal they begin with."""


def _any_of(prefixes: Iterable[bytes]) -> bytes:
    """One of these, by their first letter: there are many, and each is tried in turn."""
    by_letter: dict[bytes, list[bytes]] = {}
    for prefix in sorted(prefixes, key=len, reverse=True):
        by_letter.setdefault(prefix[:1], []).append(re.escape(prefix[1:]))
    return rb"(?:" + rb"|".join(first + rb"(?:" + rb"|".join(rest) + rb")" for first, rest in by_letter.items()) + rb")"


_ANY = _any_of(SHAPES)
PREFIX = re.compile(_ANY)
PREFIX_WITHIN = re.compile(rb"(?<![A-Za-z0-9])" + _ANY)
"""Where one may begin within a run of letters, digits and dashes."""
PREFIX_DOTTED = re.compile(
    _LOOSE + rb"(?:" + rb"|".join(re.escape(one) for one in SHAPES if one[-1:] == b".") + rb"|eyJ)"
)
"""Where one may begin whose first dot comes early: `ya29.`, `SG.`, JWTs with a short header."""
