"""What a row of the table of providers says: hosts, credentials, keys, and in what a provider differs from others.

Lists of words are texts with blanks between the words. Hosts are globs: `*` stands for any characters, dots included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ...wire.messages import Response

PLACEHOLDER = "ai-cache-placeholder"
"""Part of every key that `ai-cache replay` sets: so that it is known for one that names nobody."""

BEARER, API_KEY, X_API_KEY = "authorization: Bearer ", "api-key: ", "x-api-key: "


@dataclass(frozen=True, slots=True)
class Key:
    """How a request authenticates, for the curl commands that are shown."""

    variable: str
    """The environment variable that the provider's own SDK reads."""
    header: str = BEARER
    """The header field up to where the key begins."""
    hosts: str = ""
    """Globs, where they are not the row's."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that `replay` sets: SDKs raise without a key, and a real one must not be spent."""

    name: str
    value: str = PLACEHOLDER
    add: bool | Callable[[Mapping[str, str]], bool] = True
    """Whether it is set where it is missing; a function is asked with the variables there are. Not where its presence
    makes an SDK choose another way to authenticate, or another host."""
    replace: bool = True
    """Whether another value is replaced."""
    cloud: bool = False
    """Not touched where real credentials are kept: those of clouds also come from files, roles and log-ins."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that is known by how it begins."""

    prefix: str
    """What it begins with: letters, digits, `-`, `_`, `/`; a dot at its end alone."""
    kind: str
    """Its placeholder is REDACTED-KIND: words of a-z and 0-9 with dashes between."""
    pattern: bytes
    """A regular expression for all of it, the prefix included: 20 characters or more, since shorter runs of letters and
    digits are not looked at."""
    strict: bool = False
    """A dash or an underscore before it makes it part of a longer word. For short prefixes, which turn up in base64."""
    looks: Literal["any", "random", "general"] = "any"
    """`random` where words and identifiers begin like it, too: the rest must look drawn at random. `general` is what is
    asked last of all with this prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider. Only `name` must be there; without hosts it is one that is reached through others, or a gateway at
    addresses of the user's own."""

    name: str
    docs: str = ""
    """The page that most of the row was read from."""

    hosts: str = ""
    """Its API. Here `record` keeps and `replay` answers everything."""
    domain: str = ""
    """Its domain, for `side_paths` and `error`; they hold for all hosts below it."""
    side_paths: str = ""
    """Beginnings of paths that its clients use beside their calls: settings, flags, telemetry. Passed, never kept."""
    error: Callable[[int, str, str], Response] | None = None
    """An error of `domain` that its SDKs can show, of status, code and message; without it one like OpenAI's."""

    keys: tuple[Key, ...] = ()
    variables: tuple[Variable, ...] = ()
    secrets: tuple[Secret, ...] = ()

    credential_headers: str = ""
    """Beside Authorization: headers that carry a credential and nothing that shapes the answer."""
    principal_headers: str = ""
    """Headers that carry a further key, which tells whose call it is, too."""
    redacted_headers: str = ""
    """Headers that carry another secret."""
    rotating: str = ""
    """Beginnings of bearer tokens that change by the hour and name nobody."""
    key_headers: str = ""
    """Beginnings of headers that shape the answer in every protocol: what a gateway routes and rewrites by."""
    answer_headers: str = ""
    """Headers of its answers that SDKs show or need; they are stored."""

    no_done: str = ""
    """Hosts that never send `data: [DONE]`, or only with some backends."""
    prices: str = ""
    """The provider's id in genai-prices, for hosts that genai-prices does not know by their URL."""
