"""Whose entries may answer: one principal always has one scope, two never share one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.cli import credentials
from mitmproxy_ai_cache.identity.isolation import Isolation, NoPrincipal, Unstable, aws_account, principals, proxy_user
from mitmproxy_ai_cache.identity.keyless import KeylessHosts, parse_host
from mitmproxy_ai_cache.protocols.providers import PLACEHOLDER, variables
from mitmproxy_ai_cache.protocols.providers.clouds import AWS_KEY_ID
from mitmproxy_ai_cache.wire.messages import Headers, Request

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


@pytest.mark.parametrize(
    "text",
    ["", "user", "header", "header:", "header:a b", "header:a:b", "none:x", "Credential", ",", "credential,",
     "credential,auto", "none,credential", "credential header:x", "credential:x"],
)  # fmt: skip
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
        "keys", "case of keys", "another header", "query", "query and header", "swapped", "one more",
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
    with pytest.raises(NoPrincipal):
        by_user.scope(bearer("a"), None)


def test_the_value_of_a_header_is_a_scope() -> None:
    by_team = Isolation.parse("header:X-Team")
    assert by_team.scope(request(("X-TEAM", "a")), None) == by_team.scope(request(("x-team", "a"), ("x-b", "c")), None)
    assert by_team.scope(request(("x-team", "a")), None) != by_team.scope(request(("x-team", "b")), None)
    assert by_team.scope(request(("x-team", "\xe9")), None) != by_team.scope(request(("x-team", "?")), None)


def test_kinds_of_isolation_share_no_scope() -> None:
    of = request(("x-team", "a"), ("authorization", "Bearer sk-a"))
    kinds = [Isolation("none"), CREDENTIAL, Isolation("proxy-user"), Isolation("header", "x-team")]
    assert len({kind.scope(of, "a") for kind in kinds}) == len(kinds)


# Calls that do not say whose they are

DUMMIES = (
    *"EMPTY empty none None null ollama vllm lm-studio sk-no-key-required not-needed dummy fake xxx sk-xxx X".split(),
    *"sk-xxxxxxxxxxxxxxxxxxxxxxxx your-api-key YOUR_API_KEY sk-dummy sk-fake-key test sk-test placeholder".split(),
    *"unused nokey no-key no_key_required anything changeme token-abc123 sk-1234 1234567890 0000 localai".split(),
    *"llama.cpp tabbyAPI api-key key undefined *** <your-key-here> sk-proj-xxxx 'EMPTY' REDACTED-api-key".split(),
    "not needed", "insert your api key here", "", " ", '""',
)  # fmt: skip
REAL = (
    "sk-a", "a", "1", "12", "tenant-a", "alice", "sk-proj-4f9aQ2", "empty1", "nonesuch", "ollamas", "gsk_8dKq", "8bd1",
    "team-test", "\xe9", "sk-none-7",
)  # fmt: skip
CREDENTIALS: list[Callable[[str], Request]] = [
    bearer,
    lambda value: request(("Authorization", value)),
    lambda value: request(("x-api-key", value)),
    lambda value: request(("api-key", value)),
    lambda value: request(("x-goog-api-key", value)),
    lambda value: request(("authorization", basic(f"ollama:{value}".encode("latin-1")))),
    lambda value: request(query=f"key={quote(value)}"),
    lambda value: request(("authorization", "Bearer EMPTY"), ("x-api-key", value)),
]


@pytest.mark.parametrize("make", CREDENTIALS, ids=map(str, range(len(CREDENTIALS))))
def test_a_known_dummy_key_is_no_principal_wherever_it_stands(make: Callable[[str], Request]) -> None:
    for value in DUMMIES:
        with pytest.raises(NoPrincipal) as raised:
            scope(make(value))
        assert not isinstance(raised.value, Unstable), value


@pytest.mark.parametrize("make", CREDENTIALS, ids=map(str, range(len(CREDENTIALS))))
def test_any_other_key_is_a_principal(make: Callable[[str], Request]) -> None:
    assert len({scope(make(value)) for value in REAL}) == len(REAL)


def test_every_placeholder_that_a_replay_sets_is_no_principal(tmp_path: Path) -> None:
    values, _ = credentials.placeholders({each.name: "real" for each in variables() if each.add is False}, tmp_path)
    keys = [value for value in values.values() if PLACEHOLDER in value]
    assert len(keys) > 50
    for value in keys:
        with pytest.raises(NoPrincipal):
            scope(request(("authorization", f"Bearer {value}")))
    with pytest.raises(NoPrincipal):
        scope(signed(AWS_KEY_ID))


@given(st.text("abcdefghjkmnpqrstuvwyz23456789", min_size=20, max_size=60).filter(lambda key: len(set(key)) > 3))
def test_a_random_key_is_a_principal(key: str) -> None:
    assert scope(bearer(f"sk-{key}")) == (b"credential", f"authorization=key:sk-{key}".encode())


def test_without_a_key_there_is_no_scope_except_where_calls_without_one_may_share() -> None:
    with pytest.raises(NoPrincipal):
        scope(request())
    shared = CREDENTIAL.scope(request(), None, keyless=True)
    assert shared == CREDENTIAL.scope(bearer("EMPTY"), None, keyless=True) == (b"credential",)
    assert CREDENTIAL.scope(bearer("sk-a"), None, keyless=True) == scope(bearer("sk-a")) != shared


@pytest.mark.parametrize("value", [None, "", " ", "none", "null", "undefined", ", ", "-"])
def test_a_header_that_is_missing_or_says_nothing_is_no_principal(value: str | None) -> None:
    by_team = Isolation.parse("header:X-Team")
    sent = request() if value is None else request(("X-Team", value))
    with pytest.raises(NoPrincipal):
        by_team.scope(sent, None)
    assert by_team.scope(sent, None, keyless=True) == (b"header", b"x-team", b"")


def test_a_header_that_carries_a_key_is_no_principal_with_a_dummy_key() -> None:
    with pytest.raises(NoPrincipal):
        Isolation.parse("header:authorization").scope(bearer("ollama"), None)
    assert Isolation.parse("header:x-team").scope(request(("x-team", "ollama")), None)


BOTH = Isolation.parse("credential,header:x-tenant")


def tenant(key: str, name: str) -> Request:
    return request(*[("authorization", f"Bearer {key}")] * bool(key), *[("x-tenant", name)] * bool(name))


def test_several_kinds_are_named_in_any_order() -> None:
    assert Isolation.parse(" header:X-Tenant , credential") == BOTH
    assert str(BOTH) == "credential,header:x-tenant"
    assert Isolation.parse("credential,credential") == CREDENTIAL
    assert str(Isolation.parse("header:b,proxy-user,header:a")) == "header:a,header:b,proxy-user"


@pytest.mark.parametrize("lacking", [tenant("", "t"), tenant("sk-a", ""), tenant("", ""), tenant("EMPTY", "t")])
def test_every_kind_must_be_there(lacking: Request) -> None:
    with pytest.raises(NoPrincipal):
        BOTH.scope(lacking, None)


def test_a_host_without_keys_does_without_the_key_and_not_without_the_tenant() -> None:
    assert BOTH.scope(tenant("", "a"), None, keyless=True) == BOTH.scope(tenant("none", "a"), None, keyless=True)
    assert BOTH.scope(tenant("", "a"), None, keyless=True) != BOTH.scope(tenant("", "b"), None, keyless=True)
    with pytest.raises(NoPrincipal):
        BOTH.scope(tenant("", ""), None, keyless=True)


VALUES = st.text("ab=:?,1\xe9", min_size=1, max_size=4).map(lambda text: f"k{text}k")


@given(VALUES, VALUES, VALUES, VALUES)
def test_no_value_of_one_kind_forges_that_of_another(key: str, name: str, other_key: str, other_name: str) -> None:
    same = (key, name) == (other_key, other_name)
    assert (BOTH.scope(tenant(key, name), None) == BOTH.scope(tenant(other_key, other_name), None)) is same
    three = Isolation.parse("credential,header:x-tenant,proxy-user")
    assert three.scope(tenant(key, name), other_key) != BOTH.scope(tenant(key, name), None)
    assert (three.scope(tenant(key, name), name) == three.scope(tenant(key, name), other_name)) is (name == other_name)


def test_keys_under_a_single_kind_are_those_of_before() -> None:
    asked = request(("authorization", "Bearer sk-a"), ("x-api-key", "EMPTY"), ("x-team", "a"))
    assert scope(asked) == (b"credential", b"authorization=key:sk-a", b"x-api-key=key:EMPTY")
    assert Isolation.parse("header:x-team").scope(asked, None) == (b"header", b"x-team", b"a")
    assert Isolation.parse("proxy-user").scope(asked, "u") == (b"proxy-user", b"u")
    assert Isolation.parse("none").scope(asked, None) == (b"none",)


@pytest.mark.parametrize(
    ("named", "host", "shares"),
    [("ollama", "ollama", True), ("Ollama.", "ollama", True), ("ollama", "OLLAMA.", True), ("::1", "::1", True),
     ("[::1]", "::1", True), ("127.0.0.1", "127.0.0.1", True), ("ollama", "ollama2", False),
     ("ollama", "x.ollama", False), ("llm.example.com", "example.com", False)],
)  # fmt: skip
def test_hosts_without_keys_are_named_exactly(named: str, host: str, shares: bool) -> None:
    assert KeylessHosts(frozenset([parse_host(named)])).may_share(host) is shares


@pytest.mark.parametrize("text", ["", "*", "*.example.com", "ollama:11434", "http://ollama", "a b", "o?lama", "a/b"])
def test_a_host_without_keys_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="ai_cache_keyless_hosts"):
        parse_host(text)


def test_the_first_call_without_a_key_to_a_host_says_how_to_let_it_share(caplog: pytest.LogCaptureFixture) -> None:
    hosts = KeylessHosts(frozenset())
    for host in ("ollama", "ollama", "OLLAMA.", "vllm"):
        hosts.passed(host, CREDENTIAL)
    assert [line.partition("set ")[2] for line in caplog.messages] == [
        "ai_cache_keyless_hosts=ollama",
        "ai_cache_keyless_hosts=vllm",
    ]


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
