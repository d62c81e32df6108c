"""Secrets out of what is stored: keys, tokens, passwords and cookies become placeholders that tell their kind alone.

It runs before the key of a request is made and before an entry is kept, so that a recording made with one key answers
whoever has another. Pure: bytes and values in, values out.

    redact(body)             a body, or any bytes
    redact_request(request)  path, query, headers and body of a request
    redact_url(url), redact_headers(headers), redact_fields(pairs)
    credentials_of(request)  patterns for its own credentials, which an answer may repeat
    parse_pattern(text)      a user's own `NAME=REGEX`
    prepare()                compiles the patterns, which the first call would wait for

What it does not know: passwords that are words (`{"password": "mellon"}`), keys without a prefix, a name or a scheme
before them, text within PDFs, archives and images. Users name what is theirs with `ai_cache_redact`.
"""

from __future__ import annotations

from .body import Finding, Redacted, redact
from .http import (
    RedactedHeaders,
    RedactedRequest,
    RedactedText,
    credentials_of,
    redact_fields,
    redact_headers,
    redact_request,
    redact_url,
)
from .kinds import known as prepare
from .patterns import Pattern, parse_pattern, placeholder
from .version import redaction_rules

__all__ = [
    "Finding",
    "Pattern",
    "Redacted",
    "RedactedHeaders",
    "RedactedRequest",
    "RedactedText",
    "credentials_of",
    "parse_pattern",
    "placeholder",
    "prepare",
    "redact",
    "redact_fields",
    "redact_headers",
    "redact_request",
    "redact_url",
    "redaction_rules",
]
