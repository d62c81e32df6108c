"""Isolation: whose entries a request may be answered with.

A scope becomes part of the key, as a digest; the credential itself never leaves the process. No value can forge
another's scope: the parts of a scope are length-prefixed in the key and begin with the kind of isolation. A request
that lacks what keeps entries apart has no scope.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ..protocols.providers import credential_headers, principal_headers, rotating_tokens
from ..wire.credentials import CREDENTIAL_PARAMETERS
from ..wire.messages import Headers, Request
from ..wire.safe_text import quoted
from .dummy_keys import is_dummy, is_no_value

_LOOKS_SECRET = re.compile(
    r"(?:^|[-_])(?:token|secret|credential|password|apikey|key|auth|authorization|authentication|assertion|jwt)s?$"
)
_NO_CREDENTIAL = frozenset(
    "proxy-authorization x-amz-security-token idempotency-key x-idempotency-key sec-websocket-key".split()
)
"""The proxy's own, the companion of a SigV4 key that already names its account, and keys of another kind."""

_SIGV4 = re.compile(r"AWS4-(?:HMAC|ECDSA-P256)\S* Credential=([A-Z0-9]+)/", re.ASCII)


class NoPrincipal(ValueError):
    """The request does not say whose call it is."""


class Unstable(NoPrincipal):
    """The request carries a credential that names no stable principal."""


_FORMS = "none, credential, proxy-user or header:NAME, or several with commas, for example credential,header:x-tenant"


@dataclass(frozen=True, slots=True)
class Isolation:
    """`kind` is `none`, `credential`, `proxy-user` or `header`; `header` names one in lower case.

    With `more` a request needs a principal of each kind.
    """

    kind: str
    header: str = ""
    more: tuple[Isolation, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Isolation:
        """`none`, or one or more of `credential`, `proxy-user`, `header:NAME`, in any order. Raises ValueError."""
        parts = [part.strip() for part in text.split(",")]
        members = sorted({_member(part, text) for part in parts}, key=str)
        if len(members) > 1 and "none" in (member.kind for member in members):
            raise ValueError(f"ai_cache_isolate is {quoted(text)}, and none stands alone; write {_FORMS}")
        return cls(members[0].kind, members[0].header, tuple(members[1:]))

    def __str__(self) -> str:
        """As the option is written."""
        own = f"{self.kind}:{self.header}" if self.header else self.kind
        return ",".join([own, *map(str, self.more)])

    @property
    def members(self) -> tuple[Isolation, ...]:
        return (Isolation(self.kind, self.header), *self.more) if self.more else (self,)

    def by(self, kind: str) -> bool:
        """Whether entries are kept apart by this kind of principal."""
        return self.kind == kind or any(member.kind == kind for member in self.more)

    def scope(self, request: Request, proxy_user: str | None, keyless: bool = False) -> tuple[bytes, ...]:
        """What separates this request's entries from others'. Raises `NoPrincipal`, or `Unstable`.

        With `keyless` calls without a key have a scope of their own, which they share.
        """
        if not self.more:
            return self._own_scope(request, proxy_user, keyless)
        found = [b"members"]
        for member in self.members:
            # A tenant's header is no key: beside others it has to be there.
            parts = member._own_scope(request, proxy_user, keyless and member.kind == "credential")
            found += [b"%d" % len(parts), *parts]
        return tuple(found)

    def _own_scope(self, request: Request, proxy_user: str | None, keyless: bool) -> tuple[bytes, ...]:
        if self.kind == "none":
            return (b"none",)
        if self.kind == "proxy-user":
            if proxy_user is None:
                raise NoPrincipal("no proxy user")
            return (b"proxy-user", proxy_user.encode("utf-8", "surrogateescape"))
        if self.kind == "header":
            return (b"header", self.header.encode(), self._value(request, keyless).encode("utf-8", "surrogatepass"))
        if has_credential(request):
            return (b"credential", *principals(request))
        if not keyless:
            raise NoPrincipal("no credential")
        return (b"credential",)

    def _value(self, request: Request, keyless: bool) -> str:
        """That of the header."""
        value = request.headers.get(self.header)
        carries_key = self.header in credential_headers() or _may_be_credential(self.header)
        if not (is_no_value(value) or (carries_key and is_dummy(value))):
            return value
        if not keyless:
            raise NoPrincipal(f"no {self.header}")
        return ""


def _member(part: str, text: str) -> Isolation:
    kind, _, name = part.partition(":")
    if kind == "header" and re.fullmatch(r"[A-Za-z0-9-]+", name):
        return Isolation("header", name.lower())
    if kind in ("none", "credential", "proxy-user") and not name and part == kind:
        return Isolation(kind)
    raise ValueError(f"ai_cache_isolate is {quoted(text)}; write {_FORMS}")


def has_credential(request: Request) -> bool:
    """Whether a credential of `request` may name somebody: none of them is there, is empty or is a known dummy."""
    for name in request.headers.names():
        if (name in credential_headers() or _may_be_credential(name)) and not is_dummy(request.headers.get(name)):
            return True
    for name, value in parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"):
        if name.lower() in CREDENTIAL_PARAMETERS and not is_dummy(value):
            return True
        if name.lower() == "x-amz-credential" and not is_dummy(value.partition("/")[0]):
            return True
    return False


def _may_be_credential(name: str) -> bool:
    return _is_principal(name) or (_LOOKS_SECRET.search(name) is not None and name not in _NO_CREDENTIAL)


def _is_principal(name: str) -> bool:
    return name == "cookie" or name in principal_headers()


def principals(request: Request) -> tuple[bytes, ...]:
    """Who the credentials of `request` stand for, stably over time. Raises `Unstable`."""
    found: list[bytes] = []
    for name in request.headers.names():
        if name in credential_headers() or _is_principal(name):
            found.append(name.encode() + b"=" + _principal(request.headers.get(name)).encode("utf-8", "surrogatepass"))
        elif _LOOKS_SECRET.search(name) and name not in _NO_CREDENTIAL:
            raise Unstable(f"unknown credential header {name}")
    # latin-1 reads every byte as itself; utf-8 would read two broken keys as one
    for name, value in parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"):
        if name.lower() in CREDENTIAL_PARAMETERS:
            found.append(b"?" + name.lower().encode() + b"=" + _principal(value).encode("utf-8", "surrogatepass"))
        elif name.lower() == "x-amz-credential":
            found.append(b"aws=" + aws_account(value.partition("/")[0]).encode("utf-8", "surrogatepass"))
    return tuple(sorted(found))


def is_claim(principal: bytes) -> bool:
    """Whether somebody else could write this principal too: AWS key ids are public, and nobody here checks a JWT."""
    return b"=jwt:" in principal or b"=aws" in principal


def _principal(value: str) -> str:
    if match := _SIGV4.match(value):
        return "aws:" + aws_account(match[1])
    token = value.partition(" ")[2].strip() if value.lower().startswith("bearer ") else value
    if token.startswith(rotating_tokens()):
        raise Unstable("a token that rotates")
    if token.startswith("eyJ") and token.count(".") == 2:
        return _jwt_principal(token)
    return "key:" + token


def _jwt_principal(token: str) -> str:
    try:
        head, claims = (_decoded(part) for part in token.split(".")[:2])
        if head.get("alg", "none").lower() != "none":
            return f"jwt:{orjson.dumps([claims['iss'], claims['sub']]).decode()}"
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise Unstable("a JWT without signature, issuer or subject")


def _decoded(part: str) -> Any:
    return orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def aws_account(access_key_id: str) -> str:
    """The twelve digits of the account in an access key id (AWS encodes it in bits 1 to 40 after the prefix).

    Temporary keys of one account change every hour and stand for the same account. Ids of another shape stand for
    themselves.
    """
    if not re.fullmatch(r"A[KS]IA[A-Z2-7]{16}", access_key_id):
        return access_key_id
    first = int.from_bytes(base64.b32decode(access_key_id[4:] + "=" * (-len(access_key_id[4:]) % 8))[:6], "big")
    return f"{(first & 0x7FFFFFFFFF80) >> 7:012d}"


def proxy_user(headers: Headers) -> str | None:
    """The user of a Basic `Proxy-Authorization`, or None. Without mitmproxy's `proxyauth` it is a claim, no proof."""
    scheme, _, value = headers.get("proxy-authorization").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        named = base64.b64decode(value.strip(), validate=True)
    except ValueError:
        return None
    try:
        user = named.decode("utf-8").partition(":")[0]
    except UnicodeDecodeError:
        user = named.decode("latin-1").partition(":")[0]  # as requests and urllib3 write a name beyond ASCII
    return user or None
