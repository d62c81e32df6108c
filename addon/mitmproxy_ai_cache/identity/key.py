"""The key: SHA-256 over length-prefixed parts. Two requests share a key only if they are the same call.

Deny-list, never allow-list: every member of a body counts unless a provider documents that it does not
shape the answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote

from ..protocols.base import Call, Protocol
from ..protocols.providers import credential_headers, key_header_prefixes
from ..wire.body import Body
from ..wire.credentials import CREDENTIAL_PARAMETERS
from ..wire.json_body import NotCanonical
from ..wire.messages import Request
from ..wire.safe_text import quoted
from .canonical import Rules, drop, encode, parse_path
from .profiles import Profile, add_rules

SCHEMA = b"ai-cache/1"
"""Version of the key. A release that changes what a key is made of changes it."""

_SIGNED_PARAMETERS = "x-amz-"
"""Query parameters of a presigned URL (SigV4): dates and signatures, never the call itself."""


Address = tuple[str, str, int, str, str, str]
"""Scheme, host, port, authority, Host header and path of a request."""


@dataclass(frozen=True, slots=True)
class Alias:
    """Requests to addresses that match `pattern` share entries under `name` (laptop and CI, two Azure resources)."""

    pattern: re.Pattern[str]
    name: str
    of_path: bool

    @classmethod
    def parse(cls, text: str) -> Alias:
        """`GLOB=NAME`; a glob that begins with `/` is matched against the path, any other against the host."""
        glob, separator, name = text.partition("=")
        if not (separator and glob and name):
            raise ValueError(
                f"ai_cache_alias has {quoted(text)}; write GLOB=NAME, for example *.openai.azure.com=azure"
            )
        return cls(re.compile(translate(glob)), name, glob.startswith("/"))


@dataclass(frozen=True, slots=True)
class Normalize:
    """A regular expression that is replaced in every string of the body, for the key only."""

    pattern: re.Pattern[str]
    replacement: str

    @classmethod
    def parse(cls, text: str) -> Normalize:
        """`PATTERN=REPLACEMENT`, split at the last `=`."""
        pattern, separator, replacement = text.rpartition("=")
        try:
            if not (separator and pattern):
                raise re.error("no =")
            compiled = re.compile(pattern)
            compiled.sub(replacement, "")
        except (re.error, IndexError) as error:
            raise ValueError(
                f"ai_cache_normalize has {quoted(text)} ({error}); write PATTERN=REPLACEMENT, for "
                f"example run-\\d+=run-N"
            ) from None
        return cls(compiled, replacement)

    def apply(self, text: str) -> str:
        return self.pattern.sub(self.replacement, text)


@dataclass(frozen=True)
class KeyRules:
    """What the user and the client profiles add to the protocols' own rules."""

    headers: tuple[str, ...] = ()
    ignore: tuple[tuple[str, ...], ...] = ()
    normalize: tuple[Normalize, ...] = ()
    aliases: tuple[Alias, ...] = ()
    profiles: tuple[Profile, ...] = ()
    secret: bytes = field(default=b"", repr=False)
    _compiled: dict[tuple[Protocol, tuple[Profile, ...]], Rules | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def rules_for(self, call: Call) -> Rules | None:
        """The tree of paths that are left out of or rewritten in this call's body."""
        fitting = tuple(
            profile
            for profile in self.profiles
            if profile.protocol == call.protocol.name and profile.applies(call.body.json)
        )
        compiled = (call.protocol, fitting)
        if compiled not in self._compiled:
            self._compiled[compiled] = self._compile(*compiled)
        return self._compiled[compiled]

    def _compile(self, protocol: Protocol, profiles: tuple[Profile, ...]) -> Rules | None:
        if not (protocol.ignored or self.ignore or profiles):
            return None
        rules = Rules()
        for path in (*map(parse_path, protocol.ignored), *self.ignore):
            rules.add(path, drop)
        for profile in profiles:
            add_rules(rules, profile)
        return rules

    def normalized(self, text: str) -> str:
        for rule in self.normalize:
            text = rule.apply(text)
        return text


def fingerprint(call: Call, request: Request, scope: Iterable[bytes], rules: KeyRules) -> str:
    """The key, 64 hex digits. `scope` is the isolation scope and the namespace."""
    kind, body = body_bytes(call, rules)
    head = _head(
        tuple(scope),
        request.method,
        _address(request),
        rules.aliases,
        public_query(request.query),
        call.protocol.name,
        call.stream,
        tuple(header_lines(call, request, rules.headers)),
        kind,
    )
    digest = hmac.new(rules.secret, digestmod=hashlib.sha256) if rules.secret else hashlib.sha256()
    digest.update(head)
    digest.update(len(body).to_bytes(8, "big"))
    digest.update(body)  # by itself: the body may be long, and joining would copy it
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _head(
    scope: tuple[bytes, ...],
    method: str,
    address: Address,
    aliases: tuple[Alias, ...],
    query: str,
    protocol: str,
    stream: bool,
    headers: tuple[bytes, ...],
    kind: bytes,
) -> bytes:
    """All that is before the body in what the key is computed of. A client's calls seldom differ in it."""
    target, path = _target(address, aliases)
    parts = [
        SCHEMA,
        *_counted(scope),
        _bytes(method),
        *target,
        _bytes(path),
        _bytes(query),
        protocol.encode(),
        b"stream" if stream else b"whole",
        *_counted(headers),
        kind,
    ]
    return b"".join([len(part).to_bytes(8, "big") + part for part in parts])


def body_bytes(call: Call, rules: KeyRules) -> tuple[bytes, bytes]:
    """The kind of the body and the bytes it counts by."""
    body = call.body
    if body.kind == "json":
        try:
            normalize = rules.normalized if rules.normalize else None
            return b"json", encode(body.json, rules.rules_for(call), normalize)
        except NotCanonical:
            return b"raw", body.raw
    if body.kind == "multipart":
        return b"multipart", _multipart(body)
    return b"raw", body.raw


def _multipart(body: Body) -> bytes:
    fields = [part for item in body.parts for part in (item.head, item.data)]
    return b"".join(len(part).to_bytes(8, "big") + part for part in fields)


def _bytes(text: str) -> bytes:
    """Text to bytes without two texts becoming one: lone surrogates pass."""
    return text.encode("utf-8", "surrogatepass")


def _counted(parts: Iterable[bytes]) -> list[bytes]:
    """A list as parts of its own that begins with its length: no list can run into what follows it."""
    items = list(parts)
    return [len(items).to_bytes(4, "big"), *items]


def target_of(request: Request, aliases: Iterable[Alias]) -> tuple[list[bytes], str]:
    """Scheme, address and Host header, or the alias that stands for them; and the path."""
    return _target(_address(request), aliases)


def _address(request: Request) -> Address:
    return request.scheme, request.host, request.port, request.authority, request.headers.get("host"), request.path


def _target(address: Address, aliases: Iterable[Alias]) -> tuple[list[bytes], str]:
    scheme, host, port, authority, host_header, path = address
    target = [
        scheme.encode(),
        _bytes(host.lower()),
        str(port).encode(),
        *sorted({_bytes(name.lower()) for name in (authority, host_header) if name}),
    ]
    for alias in aliases:
        if alias.of_path and alias.pattern.match(path):
            path = alias.name
        elif not alias.of_path and alias.pattern.match(host):
            target = [b"alias", _bytes(alias.name)]
    return _counted(target), path


def public_query(query: str) -> str:
    """The query without credentials and signatures, its parameters in the order they came. May be stored and shown."""
    if not query:
        return ""
    names = ((pair, unquote(pair.partition("=")[0]).lower()) for pair in query.split("&"))
    return "&".join(
        pair for pair, name in names if name not in CREDENTIAL_PARAMETERS and not name.startswith(_SIGNED_PARAMETERS)
    )


def counting_headers(call: Call, request: Request, more: tuple[str, ...]) -> list[tuple[str, str]]:
    """Those header fields of the request that shape the answer, in the order they came; `more` are the user's."""
    protocol, prefixes, credentials = call.protocol, key_header_prefixes(), credential_headers()
    return [
        (name, request.headers.get(name))
        for name in request.headers.names()
        if name in protocol.key_headers or name in more or (name.startswith(prefixes) and name not in credentials)
    ]


def header_lines(call: Call, request: Request, more: tuple[str, ...]) -> list[bytes]:
    """Headers that shape the answer as `name=value`; lists split, trimmed and sorted."""
    lines = []
    for name, value in counting_headers(call, request, more):
        values = sorted(item.strip() for item in value.split(","))
        lines.append(_bytes(f"{name}={','.join(values)}"))
    if call.body.kind == "raw" and call.body.raw:
        lines.append(_bytes(f"content-type={request.headers.get('content-type')}"))
    return sorted(lines)
