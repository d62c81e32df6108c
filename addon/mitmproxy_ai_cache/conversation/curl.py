"""An entry -> a curl command that asks the same. No secret is in it: the credential is a variable of the shell."""

from __future__ import annotations

import base64
import re
import shlex
from urllib.parse import urlsplit

from ..entries.entry import Entry
from ..protocols.providers import Key, credential_headers, key_of

_LONGEST = 60_000
"""Bytes of a body in the command line itself; Linux takes 128 KiB for one argument."""
_LINE = 76
"""Characters of base64 in a line."""

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
"""What every reader of URLs takes for the same host: no user, no backslash."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_ANYWHERE = Key("API_KEY")
"""Of a host that is no provider's: it must not be sent a key of one of those."""


class NoCommand(ValueError):
    """There is no command that asks the same. One line for a user."""


def command(entry: Entry) -> str:
    """A command for a POSIX shell. Raises `NoCommand`."""
    scheme, _, rest = entry.url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme not in ("http", "https") or not _AUTHORITY.fullmatch(authority) or not entry.url.isprintable():
        raise NoCommand("this URL is not for curl; write the request to a file with --request")
    if not _HEADER.fullmatch(entry.method):
        raise NoCommand("this method is not for curl; write the request to a file with --request")
    words = ["curl", "--silent", "--show-error", "--globoff", "--path-as-is"]
    if entry.stream:
        words.append("--no-buffer")
    words += ["--head"] if entry.method == "HEAD" else ["--request", shlex.quote(entry.method)]
    lines = [" ".join(words), f"--url {shlex.quote(entry.url)}"]
    fields = [(name, value) for name, value in entry.request_headers if _may_be_sent(name, value)]
    lines += [f"--header {shlex.quote(_field(name, value))}" for name, value in fields]
    if entry.request and not any(name.lower() == "content-type" for name, _ in fields):
        lines.append("--header content-type:")  # curl would make one up
    lines += _credential(entry.url)
    if not entry.request:
        return _joined(lines)
    if (text := _quotable(entry.request)) is not None:
        return _joined([*lines, f"--data-raw {shlex.quote(text)}"])
    return _piped(lines, entry.request)


def _may_be_sent(name: str, value: str) -> bool:
    return bool(_HEADER.fullmatch(name)) and name.lower() not in credential_headers() and value.isprintable()


def _field(name: str, value: str) -> str:
    """As curl takes it: an empty value is written with a semicolon."""
    return f"{name}: {value}" if value.strip() else f"{name};"


def _credential(url: str) -> list[str]:
    """The header that authenticates, a variable in it; none where there is no TLS."""
    if not url.startswith("https://"):
        return []
    host = (urlsplit(url).hostname or "").lower()
    key = key_of(host) or _ANYWHERE
    return [f'--header "{key.header}${key.variable}"']


def _quotable(body: bytes) -> str | None:
    """The body as text that a shell and a terminal pass on unchanged, or None."""
    if len(body) > _LONGEST:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", "").isprintable() else None


def _joined(lines: list[str]) -> str:
    return " \\\n  ".join(lines)


def _piped(lines: list[str], body: bytes) -> str:
    """The body as base64, in a here-document: it may be long, and hold anything."""
    encoded = base64.b64encode(body).decode()
    rows = "\n".join(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE))
    return f"base64 -d <<'END' | {_joined([*lines, '--data-binary @-'])}\n{rows}\nEND"
