"""Isolation: whose entries a request may be answered with.

A scope becomes part of the key, as a digest; the credential itself never leaves the process. No value can forge
another's scope: the parts of a scope are length-prefixed in the key and begin with the kind of isolation.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from .messages import Headers, Request

CREDENTIAL_HEADERS = frozenset(
    """
    authorization x-api-key api-key x-goog-api-key ocp-apim-subscription-key subscription-key x-portkey-api-key
    helicone-auth cf-aig-authorization
    """.split()
)
"""Headers that carry a credential and nothing that shapes the answer."""

CREDENTIAL_PARAMETERS = frozenset(
    "key api_key api-key apikey access_token token subscription-key ocp-apim-subscription-key sig signature".split()
)
"""Query parameters that carry a credential: never in the key as part of the URL, never stored."""

_ALSO_PRINCIPALS = frozenset({"x-portkey-virtual-key", "x-litellm-key", "x-functions-key", "cookie"})
_LOOKS_SECRET = re.compile(
    r"(?:^|[-_])(?:token|secret|credential|password|apikey|key|auth|authorization|authentication|assertion|jwt)s?$"
)
_NO_CREDENTIAL = frozenset(
    "proxy-authorization x-amz-security-token idempotency-key x-idempotency-key sec-websocket-key".split()
)
"""The proxy's own, the companion of a SigV4 key that already names its account, and keys of another kind."""

_ROTATING = ("ya29.", "sk-ant-oat", "gho_", "ghu_", "ghs_", "tid=", "sess-")
"""Bearer tokens that change and name nobody: Google, Claude and GitHub OAuth, Copilot."""

_SIGV4 = re.compile(r"AWS4-(?:HMAC|ECDSA-P256)\S* Credential=([A-Z0-9]+)/", re.ASCII)


class Unstable(ValueError):
    """The request carries a credential that names no stable principal."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """`kind` is `none`, `credential`, `proxy-user` or `header`; `header` names one in lower case."""

    kind: str
    header: str = ""

    @classmethod
    def parse(cls, text: str) -> Isolation:
        """`none`, `credential`, `proxy-user`, `header:NAME`. Raises ValueError."""
        kind, _, name = text.partition(":")
        if kind == "header" and re.fullmatch(r"[A-Za-z0-9-]+", name):
            return cls("header", name.lower())
        if kind in ("none", "credential", "proxy-user") and not name:
            return cls(kind)
        raise ValueError(f"ai_cache_isolate is {text!r}; write none, credential, proxy-user or header:NAME")

    def scope(self, request: Request, proxy_user: str | None) -> tuple[bytes, ...]:
        """What separates this request's entries from others'. Raises `Unstable`."""
        if self.kind == "none":
            return (b"none",)
        if self.kind == "proxy-user":
            if proxy_user is None:
                raise Unstable("no proxy user")
            return (b"proxy-user", proxy_user.encode("utf-8", "surrogateescape"))
        if self.kind == "header":
            return (b"header", self.header.encode(), request.headers.get(self.header).encode("utf-8", "surrogatepass"))
        return (b"credential", *principals(request))


def principals(request: Request) -> tuple[bytes, ...]:
    """Who the credentials of `request` stand for, stably over time. Raises `Unstable`."""
    found: list[bytes] = []
    for name in request.headers.names():
        if name in CREDENTIAL_HEADERS or name in _ALSO_PRINCIPALS:
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
    if token.startswith(_ROTATING):
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
