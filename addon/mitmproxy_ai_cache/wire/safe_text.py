"""What a user typed, as a message may quote it: never with a password in it, however the URL is misspelt.

A URL that is written wrongly has no borders to trust: `redis:/:secret@host` has no authority, and `/`, `?`, `#` or `@`
in a password end it early. So only a URL that has no place for a password is quoted in full. Of any other one the
scheme is shown, and that only if it is one we know.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

_PATHS = ("sqlite", "cassettes", "memory", "unix", "file")
_SERVERS = ("redis", "rediss", "http", "https", "socks", "socks4", "socks5", "socks5h", "valkey", "valkeys")
_SCHEME = re.compile(r"\s*([a-z][a-z0-9.-]{0,19}(?:\+[a-z]{1,10})?):", re.IGNORECASE)
_PLAIN = re.compile(
    r"[a-z][a-z0-9+.-]{0,20}://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:,[a-z0-9._-]+(?::[0-9]{1,5})?)*"
    r"(?:/[0-9]{0,5})?",
    re.IGNORECASE,
)
"""A URL without credentials, query and fragment. Its path is the number of a database: any other one may be a password,
as in `redis://user/secret`."""
_MISSPELT = re.compile(r"\s*['\"]?(?:redis|valkey|https?\b|socks|unix[^\w.-])", re.IGNORECASE)
_AT = re.compile(r"@|%40")
_COLON = re.compile(r":|%3a", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?:[:/]|%3a|%2f).*(?:@|%40)", re.IGNORECASE | re.DOTALL)
SECRETS = ("ai_cache_secret", "ai_cache_encryption_key", "ai_cache_dashboard_password")
"""Options whose values are never shown, and are better set in the environment."""
_SECRET_OPTIONS = (*SECRETS, "upstream_auth", "proxyauth")
_HIDDEN = "(not shown: it may hold a password)"


def safe_url(text: str) -> str:
    """`text`, meant as a URL, without anything that may be a password."""
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if scheme in _PATHS:
        is_path = scheme != "unix" or not _COLON.search(text.partition(":")[2])
        return text if is_path and not _CREDENTIALS.search(text) else f"{scheme}:..."
    if _PLAIN.fullmatch(text):
        return text
    known = scheme.partition("+")[0] in _SERVERS and scheme.partition("+")[2] in ("", "sentinel", "cluster")
    return f"{scheme}://..." if known else _HIDDEN


def may_hold_password(text: str) -> bool:
    """Whether `text` looks like a URL that has a place for one."""
    is_url = "://" in text or bool(_MISSPELT.match(text)) or bool(_CREDENTIALS.search(text))
    return is_url and not _is_path(text) and safe_url(text) != text


def _is_path(text: str) -> bool:
    """Whether it is a path with an `@` in it, as packages of npm have."""
    named = text.startswith(("/", "./", "../", "~/")) and not text.startswith("//")
    return not _COLON.search(text) and (named or ("/" in text and os.path.lexists(text)))


def quoted(value: object) -> str:
    """The value of a setting between quotation marks, or what of it may be said."""
    if isinstance(value, str) and (may_hold_password(value) or _AT.search(value)):  # no setting is an e-mail address
        return safe_url(value) if _SCHEME.match(value) else _HIDDEN
    return repr(value)


def safe_name(name: str) -> str:
    """The name of a setting that there is not, unless it is no name at all."""
    return name if re.fullmatch(r"[\w.-]{1,60}", name) else _HIDDEN


def scrubbed(message: str, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> str:
    """`message` without passwords of the command line and of the variables we read, where it quotes them.

    For messages that others make: argparse, the system, mitmproxy.
    """
    for text, shown in sorted(
        _told(sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ),
        key=lambda pair: -len(pair[0]),
    ):
        message = replaced(message, text, shown)
    return message


def replaced(message: str, text: str, shown: str) -> str:
    """`message` with `shown` for `text`, as it stands and as Python quotes it."""
    for form in (repr(text), repr(text)[1:-1], text, str(Path(text))):  # a Path has no double slashes
        message = message.replace(form, shown)
    return message


def _told(argv: Iterable[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each text that must not be quoted, and what to say instead."""
    for name, value in environ.items():
        if name.lower() in SECRETS and len(value) > 3:
            yield value, "..."
        elif name.startswith("AI_CACHE_") or name.lower().endswith("_proxy"):
            yield from ((value, safe_url(value)),) if may_hold_password(value) else ()
    for word in argv:
        value = word
        while value:
            name, separator, rest = value.partition("=")
            if separator and name.removeprefix("--set=") in _SECRET_OPTIONS and len(rest) > 3:
                yield rest, "..."
            # Behind each = there may be a value: --set=ai_cache_store=redis://...
            if (not separator or not re.fullmatch(r"-{0,2}\w[\w-]*", name)) and may_hold_password(value):
                yield value, safe_url(value)
                break
            value = rest


_UNSAFE = re.compile(r"[^\x20-\x7e]")


def one_line(text: str, limit: int = 120) -> str:
    """`text` for one log line or header: no control characters, nothing a terminal would act on."""
    clean = _UNSAFE.sub("?", text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."
