"""The table of providers is whole, and other distributions add rows and kinds of secrets to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mitmproxy_ai_cache.calls import replay
from mitmproxy_ai_cache.calls.workers import LARGE, OffLoop, Pool
from mitmproxy_ai_cache.cassettes import leaks
from mitmproxy_ai_cache.cli import doctor
from mitmproxy_ai_cache.cli.credentials import placeholders
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.conversation import curl
from mitmproxy_ai_cache.counts.pricing import PriceList
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.identity.hosts import ai_hosts, is_side_traffic
from mitmproxy_ai_cache.identity.identifier import Identifier
from mitmproxy_ai_cache.identity.isolation import principals
from mitmproxy_ai_cache.protocols import providers, standard
from mitmproxy_ai_cache.protocols.providers import PROVIDERS, Provider, Secret, Variable, checks
from mitmproxy_ai_cache.redact import kinds, redact, redact_headers, redaction_rules, version
from mitmproxy_ai_cache.system import plugins
from mitmproxy_ai_cache.wire.messages import Headers, Request
from plugged import installed, on_path

KEY = "acme-" + "q7Zr2TnX9bLw4KdV8sHj5MfC"
TOKEN = "emp_" + "q7Zr2TnX9bLw4KdV8sHj5MfC"

ROWS = """
from mitmproxy_ai_cache.protocols.base import json_response
from mitmproxy_ai_cache.protocols.providers import Key, Provider, Secret, Variable

def error(status, code, message):
    return json_response(status, {"acme": message})

ACME = Provider(
    name="acme",
    hosts="llm.acme.example *.llm.acme.example",
    domain="acme.example",
    side_paths="/telemetry/",
    error=error,
    keys=(Key("ACME_KEY", "x-acme-key: "),),
    variables=(Variable("ACME_KEY", "acme-ai-cache-placeholder"),),
    secrets=(Secret("acme-", "acme-key", rb"acme-[A-Za-z0-9]{20,}"),),
    credential_headers="X-Acme-Key",
    answer_headers="x-acme-region",
    no_done="llm.acme.example",
    prices="openai",
)
EMPLOYEE = Secret("emp_", "employee-token", rb"emp_[A-Za-z0-9]{24}")
"""

_CACHES = [
    each for each in (*vars(providers).values(), kinds.known, version.redaction_rules) if hasattr(each, "cache_clear")
]


def _forget() -> None:
    for cached in _CACHES:
        cached.cache_clear()


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two distributions: a provider, and a kind of secrets."""
    module = f"acme_rows_{tmp_path.name.replace('-', '_')}"
    installed(tmp_path, "acme-provider", plugins.PROVIDERS, {"acme": f"{module}:ACME"}, **{module: ROWS})
    installed(tmp_path, "acme-secrets", plugins.SECRET_KINDS, {"employee": f"{module}:EMPLOYEE"})
    on_path(monkeypatch, tmp_path)
    _forget()
    yield tmp_path
    _forget()


def request(url_host: str = "llm.acme.example", body: bytes = b"{}", **headers: str) -> Request:
    fields = Headers([("host", url_host), *((name.replace("_", "-"), value) for name, value in headers.items())])
    return Request("POST", "https", url_host, 443, "/v1/chat/completions", "", fields, body)


def entry(body: bytes) -> Entry:
    return Entry(
        "k", 1.0, 0, 200, (("content-type", "application/json"),), "json", body, b"{}",
        url="https://llm.acme.example/v1/x", method="POST",
    )  # fmt: skip


# The table


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for row in PROVIDERS]
    assert sorted(set(names)) == sorted(names)


def test_a_host_is_of_one_row() -> None:
    hosts = [host for row in PROVIDERS for host in row.hosts.split()]
    assert sorted(set(hosts)) == sorted(hosts)


def test_a_variable_has_one_value_in_one_environment() -> None:
    for environ in ({}, {"AZURE_OPENAI_API_KEY": "x"}, {"OPENAI_API_KEY": "x"}):
        added = [one.name for one in providers.variables() if (one.add(environ) if callable(one.add) else one.add)]
        assert sorted(set(added)) == sorted(added), environ


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_each_row_of_ours_has_the_types_it_says(row: Provider) -> None:
    assert checks._types(row) == ""


@pytest.mark.parametrize("row", [row for row in PROVIDERS if row.error], ids=lambda row: row.name)
def test_an_error_of_a_provider_holds_status_and_message(row: Provider) -> None:
    response = providers.error_for_host(f"api.{row.domain}", 424, "ai_cache", "a sentence")
    assert response.status == 424
    assert b"a sentence" in (response.body or b"")


def test_a_host_whose_name_only_ends_like_a_domain_is_not_below_it() -> None:
    ours = providers.error_for_host("notanthropic.com", 424, "code", "message")
    assert ours.body == providers.error_for_host("example.com", 424, "code", "message").body


# A provider of a plug-in


def test_it_is_an_ai_host(plugged: Path) -> None:
    assert "eu.llm.acme.example" in ai_hosts()
    assert "www.acme.example" not in ai_hosts()


def test_its_side_traffic_is_known(plugged: Path) -> None:
    assert is_side_traffic("llm.acme.example", "/telemetry/batch")
    assert not is_side_traffic("llm.acme.example", "/v1/messages")


def test_curl_is_given_its_credential(plugged: Path) -> None:
    assert '--header "x-acme-key: $ACME_KEY"' in curl.command(entry(b"{}"))


def test_a_replay_sets_its_placeholder_and_replaces_a_real_key(plugged: Path) -> None:
    values, replaced = placeholders({"ACME_KEY": "real"}, Path("/f"))
    assert values["ACME_KEY"] == "acme-ai-cache-placeholder"
    assert replaced == ["ACME_KEY"]


def test_its_credential_header_is_redacted_and_tells_principals_apart(plugged: Path) -> None:
    hidden = redact_headers(Headers([("x-acme-key", "plain")]))
    assert hidden.headers.get("x-acme-key") == "REDACTED-credential"
    assert principals(request(x_acme_key="one")) != principals(request(x_acme_key="two"))


def test_its_key_in_a_text_is_replaced(plugged: Path) -> None:
    assert redact(f'{{"a": "{KEY}"}}'.encode()).data == b'{"a": "REDACTED-acme-key"}'


def test_its_answer_headers_are_stored(plugged: Path) -> None:
    assert replay.kept_headers(Headers([("X-Acme-Region", "eu")])) == (("x-acme-region", "eu"),)


def test_its_errors_have_its_shape(plugged: Path) -> None:
    assert providers.error_for_host("llm.acme.example", 424, "code", "why").body == b'{"acme":"why"}'


def test_its_streams_need_no_done(plugged: Path) -> None:
    chat = next(each for each in standard().protocols if each.name == "openai-chat")
    assert "llm.acme.example" in chat.no_done_hosts  # type: ignore[attr-defined]


def test_its_prices_are_those_of_the_id_it_gives(plugged: Path) -> None:
    calls = {Usage(1000, 100): 1}
    ours = PriceList().cost("https://api.openai.com/v1/chat/completions", "gpt-4o", calls)
    assert ours is not None
    assert PriceList().cost("https://llm.acme.example/v1/chat/completions", "gpt-4o", calls) == ours


# A kind of secrets of a plug-in


def test_a_secret_is_found_and_replaced(plugged: Path) -> None:
    found = redact(f"token {TOKEN} end".encode())
    assert found.data == b"token REDACTED-employee-token end"
    assert [each.kind for each in found.findings] == ["employee-token"]


def test_a_secret_is_found_where_it_is_wrapped(plugged: Path) -> None:
    assert b"REDACTED-employee-token" in redact(b'{"arguments": "{\\"token\\": \\"%b\\"}"}' % TOKEN.encode()).data


def test_a_cassette_with_such_a_secret_is_refused(plugged: Path) -> None:
    assert [leak.kind for leak in leaks.in_entry(entry(f'{{"a": "{TOKEN}"}}'.encode()))] == ["employee-token"]


def test_the_doctor_names_them(plugged: Path) -> None:
    said = {check.says for check in doctor._plugins()}
    assert {"acme-provider 1.2 adds acme", "acme-secrets 1.2 adds employee-token (emp_)"} <= said


def test_without_the_plugin_it_is_no_secret() -> None:
    assert redact(TOKEN.encode()).data == TOKEN.encode()


def test_a_prefix_that_begins_like_one_of_ours_hides_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from mitmproxy_ai_cache.protocols.providers import Secret\n"
        "MINE = [Secret('sk-acme-', 'acme-key', rb'sk-acme-[0-9]{20}'),\n"
        "        Secret('gh', 'gh-key', rb'gh[a-z]_[0-9]{20}')]\n"
    )
    installed(tmp_path, "acme-alike", plugins.SECRET_KINDS, {"k": "acme_alike:MINE"}, acme_alike=source)
    on_path(monkeypatch, tmp_path)
    _forget()
    try:
        assert redact(b"sk-acme-01234567890123456789").data == b"REDACTED-acme-key"
        assert redact(b"sk-acme-Ab3dEfGh1jKlMn0pQrStUv").data == b"REDACTED-openai-key"
        assert redact(b"ghx_01234567890123456789").data == b"REDACTED-gh-key"
        assert redact(b"ghp_01234567890123456789").data == b"REDACTED-gh-key"
        assert redact(b"ghp_0123456789012345678901234567890123").data == b"REDACTED-github-token"
    finally:
        _forget()


def test_a_plugin_changes_the_version_of_the_rules(plugged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = redaction_rules()
    monkeypatch.setattr(plugins, "_loaded", {plugins.PROVIDERS: (), plugins.SECRET_KINDS: ()})
    _forget()
    assert redaction_rules() != with_it


def test_the_version_of_the_rules_is_the_same_in_another_process(plugged: Path) -> None:
    before = redaction_rules()
    _forget()
    plugins._loaded.clear()
    assert redaction_rules() == before


@pytest.mark.thorough
def test_workers_know_of_plugins(plugged: Path) -> None:
    async def read() -> Request:
        settings = Settings(mode="replay")
        work = OffLoop(settings, Identifier(settings.identity), pool)
        body = b'{"messages": [], "a": "%b %b", "pad": "%b"}' % (TOKEN.encode(), KEY.encode(), b"ab " * LARGE)
        found = await work.read(request(body=body), (b"none",))
        await pool.close()
        assert found.call is not None
        return found.request

    pool = Pool(1)
    body = asyncio.run(read()).body or b""
    assert b'"REDACTED-employee-token REDACTED-acme-key"' in body


# What cannot be used

GOOD = Secret("emp_", "employee-token", rb"emp_[A-Za-z0-9]{24}")
PATTERNS: dict[str, tuple[Secret, str]] = {
    "exponential": (Secret("emp_", "e", rb"emp_(?:[a-z]+)+[0-9]{20}"), "no bound on its time"),
    "quadratic": (Secret("emp_", "e", rb"emp_[a-z]{20,}[a-z]*!"), "no bound on its time"),
    "look-around": (Secret("emp_", "e", rb"emp_[a-z]{20}(?![a-z])"), "no bound on its time"),
    "short": (Secret("emp_", "e", rb"emp_[0-9]{6}"), "matches less than 20 characters"),
    "no regex": (Secret("emp_", "e", rb"emp_["), "is no regular expression"),
    "no prefix": (Secret("", "e", rb"[a-z]{30}"), "the prefix of e is ''"),
    "another prefix": (Secret("emp_", "e", rb"e[a-z]{30}"), "must begin with its prefix"),
    "kind": (Secret("emp_", "Employee Token", rb"emp_[a-z]{20}"), "its kind is 'Employee Token'"),
    "text": (Secret("emp_", "e", "emp_[a-z]{20}"), "pattern must be bytes"),  # type: ignore[arg-type]
    "own placeholder": (Secret("RED", "acted-by-a-key", rb"RED[A-Z]{5}[a-z-]{12,60}"), "matches its own placeholder"),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_that_is_not_safe_is_refused(name: str) -> None:
    secret, why = PATTERNS[name]
    assert why in checks.secret_problem(secret)


def test_a_safe_pattern_is_taken() -> None:
    assert checks.secret_problem(GOOD) == ""


ROWS_REFUSED: dict[str, tuple[Callable[[], Provider], str]] = {
    "every host": (lambda: Provider(name="acme", hosts="*"), "is every host"),
    "hosts as a list": (lambda: Provider(name="acme", hosts=("a.example",)), "hosts must be str"),  # type: ignore[arg-type]
    "name": (lambda: Provider(name="a b"), "use letters, digits"),
    "real key": (lambda: Provider(name="acme", variables=(Variable("ACME_KEY", "real"),)), "ai-cache-placeholder"),
    "our variable": (lambda: Provider(name="acme", variables=(Variable("OPENAI_API_KEY"),)), "one of ai-cache's own"),
    "variable": (lambda: Provider(name="acme", variables=(Variable("A=B"),)), "no name of an environment variable"),
    "secret": (lambda: Provider(name="acme", secrets=(PATTERNS["short"][0],)), "matches less than 20 characters"),
    "one key": (lambda: Provider(name="acme", secrets=GOOD), "secrets must be a tuple of Secret"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS_REFUSED)
def test_a_row_that_does_harm_is_refused(name: str) -> None:
    make, why = ROWS_REFUSED[name]
    assert why in checks.problem(make(), {"OPENAI_API_KEY"})


def test_a_plugin_that_cannot_be_used_is_left_out_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = (
        "from mitmproxy_ai_cache.protocols.providers import Secret\n"
        "SLOW = Secret('emp_', 'employee', rb'emp_(?:[a-z]+)+[0-9]{20}')\n"
    )
    installed(tmp_path, "acme-slow", plugins.SECRET_KINDS, {"slow": "acme_slow:SLOW"}, acme_slow=source)
    on_path(monkeypatch, tmp_path)
    _forget()
    try:
        with caplog.at_level(logging.WARNING, "ai-cache"):
            assert redact(b"emp_" + b"a" * 40).findings == ()
        (line,) = caplog.messages
        assert "acme-slow" in line
        assert "no bound on its time" in line
    finally:
        _forget()


def test_a_text_of_nothing_but_beginnings_takes_no_longer_with_a_plugin(plugged: Path) -> None:
    data = b"emp_ acme-" * 100_000
    began = time.process_time()
    redact(data)
    assert time.process_time() - began < 5
