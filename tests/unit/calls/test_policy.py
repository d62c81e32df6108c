"""What may be looked up, kept, upgraded and shown: every decision with its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mitmproxy_ai_cache.calls import replay
from mitmproxy_ai_cache.calls.policy import CacheControl, Decision, decide, mismatch, not_kept, ttl_of, why_unrecognised
from mitmproxy_ai_cache.calls.reasons import Status
from mitmproxy_ai_cache.calls.websockets import refusal
from mitmproxy_ai_cache.configuration.options import MODES
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.hosts import HostList, ai_hosts
from mitmproxy_ai_cache.protocols import ANYTHING
from mitmproxy_ai_cache.protocols.base import Call, Verdict
from mitmproxy_ai_cache.wire.body import Body
from mitmproxy_ai_cache.wire.messages import Headers, Request, Response
from mitmproxy_ai_cache.wire.safe_text import one_line


def request(*headers: tuple[str, str], path: str = "/v1/chat/completions", **more: Any) -> Request:
    fields = Headers([("host", "api.openai.com"), *headers])
    return Request("POST", "https", "api.openai.com", 443, path, headers=fields, **more)


def call(kind: str = "json", bypass: str = "", live: bool = False) -> Call:
    body = Body(kind, b'{"messages":[]}')
    return Call(ANYTHING, "gpt", False, body, "api.openai.com", "/v1/chat/completions", bypass, live)


def settings(mode: str = "cache", **options: Any) -> Settings:
    return Settings.parse({"ai_cache_mode": mode, **{f"ai_cache_{name}": value for name, value in options.items()}})


# Cache-Control


def decided(settings: Settings, sent: Request, made: Call) -> Decision:
    return decide(settings, sent, made, CacheControl.parse(sent.headers.get("cache-control")))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", CacheControl()),
        ("no-cache", CacheControl(no_cache=True)),
        ("No-Store", CacheControl(no_store=True)),
        ("only-if-cached", CacheControl(only_if_cached=True)),
        ("max-age=60", CacheControl(max_age=60)),
        ("max-age=0", CacheControl(max_age=0)),
        ('max-age="60"', CacheControl(max_age=60)),
        (" no-cache ,\tno-store,max-age = 5", CacheControl(no_cache=True, no_store=True, max_age=5)),
        ("max-age=-1", CacheControl()),
        ("max-age", CacheControl()),
        ("max-age=soon", CacheControl()),
        ("max-age=1.5", CacheControl()),
        ("max-age=" + "9" * 500, CacheControl()),
        ("no-cachet, x-no-store, private, public=1", CacheControl()),
        (",,;=", CacheControl()),
    ],
)
def test_the_directives_of_a_request_mean_what_rfc_9111_says(value: str, expected: CacheControl) -> None:
    assert CacheControl.parse(value) == expected


@pytest.mark.parametrize(
    ("mode", "control", "look_up", "keep", "reason"),
    [
        ("cache", "", True, True, ""),
        ("cache", "no-cache", False, True, "no-cache"),
        ("cache", "no-store", True, False, ""),
        ("cache", "no-cache, no-store", False, False, "no-cache"),
        ("cache", "max-age=5", True, True, ""),
        ("read-only", "", True, False, ""),
        ("read-only", "no-cache", False, False, "no-cache"),
        ("record", "", True, True, ""),
        ("record", "no-cache", False, True, "no-cache"),
        ("refresh", "", False, True, "refresh"),
        ("refresh", "no-store", False, False, "refresh"),
        ("replay", "", True, False, ""),
        ("replay", "no-cache", True, False, ""),
    ],
)
def test_mode_and_directives_decide_on_a_call(mode: str, control: str, look_up: bool, keep: bool, reason: str) -> None:
    decision = decided(settings(mode), request(("cache-control", control)), call())
    assert (decision.bypass, decision.look_up, decision.keep, decision.reason) == ("", look_up, keep, reason)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unseen", "request-streamed"),
        ("duplicate-members", "duplicate-members"),
        ("undecodable", "undecodable"),
        ("too-large", "request-too-large"),
    ],
)
@pytest.mark.parametrize("mode", ["cache", "record", "replay"])
def test_a_body_without_one_meaning_passes_with_its_reason(mode: str, kind: str, reason: str) -> None:
    decision = decided(settings(mode), request(), call(kind))
    assert (decision.bypass, decision.look_up, decision.keep) == (reason, False, False)
    assert why_unrecognised(Body(kind)) == reason


@pytest.mark.parametrize("kind", ["json", "multipart", "raw"])
def test_a_body_that_can_be_read_is_not_passed(kind: str) -> None:
    assert decided(settings(), request(), call(kind)).bypass == ""


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("cache", "background"), ("read-only", "background"), ("refresh", "background"), ("record", ""), ("replay", "")],
)
def test_state_passes_but_for_recordings(mode: str, reason: str) -> None:
    assert decided(settings(mode), request(), call(bypass="background")).bypass == reason


@pytest.mark.parametrize(
    ("rules", "headers", "bypassed"),
    [
        (["x-no-cache=1"], [("X-No-Cache", "1")], True),
        (["X-No-Cache=1"], [("x-no-cache", "2")], False),
        (["x-no-cache=1"], [], False),
        (["x-no-cache=*"], [("x-no-cache", "anything")], True),
        (["x-no-cache=*"], [("x-no-cache", "")], True),
        (["x-no-cache=*"], [("x-other", "*")], False),
        (["a=1", "b=2"], [("b", "2")], True),
        (["a=1", "b=2"], [("a", "2"), ("b", "1")], False),
    ],
)
def test_any_bypass_rule_that_matches_counts(rules: list[str], headers: list[tuple[str, str]], bypassed: bool) -> None:
    decision = decided(settings(bypass_on=rules), request(*headers), call())
    assert decision.bypass == ("bypass-rule" if bypassed else "")


# Hosts that contradict each other


def addressed(host: str, claimed: str = "", authority: str = "", sni: str = "", reverse: bool = False) -> Request:
    headers = Headers([("Host", claimed)] if claimed else [])
    return Request("POST", "https", host, 443, "/", headers=headers, authority=authority, sni=sni, reverse=reverse)


@pytest.mark.parametrize(
    "agreeing",
    [
        addressed("api.openai.com", "api.openai.com", sni="api.openai.com"),
        addressed("api.openai.com", "API.OpenAI.com.", sni="api.openai.COM"),
        addressed("api.openai.com", "api.openai.com:443"),
        addressed("api.openai.com", authority="api.openai.com:443"),
        addressed("api.openai.com"),
        addressed("::1", "[::1]:8080"),
        addressed("::1", "[::1]"),
        addressed("127.0.0.1", "127.0.0.1:11434"),
        addressed("upstream.internal", "anything.example.com", sni="else.example.com", reverse=True),
    ],
)
def test_one_host_under_several_spellings_is_no_mismatch(agreeing: Request) -> None:
    assert not mismatch(agreeing)


@pytest.mark.parametrize(
    "contradicting",
    [
        addressed("api.openai.com", "evil.example.com"),
        addressed("api.openai.com", "api.openai.com.evil.example.com"),
        addressed("api.openai.com", "api.openai.com", sni="evil.example.com"),
        addressed("api.openai.com", authority="evil.example.com"),
        addressed("api.openai.com", "evil.example.com", authority="api.openai.com"),
        addressed("api.openai.com", "api.openai.com", authority="evil.example.com"),
        addressed("api.openai.com", "api.openai.com, evil.example.com"),
        addressed("127.0.0.1", "api.openai.com"),
    ],
)
@pytest.mark.parametrize("mode", sorted({*MODES} - {"off"}))
def test_a_request_whose_hosts_differ_is_never_cached(contradicting: Request, mode: str) -> None:
    assert mismatch(contradicting)
    assert decided(settings(mode), contradicting, call()).bypass == "host-mismatch"


# How long, and whether at all


@pytest.mark.parametrize(
    ("options", "header", "live", "ttl"),
    [
        ({}, None, False, 604800),
        ({"ttl": "0"}, None, False, 0),
        ({"ttl": "1d"}, None, True, 3600),
        ({"ttl": "60"}, None, True, 60),
        ({"ttl": "0"}, None, True, 3600),
        ({"live_ttl": "0"}, None, True, 604800),
        ({}, "90", False, 90),
        ({}, "2h", True, 7200),
        ({}, "0", False, 0),
        ({}, "soon", False, 604800),
        ({}, "-5", False, 604800),
        ({}, "", False, 604800),
        ({"mode": "record"}, None, False, 0),
        ({"mode": "record"}, None, True, 0),
        ({"mode": "refresh", "store": "cassettes:x"}, None, False, 0),
        ({"mode": "record"}, "60", False, 60),
    ],
)
def test_the_time_to_live_comes_from_header_mode_or_option(
    options: dict[str, str], header: str | None, live: bool, ttl: float
) -> None:
    asked = request(*([("X-AI-Cache-TTL", header)] if header is not None else []))
    assert ttl_of(settings(**options), asked, call(live=live)) == ttl


WHOLE = Verdict(True, True, "json", "complete", ("stop",))
CUT = Verdict(False, False, "sse", "truncated")
ERROR = Verdict(True, False, "json", "error-in-body")


@pytest.mark.parametrize(
    ("options", "verdict", "reason"),
    [
        ({}, WHOLE, ""),
        ({}, CUT, "truncated"),
        ({}, ERROR, "error-in-body"),
        ({"mode": "refresh"}, ERROR, "error-in-body"),
        ({"mode": "record"}, WHOLE, ""),
        ({"mode": "record"}, ERROR, ""),
        ({"mode": "refresh", "store": "cassettes:x"}, ERROR, ""),
        ({"mode": "record"}, CUT, "truncated"),
        ({"mode": "record", "record_broken": True}, CUT, ""),
        ({"record_broken": True}, CUT, "truncated"),
        ({"skip_stop_reasons": ["length"]}, WHOLE, ""),
        ({"skip_stop_reasons": ["length"]}, replace(WHOLE, stop=("stop", "LENGTH")), "stop-reason"),
        ({"skip_stop_reasons": ["MAX_TOKENS"]}, replace(WHOLE, stop=("max_tokens",)), "stop-reason"),
    ],
)
def test_an_answer_is_kept_or_there_is_a_reason(options: dict[str, Any], verdict: Verdict, reason: str) -> None:
    assert not_kept(settings(**options), verdict) == reason


# WebSockets


def upgrade(path: str, value: str = "websocket") -> Request:
    return replace(request(("Connection", "Upgrade"), ("Upgrade", value), path=path), method="GET")


@pytest.mark.parametrize(
    ("websocket", "mode", "path", "ai_host", "refused"),
    [
        ("auto", "cache", "/v1/responses", True, True),
        ("auto", "cache", "/v1/responses", False, True),
        ("auto", "cache", "/v1/realtime", True, False),
        ("auto", "cache", "/chat", False, False),
        ("auto", "replay", "/v1/realtime", True, True),
        ("auto", "replay", "/v1/responses", True, True),
        ("auto", "off", "/v1/responses", True, False),
        ("pass", "cache", "/v1/responses", True, False),
        ("pass", "replay", "/v1/realtime", True, True),
        ("refuse", "cache", "/v1/realtime", True, True),
        ("refuse", "cache", "/chat", False, False),
        ("refuse", "off", "/v1/realtime", True, False),
    ],
)
def test_an_upgrade_passes_or_is_refused(websocket: str, mode: str, path: str, ai_host: bool, refused: bool) -> None:
    answer = refusal(upgrade(path), settings(mode, websocket=websocket), ai_host)
    assert (answer is not None) is refused


def test_a_refused_client_is_told_to_go_on_over_http() -> None:
    answer = refusal(upgrade("/v1/responses", "WebSocket"), settings(), True)
    assert answer is not None
    assert answer.status == 426
    assert answer.headers.get("upgrade") == "HTTP/1.1"
    assert b"ai_cache_websocket" in answer.body


@pytest.mark.parametrize("value", ["", "h2c", "websockets"])
def test_what_is_no_websocket_upgrade_is_left_alone(value: str) -> None:
    assert refusal(upgrade("/v1/responses", value), settings(websocket="refuse"), True) is None


# Hosts


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.openai.com", True),
        ("API.OpenAI.com", True),
        ("api.openai.com.", True),
        ("eu.api.openai.com", True),
        ("dev.openai.azure.com", True),
        ("api.anthropic.com", True),
        ("us-central1-aiplatform.googleapis.com", True),
        ("bedrock-runtime.us-east-1.amazonaws.com", True),
        ("openrouter.ai", True),
        ("api.openai.com.evil.example.com", False),
        ("evil-api.openai.com", False),
        ("apiXopenai.com", False),
        ("openai.com", False),
        ("openai.azure.com", False),
        ("storage.googleapis.com", False),
        ("s3.us-east-1.amazonaws.com", False),
        ("github.com", False),
        ("", False),
    ],
)
def test_ai_hosts_are_known_by_name(host: str, expected: bool) -> None:
    assert (host in ai_hosts()) is expected


def test_an_option_adds_hosts_and_takes_none_away() -> None:
    hosts = ai_hosts(["*.LLM.example.com", "localhost"])
    assert "a.b.llm.example.com" in hosts
    assert "localhost" in hosts
    assert "api.openai.com" in hosts
    assert "llm.example.com" not in hosts
    assert "localhost.example.com" not in hosts


def test_an_empty_list_has_no_host() -> None:
    assert "" not in HostList(())
    assert "api.openai.com" not in HostList(())
    assert None not in HostList(("*",))


# What is replayed


@pytest.mark.parametrize(
    "name",
    "Content-Type x-request-id request-id x-amzn-requestid X-Amzn-Bedrock-Input-Token-Count openai-version".split(),
)
def test_what_sdks_show_is_kept(name: str) -> None:
    assert replay.kept_headers(Headers([(name, "v")])) == ((name.lower(), "v"),)


@pytest.mark.parametrize(
    "name",
    """
    Connection Keep-Alive Transfer-Encoding TE Trailer Upgrade Proxy-Authenticate Content-Length Content-Encoding
    Set-Cookie Date Age Expires Cache-Control ETag Vary Server Via Alt-Svc Strict-Transport-Security
    x-ratelimit-remaining-requests anthropic-ratelimit-tokens-reset retry-after x-ai-cache-status cache-status
    """.split(),
)
def test_hop_by_hop_fields_cookies_dates_and_rate_limits_are_never_kept(name: str) -> None:
    assert replay.kept_headers(Headers([(name, "v")])) == ()


def test_fields_keep_their_order_and_repetitions() -> None:
    headers = Headers([("x-request-id", "1"), ("date", "x"), ("Content-Type", "a/b"), ("X-Request-ID", "2")])
    assert replay.kept_headers(headers) == (("x-request-id", "1"), ("content-type", "a/b"), ("x-request-id", "2"))


def test_an_entry_becomes_the_response_it_was_with_our_fields_after_it() -> None:
    entry = Entry("k", 0, 0, 201, (("content-type", "text/event-stream"),), "sse", b"data: x\n\n")
    assert replay.response(entry, [("x-ai-cache-status", "HIT")]) == Response(
        201, Headers([("content-type", "text/event-stream"), ("x-ai-cache-status", "HIT")]), b"data: x\n\n"
    )


KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("HIT", KEY, "", 12.9, 47.9),
         {"x-ai-cache-status": "HIT", "x-ai-cache-age": "12", "x-ai-cache-key": KEY[:12],
          "cache-status": f'ai-cache; hit; key="{KEY[:12]}"; ttl=47'}),
        (("STALE", KEY, "", 60, -5),
         {"x-ai-cache-status": "STALE", "x-ai-cache-age": "60", "x-ai-cache-key": KEY[:12],
          "cache-status": f'ai-cache; hit; key="{KEY[:12]}"; ttl=-5'}),
        (("MISS", KEY, "no-entry"),
         {"x-ai-cache-status": "MISS", "x-ai-cache-key": KEY[:12], "x-ai-cache-reason": "no-entry",
          "cache-status": f'ai-cache; fwd=miss; key="{KEY[:12]}"; detail=no-entry'}),
        (("BYPASS", "", "host-mismatch"),
         {"x-ai-cache-status": "BYPASS", "x-ai-cache-reason": "host-mismatch",
          "cache-status": "ai-cache; fwd=bypass; detail=host-mismatch"}),
        (("REFRESH", KEY),
         {"x-ai-cache-status": "REFRESH", "x-ai-cache-key": KEY[:12],
          "cache-status": f'ai-cache; fwd=request; key="{KEY[:12]}"'}),
    ],
)  # fmt: skip
def test_an_answer_says_where_it_came_from(arguments: tuple[Any, ...], expected: dict[str, str]) -> None:
    assert dict(replay.status_headers(Status(arguments[0]), *arguments[1:])) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ascii ~", "plain ascii ~"),
        ("two\r\nlines", "two??lines"),
        ("\x1b[31mred\x07\x7f", "?[31mred??"),
        ("caf\xe9 \u202e", "caf? ?"),
        ("\ud800", "?"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 117 + "..."),
        ("", ""),
    ],
)
def test_what_strangers_wrote_is_shown_on_one_harmless_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
