"""Who may hit whose entries: every isolation on a real mitmdump, tenant against tenant, and seven real clients."""

# ruff: noqa: E501 the table has one line a row
from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import answers
from harness import FakeProviders, Process, mitmdump, plain_environ
from unit.identity.test_isolation import access_key_id, jwt, signed

pytestmark = pytest.mark.slow

OPENAI, ANTHROPIC, GEMINI = "api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    OPENAI: ("/v1/chat/completions", {"model": "m", "messages": []}),
    ANTHROPIC: ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": []}),
    GEMINI: ("/v1beta/models/g:generateContent", {"contents": []}),
    BEDROCK: ("/model/m/converse", {"messages": []}),
}


@dataclass(frozen=True)
class Tenant:
    """What one client sends beside its call."""

    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    user: str = ""
    """`user:password` of the proxy; nothing where there is none."""
    host: str = OPENAI

    def __and__(self, other: Tenant) -> Tenant:
        return Tenant(self.headers + other.headers, self.query or other.query, self.user or other.user, self.host)


def header(name: str, value: str, host: str = OPENAI) -> Tenant:
    return Tenant(((name, value),), host=host)


def bearer(token: str) -> Tenant:
    return header("Authorization", f"Bearer {token}")


def space(name: str) -> Tenant:
    return header("X-AI-Cache-Namespace", name)


def team(name: str) -> Tenant:
    return header("X-Team", name)


def user(name: str) -> Tenant:
    return Tenant(user=name)


def goog(key: str) -> Tenant:
    return header("x-goog-api-key", key, GEMINI)


def query(key: str) -> Tenant:
    return Tenant(query=f"key={key}", host=GEMINI)


def anthropic(key: str) -> Tenant:
    return header("x-api-key", key, ANTHROPIC)


def aws(key_id: str, day: str = "20260101") -> Tenant:
    return Tenant(tuple(signed(key_id, day).headers.fields[1:]), host=BEDROCK)


def basic(name: str) -> Tenant:
    """A proxy user named inside the tunnel, where no client does it."""
    return header("Proxy-Authorization", "Basic " + base64.b64encode(name.encode()).decode())


NOBODY = Tenant()
UNSTABLE = "BYPASS unstable-credential"
NO_CREDENTIAL = "BYPASS no-credential"

PROXIES: dict[str, tuple[str, ...]] = {
    "none": ("ai_cache_isolate=none",),
    "credential": ("ai_cache_isolate=credential",),
    "header": ("ai_cache_isolate=header:x-team",),
    "keyless host": ("ai_cache_isolate=credential", f"ai_cache_keyless_hosts={OPENAI}"),
    "both": ("ai_cache_isolate=credential,header:x-team",),
    "both with user": ("ai_cache_isolate=header:x-team,proxy-user",),
    "proxy-user": ("ai_cache_isolate=proxy-user",),
    "proxyauth": ("ai_cache_isolate=proxy-user", "proxyauth=@HTPASSWD"),
    "auto, loopback": (),
    "auto, 0.0.0.0": ("listen_host=0.0.0.0",),
}

HIT, MISS = "HIT", "MISS"
SUBJECT = {"iss": "https://idp", "sub": "alice"}
ROWS: list[tuple[str, str, Tenant, Tenant, str, str]] = [
    # proxy, what the second tenant is to the first one, the two, and what each of them gets
    ("none", "another key", bearer("sk-a"), bearer("sk-b"), MISS, HIT),
    ("none", "a rotating token", bearer("ya29.a"), bearer("ya29.b"), MISS, HIT),
    ("none", "another team", team("a"), team("b"), MISS, HIT),
    ("none", "another proxy user", user("a:x"), user("b:x"), MISS, HIT),
    ("none", "no credential", bearer("sk-a"), NOBODY, MISS, HIT),
    ("none", "another namespace", space("a"), space("b"), MISS, MISS),
    ("none", "the same namespace", space("a"), space("a"), MISS, HIT),
    ("none", "a namespace that looks like a scope", NOBODY, space("none"), MISS, MISS),
    ("none", "an empty namespace", NOBODY, space(""), MISS, HIT),
    ("credential", "the same key", bearer("sk-a"), bearer("sk-a"), MISS, HIT),
    ("credential", "another key", bearer("sk-a"), bearer("sk-b"), MISS, MISS),
    ("credential", "the same key in another case", bearer("sk-a"), bearer("SK-A"), MISS, MISS),
    ("credential", "the same x-api-key", anthropic("a"), anthropic("a"), MISS, HIT),
    ("credential", "another x-api-key", anthropic("a"), anthropic("b"), MISS, MISS),
    ("credential", "the same x-goog-api-key", goog("a"), goog("a"), MISS, HIT),
    ("credential", "another x-goog-api-key", goog("a"), goog("b"), MISS, MISS),
    ("credential", "the same ?key=", query("a"), query("a"), MISS, HIT),
    ("credential", "another ?key=", query("a"), query("b"), MISS, MISS),
    ("credential", "the same value as ?key=", goog("a"), query("a"), MISS, MISS),
    ("credential", "broken UTF-8 in ?key=", query("%FE"), query("%FF"), MISS, MISS),
    (
        "credential",
        "the same subject, rotated",
        bearer(jwt("x", **SUBJECT, exp=1)),
        bearer(jwt("y", **SUBJECT, exp=2)),
        MISS,
        HIT,
    ),
    ("credential", "another subject", bearer(jwt(**SUBJECT)), bearer(jwt(iss="https://idp", sub="bob")), MISS, MISS),
    ("credential", "another issuer", bearer(jwt(**SUBJECT)), bearer(jwt(iss="https://evil", sub="alice")), MISS, MISS),
    (
        "credential",
        "a JWT of no algorithm",
        bearer(jwt(**SUBJECT)),
        bearer(jwt(algorithm="none", **SUBJECT)),
        MISS,
        UNSTABLE,
    ),
    (
        "credential",
        "a key that looks like its subject",
        bearer(jwt(**SUBJECT)),
        bearer('jwt:["https://idp","alice"]'),
        MISS,
        MISS,
    ),
    (
        "credential",
        "the same AWS account, rotated",
        aws(access_key_id(1, 1)),
        aws(access_key_id(1, 2), "20260202"),
        MISS,
        HIT,
    ),
    ("credential", "another AWS account", aws(access_key_id(1)), aws(access_key_id(2)), MISS, MISS),
    (
        "credential",
        "a key that looks like an account",
        aws(access_key_id(1)),
        header("Authorization", "aws:000000000001", BEDROCK),
        MISS,
        MISS,
    ),
    ("credential", "a rotating token", bearer("ya29.a"), bearer("ya29.a"), UNSTABLE, UNSTABLE),
    ("credential", "a key against a token", bearer("sk-a"), bearer("ya29.a"), MISS, UNSTABLE),
    (
        "credential",
        "an unknown credential",
        header("X-Auth-Token", "a"),
        header("X-Auth-Token", "a"),
        UNSTABLE,
        UNSTABLE,
    ),
    ("credential", "nobody and nobody", NOBODY, NOBODY, NO_CREDENTIAL, NO_CREDENTIAL),
    ("credential", "nobody", bearer("sk-a"), NOBODY, MISS, NO_CREDENTIAL),
    ("credential", "an empty key", NOBODY, bearer(""), NO_CREDENTIAL, NO_CREDENTIAL),
    ("credential", "a dummy key", bearer("EMPTY"), bearer("EMPTY"), NO_CREDENTIAL, NO_CREDENTIAL),
    ("credential", "a dummy ?key=", query("not-needed"), query("not-needed"), NO_CREDENTIAL, NO_CREDENTIAL),
    ("keyless host", "nobody and nobody", NOBODY, NOBODY, MISS, HIT),
    ("keyless host", "a dummy key and nobody", bearer("EMPTY"), NOBODY, MISS, HIT),
    ("keyless host", "two dummy keys", bearer("EMPTY"), bearer("ollama"), MISS, HIT),
    ("keyless host", "nobody after a key", bearer("sk-a"), NOBODY, MISS, MISS),
    ("keyless host", "a key after nobody", NOBODY, bearer("sk-a"), MISS, MISS),
    ("keyless host", "nobody on another host", goog(""), goog(""), NO_CREDENTIAL, NO_CREDENTIAL),
    ("both", "the same key and team", bearer("sk-a") & team("a"), bearer("sk-a") & team("a"), MISS, HIT),
    ("both", "another team", bearer("sk-a") & team("a"), bearer("sk-a") & team("b"), MISS, MISS),
    ("both", "another key", bearer("sk-a") & team("a"), bearer("sk-b") & team("a"), MISS, MISS),
    ("both", "no team", bearer("sk-a") & team("a"), bearer("sk-a"), MISS, NO_CREDENTIAL),
    ("both", "no key", bearer("sk-a") & team("a"), team("a"), MISS, NO_CREDENTIAL),
    ("both", "a dummy key", bearer("sk-a") & team("a"), bearer("sk-xxx") & team("a"), MISS, NO_CREDENTIAL),
    ("both with user", "the same user", user("a:x") & team("a"), user("a:x") & team("a"), MISS, HIT),
    ("both with user", "another user", user("a:x") & team("a"), user("b:x") & team("a"), MISS, MISS),
    ("both with user", "no team", user("a:x") & team("a"), user("a:x"), MISS, NO_CREDENTIAL),
    ("both with user", "no user", user("a:x") & team("a"), team("a"), MISS, "407"),
    ("credential", "two keys, swapped", anthropic("a") & bearer("b"), anthropic("b") & bearer("a"), MISS, MISS),
    ("credential", "one key of two", anthropic("a") & bearer("b"), anthropic("a"), MISS, MISS),
    ("credential", "another cookie", header("Cookie", "a=1"), header("Cookie", "a=2"), MISS, MISS),
    ("credential", "the same key, another team", bearer("sk-a") & team("a"), bearer("sk-a") & team("b"), MISS, HIT),
    (
        "credential",
        "the same key, another proxy user",
        bearer("sk-a") & user("a:x"),
        bearer("sk-a") & user("b:x"),
        MISS,
        HIT,
    ),
    (
        "credential",
        "another key in the same namespace",
        bearer("sk-a") & space("n"),
        bearer("sk-b") & space("n"),
        MISS,
        MISS,
    ),
    (
        "credential",
        "the same key in another namespace",
        bearer("sk-a") & space("n"),
        bearer("sk-a") & space("m"),
        MISS,
        MISS,
    ),
    (
        "credential",
        "a namespace that continues the key",
        bearer("sk-a") & space("bc"),
        bearer("sk-ab") & space("c"),
        MISS,
        MISS,
    ),
    (
        "credential",
        "a namespace that is the other's key",
        bearer("sk-a"),
        space("authorization=key:sk-a"),
        MISS,
        NO_CREDENTIAL,
    ),
    (
        "credential",
        "a namespace that looks like a length",
        bearer("sk-a") & space("n"),
        bearer("sk-a") & space("\x80\x80\x80\x01n"),
        MISS,
        MISS,
    ),
    ("header", "the same team, another key", team("a") & bearer("sk-a"), team("a") & bearer("sk-b"), MISS, HIT),
    ("header", "another team, the same key", team("a") & bearer("sk-a"), team("b") & bearer("sk-a"), MISS, MISS),
    ("header", "another case", team("a"), team("A"), MISS, MISS),
    ("header", "no team", team("a"), NOBODY, MISS, NO_CREDENTIAL),
    ("header", "no team and no team", NOBODY, NOBODY, NO_CREDENTIAL, NO_CREDENTIAL),
    ("header", "an empty team and no team", team(""), NOBODY, NO_CREDENTIAL, NO_CREDENTIAL),
    ("header", "a rotating token", team("a") & bearer("ya29.a"), team("a") & bearer("ya29.b"), MISS, HIT),
    ("header", "letters beyond ASCII", team("\xe9"), team("?"), MISS, MISS),
    ("header", "two names on one line", team("a"), team("a, b"), MISS, MISS),
    ("header", "the header twice", team("a"), team("b") & team("a"), MISS, MISS),
    ("header", "a team that continues in the namespace", team("a") & space("b"), team("ab"), MISS, MISS),
    ("header", "a namespace that is the other's team", team("a"), space("a"), MISS, NO_CREDENTIAL),
    ("header", "the other's namespace", team("a") & space("n"), team("b") & space("n"), MISS, MISS),
    ("proxy-user", "the same user", user("a:x"), user("a:x"), MISS, HIT),
    ("proxy-user", "another user", user("a:x"), user("b:x"), MISS, MISS),
    ("proxy-user", "another password, which nobody checks", user("a:x"), user("a:y"), MISS, HIT),
    ("proxy-user", "another case", user("a:x"), user("A:x"), MISS, MISS),
    ("proxy-user", "nobody", user("a:x"), NOBODY, MISS, "407"),
    ("proxy-user", "an empty name", user("a:x"), user(":x"), MISS, "407"),
    ("proxy-user", "letters beyond ASCII", user("t\xe9am:x"), user("team:x"), MISS, MISS),
    ("proxy-user", "the same user, another key", user("a:x") & bearer("sk-a"), user("a:x") & bearer("sk-b"), MISS, HIT),
    (
        "proxy-user",
        "another user, the same key",
        user("a:x") & bearer("sk-a"),
        user("b:x") & bearer("sk-a"),
        MISS,
        MISS,
    ),
    ("proxy-user", "a rotating token", user("a:x") & bearer("ya29.a"), user("a:x") & bearer("ya29.b"), MISS, HIT),
    ("proxy-user", "the other's namespace", user("a:x") & space("n"), user("b:x") & space("n"), MISS, MISS),
    ("proxy-user", "a namespace that is the other's name", user("a:x"), user("b:x") & space("a"), MISS, MISS),
    ("proxy-user", "a name that holds a namespace", user("a:x") & space("b"), user("a\0b:x"), MISS, MISS),
    ("proxyauth", "the same user", user("a:x"), user("a:x"), MISS, HIT),
    ("proxyauth", "another user", user("a:x"), user("b:y"), MISS, MISS),
    ("proxyauth", "a wrong password", user("a:x"), user("a:y"), MISS, "407"),
    ("proxyauth", "nobody", user("a:x"), NOBODY, MISS, "407"),
    (
        "proxyauth",
        "another user who names the first in the tunnel",
        user("a:x"),
        user("b:y") & basic("a:x"),
        MISS,
        MISS,
    ),
    ("proxyauth", "nobody who names the first in the tunnel", user("a:x"), basic("a:x"), MISS, "407"),
    ("auto, loopback", "another key", bearer("sk-a"), bearer("sk-b"), MISS, HIT),
    ("auto, loopback", "a rotating token", bearer("ya29.a"), bearer("ya29.b"), MISS, HIT),
    ("auto, loopback", "another namespace", space("a"), space("b"), MISS, MISS),
    ("auto, 0.0.0.0", "the same key", bearer("sk-a"), bearer("sk-a"), MISS, HIT),
    ("auto, 0.0.0.0", "another key", bearer("sk-a"), bearer("sk-b"), MISS, MISS),
    ("auto, 0.0.0.0", "another ?key=", query("a"), query("b"), MISS, MISS),
    ("auto, 0.0.0.0", "a rotating token", bearer("ya29.a"), bearer("ya29.a"), UNSTABLE, UNSTABLE),
    ("auto, 0.0.0.0", "nobody", bearer("sk-a"), NOBODY, MISS, NO_CREDENTIAL),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProviders]:
    made = FakeProviders(tmp_path_factory.mktemp("provider"))
    made.answer = answers.answer
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxies(shared: FakeProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """One for each isolation, started at once."""

    def started(name: str) -> Process:
        home = tmp_path_factory.mktemp("proxy")
        passwords = home / "htpasswd"
        digests = {
            name: base64.b64encode(hashlib.sha1(word).digest()).decode() for name, word in (("a", b"x"), ("b", b"y"))
        }
        passwords.write_text("".join(f"{name}:{{SHA}}{digest}\n" for name, digest in digests.items()))
        options = [option.replace("HTPASSWD", str(passwords)) for option in PROXIES[name]]
        return mitmdump(shared, home, *options).start()

    with ThreadPoolExecutor(2) as pool:
        made = dict(zip(PROXIES, pool.map(started, PROXIES), strict=True))
    yield made
    for proxy in made.values():
        proxy.stop()


def ask(proxy: Process, tenant: Tenant, number: int) -> str:
    """The call of row `number`: HIT, MISS, BYPASS with its reason, or 407. A new connection each time."""
    path, body = CALLS[tenant.host]
    connection = http.client.HTTPSConnection(
        "127.0.0.1", proxy.port, context=ssl.create_default_context(cafile=str(proxy.ca)), timeout=20
    )
    named = "Basic " + base64.b64encode(tenant.user.encode()).decode()
    connection.set_tunnel(tenant.host, 443, {"Proxy-Authorization": named} if tenant.user else {})
    try:
        connection.putrequest("POST", path + (f"?{tenant.query}" if tenant.query else ""))
        data = json.dumps({**body, "row": number}).encode()
        for name, value in (*tenant.headers, ("Content-Length", str(len(data)))):
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(data)
        response = connection.getresponse()
        response.read()
    except OSError as error:
        return "407" if "407" in str(error) else repr(error)
    finally:
        connection.close()
    if response.status != 200:
        return str(response.status)
    status = response.headers["x-ai-cache-status"]
    return f"{status} {response.headers['x-ai-cache-reason']}" if status == "BYPASS" else str(status)


def test_who_hits_whose_entries(
    shared: FakeProviders, proxies: dict[str, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, wrong = [], []
    for number, (name, what, first, second, *expected) in enumerate(ROWS):
        got = []
        for tenant in (first, second):
            before = len(shared.tls.calls)
            got.append(ask(proxies[name], tenant, number))
            reached = len(shared.tls.calls) - before
            assert reached == (0 if got[-1] in (HIT, "407") else 1), (name, what, got)
        lines.append(
            f"{name:15} {what:48} {got[0]:27} {got[1]:27}{'' if got == expected else '  EXPECTED ' + str(expected)}"
        )
        wrong += [] if got == expected else [lines[-1]]
    with capsys.disabled():
        print(f"\n{'isolation':15} {'the second tenant is or has':48} {'the first gets':27} the second gets")
        print("\n".join(line.rstrip() for line in lines))
    assert not wrong, "\n".join(wrong)
    told = [line for line in proxies["credential"].lines if "ai_cache_keyless_hosts=" in line]
    assert len(told) == len({line.split()[-1] for line in told}), "the first such call of a host says so, and no other"
    assert any(line.endswith(f"ai_cache_keyless_hosts={OPENAI}") for line in told)
    warned = [name for name, proxy in proxies.items() if any("both are claims" in line for line in proxy.lines)]
    assert warned == ["credential"], "a JWT or an AWS account separates entries there, and nobody checks it"
    assert not any(
        "x-ai-cache" in name or "proxy-auth" in name for call in shared.tls.calls for name in call.headers.names()
    )


# The proxy user of real clients

PYTHON = """
import asyncio, json, os, ssl, sys
URL, BODY = sys.argv[1], json.loads(sys.argv[2])
PROXIES = sys.argv[3:]
CA = os.environ["SSL_CERT_FILE"]

def use(proxy):
    for name in ("HTTPS_PROXY", "https_proxy"):
        os.environ[name] = proxy

def httpx(proxy):
    import httpx
    return httpx.post(URL, json=BODY).headers

def requests(proxy):
    import requests
    return requests.post(URL, json=BODY).headers

def urllib(proxy):
    import urllib.request
    asked = urllib.request.Request(URL, json.dumps(BODY).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener().open(asked) as answer:
        answer.read()
        return answer.headers

def aiohttp(_, **options):
    import aiohttp
    async def call():
        async with aiohttp.ClientSession(trust_env=not options) as session:
            trust = ssl.create_default_context(cafile=CA)
            async with session.post(URL, json=BODY, ssl=trust, **options) as answer:
                await answer.read()
                return answer.headers
    return asyncio.run(call())

def aiohttp_explicit(proxy):
    return aiohttp(proxy, proxy=proxy)

def boto3(proxy):
    import boto3
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    return boto3.client("bedrock-runtime", **keys).converse(modelId="m", messages=messages)["ResponseMetadata"]["HTTPHeaders"]

found = []
for proxy in PROXIES:
    if NAME != "aiohttp_explicit":
        use(proxy)
    try:
        found.append(globals()[NAME](proxy)["x-ai-cache-status"])
    except Exception as error:
        found.append(repr(error))
print(json.dumps(found))
"""
NODE = """
fetch(process.argv[1], {method: "POST", body: process.argv[2]})
  .then(answer => console.log(answer.headers.get("x-ai-cache-status")))
"""
PYTHON_CLIENTS = ("httpx", "requests", "urllib", "aiohttp_explicit", "aiohttp", "boto3")
NAMES = ("alice", "bob", "alice", "bob", "team @/1")
"""The last is a name that must be quoted in a URL."""
EXPECTED = [MISS, MISS, HIT, HIT, MISS]


def newest_node() -> str:
    """A Node that heeds HTTPS_PROXY by itself: 24 and later."""
    node = shutil.which("node")
    version = subprocess.run([node, "-v"], capture_output=True, text=True, check=True).stdout if node else "v0"
    return node if node and int(version.strip("v\n").partition(".")[0]) >= 24 else ""


@pytest.mark.parametrize("name", [*PYTHON_CLIENTS, "curl", "node"])
def test_the_proxy_user_of_a_real_client_is_a_scope(
    name: str, shared: FakeProviders, proxies: dict[str, Process], tmp_path: Path
) -> None:
    proxy = proxies["proxy-user"]
    url = f"https://{OPENAI}/v1/chat/completions"
    body = json.dumps({"model": "m", "messages": [], "row": name})
    urls = [proxy.url.replace("http://", f"http://{quote(user, safe='')}:x@") for user in NAMES]
    environ = plain_environ(tmp_path, **{**proxy.client_environ(), "NODE_USE_ENV_PROXY": "1"})

    def run(*command: str, through: str = "") -> str:
        more = {"HTTPS_PROXY": through, "https_proxy": through} if through else {}
        if not through:
            environ.pop("HTTPS_PROXY")
            environ.pop("https_proxy")
        done = subprocess.run(command, env=environ | more, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    if name in PYTHON_CLIENTS:
        found = json.loads(run(sys.executable, "-c", f"NAME = {name!r}\n{PYTHON}", url, body, *urls))
    elif name == "curl":
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not installed")
        command = (curl, "-sS", "-d", body, "-o", "/dev/null", "-w", "%header{x-ai-cache-status}", url)
        found = [run(*command, through=one) for one in urls]
    else:
        node = newest_node()
        if not node:
            pytest.skip("Node 24 or later, which reads HTTPS_PROXY itself, is not installed")
        found = [run(node, "-e", NODE, url, body, through=one) for one in urls]
    assert found == EXPECTED, found
