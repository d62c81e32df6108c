"""Whose entries may answer: one principal always has one scope, two never share one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mitmproxy_ai_cache.isolation import Isolation, Unstable, aws_account, principals, proxy_user
from mitmproxy_ai_cache.messages import Headers, Request

CREDENTIAL = Isolation("credential")


def request(*headers: tuple[str, str], query: str = "") -> Request:
    fields = Headers([("host", "api.openai.com"), *headers])
    return Request("POST", "https", "api.openai.com", 443, "/v1/chat/completions", query, fields)


def bearer(token: str) -> Request:
    return request(("Authorization", f"Bearer {token}"))


def scope(of: Request) -> tuple[bytes, ...]:
    return CREDENTIAL.scope(of, None)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def jwt(signature: str = "sig", algorithm: str = "RS256", **claims: Any) -> str:
    return f"{encoded({'typ': 'JWT', 'alg': algorithm})}.{encoded(claims)}.{signature}"


def access_key_id(account: int, rest: int = 0, prefix: str = "ASIA") -> str:
    """An access key id as AWS makes them: the account in bits 1 to 40."""
    number = (1 << 79) | (account << 39) | rest
    return prefix + base64.b32encode(number.to_bytes(10, "big")).decode()


def signed(key_id: str, day: str = "20260101", signature: str = "00") -> Request:
    value = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{day}/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )
    return request(("authorization", value), ("x-amz-date", f"{day}T000000Z"), ("x-amz-security-token", signature))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Isolation("none")),
        ("credential", Isolation("credential")),
        ("proxy-user", Isolation("proxy-user")),
        ("header:X-Team", Isolation("header", "x-team")),
    ],
)
def test_a_kind_of_isolation_is_named(text: str, expected: Isolation) -> None:
    assert Isolation.parse(text) == expected


@pytest.mark.parametrize("text", ["", "user", "header", "header:", "header:a b", "header:a:b", "none:x", "Credential"])
def test_any_other_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write none, credential, proxy-user or header:NAME"):
        Isolation.parse(text)


def test_without_isolation_everybody_shares() -> None:
    assert Isolation("none").scope(bearer("a"), "u") == Isolation("none").scope(bearer("b"), None)


# Credentials


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (bearer("sk-a"), request(("authorization", "bearer sk-a"))),
        (bearer("sk-a"), request(("AUTHORIZATION", "Bearer  sk-a "))),
        (bearer("sk-a"), request(("authorization", "Bearer sk-a"), ("user-agent", "x"), ("idempotency-key", "1"))),
        (bearer("sk-a"), request(("authorization", "Bearer sk-a"), ("proxy-authorization", "Basic eDp5"))),
        (request(query="key=a&alt=sse"), request(query="alt=json&KEY=a")),
        (request(("x-api-key", "a"), ("api-key", "b")), request(("api-key", "b"), ("x-api-key", "a"))),
        (bearer(jwt(iss="i", sub="s", exp=1)), bearer(jwt("other", iss="i", sub="s", exp=2, jti="x"))),
        (signed(access_key_id(123, 1)), signed(access_key_id(123, 2), "20260202", "ff")),
        (signed(access_key_id(123, prefix="AKIA")), signed(access_key_id(123, prefix="ASIA"))),
    ],
    ids=["scheme case", "white space", "other headers", "proxy's own", "query", "order", "JWT", "AWS", "AWS prefix"],
)
def test_one_principal_has_one_scope(one: Request, other: Request) -> None:
    assert scope(one) == scope(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (bearer("sk-a"), bearer("sk-b")),
        (bearer("sk-a"), bearer("SK-A")),
        (bearer("sk-a"), request()),
        (bearer("sk-a"), request(("x-api-key", "sk-a"))),
        (request(query="key=a"), request(query="key=b")),
        (request(query="key=a"), request(("x-goog-api-key", "a"))),
        (request(("x-api-key", "a"), ("api-key", "b")), request(("x-api-key", "b"), ("api-key", "a"))),
        (request(("x-api-key", "a"), ("authorization", "Bearer x")), request(("x-api-key", "a"))),
        (bearer(jwt(iss="i", sub="s")), bearer(jwt(iss="i", sub="t"))),
        (bearer(jwt(iss="i", sub="s")), bearer(jwt(iss="j", sub="s"))),
        (bearer(jwt(iss="a", sub="bc")), bearer(jwt(iss="ab", sub="c"))),
        (bearer(jwt(iss="i", sub="\u5f20\u4f1f")), bearer(jwt(iss="i", sub="\u674e\u5a1c"))),
        (signed(access_key_id(123)), signed(access_key_id(124))),
        (signed("AKIDEXAMPLE"), signed("AKIDOTHER")),
        (request(query=f"X-Amz-Credential={access_key_id(123)}%2F20260101"),
         request(query=f"X-Amz-Credential={access_key_id(124)}%2F20260101")),
    ],
    ids=[
        "keys", "case of keys", "none", "another header", "query", "query and header", "swapped", "one more",
        "subjects", "issuers", "no running together", "subjects beyond latin-1", "AWS accounts", "odd AWS ids",
        "presigned URLs",
    ],
)  # fmt: skip
def test_two_principals_never_share_a_scope(one: Request, other: Request) -> None:
    assert scope(one) != scope(other)


@pytest.mark.parametrize(
    ("forged", "victim"),
    [
        (bearer('jwt:["i","s"]'), bearer(jwt(iss="i", sub="s"))),
        (bearer("aws:000000000123"), signed(access_key_id(123))),
        (request(("authorization", "000000000123")), signed(access_key_id(123))),
        (request(("x-api-key", "a?key=b")), request(("x-api-key", "a"), query="key=b")),
        (request(query="key=a%26token=b"), request(query="key=a&token=b")),
    ],
    ids=["a key that looks like a JWT's principal", "a key that looks like an account", "account", "joined", "query"],
)
def test_no_value_forges_the_scope_of_another(forged: Request, victim: Request) -> None:
    assert scope(forged) != scope(victim)


@pytest.mark.parametrize(
    "unstable",
    [
        bearer("ya29.a0AfH6SM"),
        bearer("sk-ant-oat01-abc"),
        bearer("gho_abc"),
        bearer("tid=1;exp=2"),
        bearer(jwt(algorithm="none", iss="i", sub="s")),
        bearer(jwt(iss="i")),
        bearer(jwt(sub="s")),
        bearer("eyJ.not base64!.x"),
        bearer(f"eyJ.{encoded([1])}.x"),
        bearer(f"eyJ.{encoded('text')}.x"),
        request(("x-auth-token", "a")),
        request(("x-litellm-api-key", "a")),
        request(("x-client-secret", "a")),
        request(("X-Goog-IAM-Authorization-Token", "a")),
        request(("authorization", "Bearer sk-a"), ("my-password", "x")),
        request(query="access_token=ya29.abc"),
    ],
)
def test_a_credential_that_names_nobody_for_long_has_no_scope(unstable: Request) -> None:
    with pytest.raises(Unstable):
        scope(unstable)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("authorization", True),
        ("x-api-key", True),
        ("helicone-auth", True),
        ("x-session-token", True),
        ("cookie", True),
        ("x-functions-key", True),
        ("cf-access-jwt-assertion", True),
        ("session-id", False),
        ("proxy-authorization", False),
        ("x-amz-security-token", False),
        ("content-type", False),
        ("anthropic-beta", False),
        ("x-token-count", False),
        ("idempotency-key", False),
        ("x-author", False),
    ],
)
def test_headers_that_carry_a_credential_are_known_by_name(name: str, expected: bool) -> None:
    asked = Request("POST", "https", "h", 443, "/", headers=Headers([(name, "value")]))
    try:
        known = bool(principals(asked))
    except Unstable:
        known = True
    assert known is expected


@pytest.mark.parametrize(
    ("key_id", "account"),
    [
        ("ASIAQNZGKIQY56JQ7WML", "029608264753"),
        (access_key_id(1), "000000000001"),
        (access_key_id(999_999_999_999, (1 << 39) - 1), "999999999999"),
        ("AKIDEXAMPLE", "AKIDEXAMPLE"),
        ("", ""),
    ],
)
def test_the_account_stands_in_the_access_key_id(key_id: str, account: str) -> None:
    assert aws_account(key_id) == account


# Proxy users and headers


def test_a_proxy_user_is_a_scope_and_nobody_is_none() -> None:
    by_user = Isolation("proxy-user")
    assert by_user.scope(bearer("a"), "team-a") == by_user.scope(bearer("b"), "team-a")
    assert by_user.scope(bearer("a"), "team-a") != by_user.scope(bearer("a"), "team-b")
    with pytest.raises(Unstable):
        by_user.scope(bearer("a"), None)


def test_the_value_of_a_header_is_a_scope() -> None:
    by_team = Isolation.parse("header:X-Team")
    assert by_team.scope(request(("X-TEAM", "a")), None) == by_team.scope(request(("x-team", "a"), ("x-b", "c")), None)
    assert by_team.scope(request(("x-team", "a")), None) != by_team.scope(request(("x-team", "b")), None)
    assert by_team.scope(request(("x-team", "\xe9")), None) != by_team.scope(request(("x-team", "?")), None)


def test_kinds_of_isolation_share_no_scope() -> None:
    of = request(("x-team", "a"))
    kinds = [Isolation("none"), CREDENTIAL, Isolation("proxy-user"), Isolation("header", "x-team")]
    assert len({kind.scope(of, "a") for kind in kinds}) == len(kinds)


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (basic(b"team-a:x"), "team-a"),
        (basic(b"team-a:"), "team-a"),
        (basic(b"team-a"), "team-a"),
        (basic(b"team-a:x:y"), "team-a"),
        (basic("t\u00e9am:x".encode()), "t\u00e9am"),
        (basic(b"team-a:x").replace("Basic", "bAsIc"), "team-a"),
        (basic(b":x"), None),
        (basic(b""), None),
        (basic("t\u00e9am:x".encode("latin-1")), "t\u00e9am"),
        ("Basic not base64!", None),
        ("Basic", None),
        ("Bearer team-a", None),
        ("", None),
    ],
)
def test_the_proxy_user_is_read_from_basic_authorization(value: str, user: str | None) -> None:
    assert proxy_user(Headers([("Proxy-Authorization", value)] if value else [])) == user
