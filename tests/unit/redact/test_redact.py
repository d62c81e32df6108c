"""Secrets never reach a file: planted in every place a call has, none is left; what is none keeps every byte."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
import timeit
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache import redact as redacting
from mitmproxy_ai_cache.redact import credentials_of, parse_pattern, redact, redact_headers, redact_request, redact_url
from mitmproxy_ai_cache.wire.framing import eventstream, sse
from mitmproxy_ai_cache.wire.messages import Headers, Request

# Literals are put together here, so that no scanner of a git host takes this file for a leak.
RANDOM = "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1EvQkNzhW0CbDrJgFySuAlOpI" * 3
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" * 2


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def jwt(**header: str) -> str:
    parts = (json.dumps(header), json.dumps({"sub": "1234567890", "name": "Ada"}), RANDOM[:32])
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


BY_THEIR_SHAPE = {
    "openai-key": "sk-" + RANDOM[:48],
    "openai-key project": "sk-" + "proj-" + RANDOM[:70] + "-" + RANDOM[70:110] + "_x",
    "openai-key service account": "sk-" + "svcacct-" + RANDOM[:60],
    "anthropic-key": "sk-" + "ant-api03-" + RANDOM[:80] + "-AA",
    "openrouter-key": "sk-" + "or-v1-" + HEX[:64],
    "deepseek-key": "sk-" + HEX[:32],
    "google-key": "AI" + "za" + RANDOM[:35],
    "google-token": "ya" + "29." + "a0AfH6SM" + RANDOM[:80],
    "groq-key": "gs" + "k_" + RANDOM[:52],
    "huggingface-token": "hf" + "_" + RANDOM[:34],
    "perplexity-key": "pp" + "lx-" + RANDOM[:48],
    "xai-key": "xa" + "i-" + RANDOM[:80],
    "replicate-token": "r8" + "_" + RANDOM[:37],
    "fireworks-key": "fw" + "_" + RANDOM[:24],
    "cerebras-key": "cs" + "k-" + RANDOM[:48].lower(),
    "voyage-key": "pa" + "-" + RANDOM[:43],
    "tavily-key": "tv" + "ly-dev-" + RANDOM[:32],
    "azure-key": RANDOM[:52] + "JQQ" + "J99" + RANDOM[60:86],
    "databricks-token": "da" + "pi" + HEX[:32],
    "aws-key-id": "AK" + "IA" + "Q3EGPK7V2NXR4M5T",
    "aws-key-id temporary": "AS" + "IA" + "Q3EGPK7V2NXR4M5T",
    "aws-session-token": "IQoJb3JpZ2lu" + "X2Vj" + RANDOM[:150] + "==",
    "bedrock-key": "AB" + "SK" + RANDOM[:120],
    "github-token": "gh" + "p_" + RANDOM[:36],
    "github-token fine": "github" + "_pat_" + RANDOM[:22] + "_" + RANDOM[22:81],
    "gitlab-token": "gl" + "pat-" + RANDOM[:20],
    "slack-token": "xo" + "xb-123456789012-1234567890123-" + RANDOM[:24],
    "stripe-key": "sk" + "_live_" + RANDOM[:24],
    "stripe-key restricted": "rk" + "_live_" + RANDOM[:24],
    "npm-token": "np" + "m_" + RANDOM[:36],
    "pypi-token": "py" + "pi-AgEIcHlwaS5vcmc" + RANDOM[:120],
    "jwt": jwt(alg="HS256", typ="JWT"),
    "jwt short header": jwt(alg="RS256"),
}
"""Kind (and variant) -> a secret that is known wherever it stands."""

PEM = "-----BEGIN " + "PRIVATE KEY-----\n{}\n-----END " + "PRIVATE KEY-----\n"
PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" + RANDOM[:64] + "\n" + RANDOM[64:128] + "\n" + RANDOM[128:160] + "=="

BY_THEIR_CONTEXT = {
    "aws-secret-key env": ('export AWS_SECRET_ACCESS_KEY="{}"', "wJalr" + RANDOM[:20] + "/K7/" + RANDOM[30:40] + "+"),
    "aws-secret-key json": ('{{"SecretAccessKey": "{}"}}', RANDOM[5:45]),
    "aws-session-token ini": ("aws_session_token = {}", RANDOM[:120]),
    "api-key mistral": ("MISTRAL_API_KEY={}", RANDOM[:32]),
    "api-key cohere": ("co = cohere.Client(api_key='{}')", RANDOM[:40]),
    "api-key together": ('"together_api_key": "{}"', HEX[:64]),
    "api-key azure": ("api-key: {}", HEX[:32]),
    "api-key said": ("My API key is {}, keep it.", RANDOM[:32]),
    "api-key form": ('name="api_key"\r\n\r\n{}\r\n', RANDOM[:32]),
    "access-token": ('{{"access_token":"{}","token_type":"Bearer"}}', RANDOM[:40]),
    "client-secret": ("client_secret={}&grant_type=client_credentials", RANDOM[:36]),
    "bearer-token": ("curl -H 'Authorization: Bearer {}' https://api.example.org", RANDOM[:40]),
    "basic-credential": ("Authorization: Basic {}", b64("ada:" + RANDOM[:9])),
    "cookie": ("Cookie: session={}; theme=dark", RANDOM[:20]),
    "cookie set": ("Set-Cookie: sid={}; HttpOnly", RANDOM[:26]),
    "private-key": (PEM, PEM_BODY),
    "url-password": ("postgresql://ada:{}@db.internal:5432/prod", RANDOM[:12]),
    "url-password redis": ("redis://:{}@10.0.0.7:6379/0", RANDOM[:10]),
    "url-signature aws": ("https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={}", HEX[:64]),
    "url-signature azure": ("https://a.blob.core.windows.net/c/b?sv=2024&sig={}", RANDOM[:40] + "%2B%3D"),
    "connection-string": ("Server=tcp:db;Database=prod;User ID=ada;Password={};Encrypt=True", RANDOM[:11]),
    "connection-string storage": ("DefaultEndpointsProtocol=https;AccountKey={}", RANDOM[:86] + "=="),
    "slack-webhook": ("https://hooks.slack.com/{}", "services/T" + "0123ABCD/B" + "0123ABCD/" + RANDOM[:24]),
}
"""Kind (and variant) -> the text around it, and the secret that only this text gives away."""

TEXTS = {name: ("The key is {}", secret) for name, secret in BY_THEIR_SHAPE.items()} | BY_THEIR_CONTEXT


def as_json(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


def as_json_in_json_in_json(text: str) -> bytes:
    return as_json(json.dumps({"arguments": json.dumps({"text": text})}))


def as_escaped_json(text: str) -> bytes:
    return ('{"text":"' + "".join(f"\\u{ord(one):04x}" for one in text) + '"}').encode()


def as_php_json(text: str) -> bytes:
    return as_json(text).replace(b"/", b"\\/").replace(b"-", b"\\u002d")


def as_base64(text: str) -> bytes:
    return json.dumps({"file_data": "data:text/plain;base64," + b64("Notes of today:\n" + text)}).encode()


def as_base64_twice(text: str) -> bytes:
    return json.dumps({"data": b64(json.dumps({"inner": b64("Notes of today:\n" + text)}))}).encode()


def as_wrapped_base64(text: str) -> bytes:
    return json.dumps({"mail": base64.encodebytes(("Notes of today:\n" * 9 + text).encode()).decode()}).encode()


def as_sse(text: str) -> bytes:
    return b"event: delta\r\ndata: " + as_json(text) + b"\r\n\r\ndata: [DONE]\r\n\r\n"


def as_multipart(text: str) -> bytes:
    return (
        b'--x1\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + text.encode() + b"\r\n--x1\r\n"
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\x00\xff\xfe\r\n--x1--\r\n'
    )


def as_eventstream(text: str) -> bytes:
    return eventstream.frame("messageStart", b'{"role":"assistant"}') + eventstream.frame("delta", as_json(text)) * 2


def as_bedrock_chunks(text: str) -> bytes:
    return eventstream.frame("chunk", json.dumps({"bytes": b64(as_json(text))}).encode())


def as_form(text: str) -> bytes:
    return b"grant=a&assertion=" + quote(text, safe="").encode()


PLACES: dict[str, Callable[[str], bytes]] = {
    "text": str.encode,
    "json": as_json,
    "json in json in json": as_json_in_json_in_json,
    "escaped json": as_escaped_json,
    "php json": as_php_json,
    "base64": as_base64,
    "base64 in base64": as_base64_twice,
    "wrapped base64": as_wrapped_base64,
    "sse": as_sse,
    "multipart": as_multipart,
    "eventstream": as_eventstream,
    "bedrock chunks": as_bedrock_chunks,
    "form": as_form,
}


def readings(data: bytes, depth: int = 5) -> Iterator[bytes]:
    """Everything a reader could make of `data`, found without the code under test."""
    yield data
    if depth:
        yield from readings_of(unquote_to_bytes(data), data, depth)
        unescaped = re.sub(rb'\\(?:u00([0-9a-f]{2})|([n"\\/]))', unescape, data)
        yield from readings_of(unescaped, data, depth)
        for run in re.findall(rb"[A-Za-z0-9+/\n]{24,}={0,2}", data):
            plain = re.sub(rb"\s", b"", run).rstrip(b"=")
            if len(plain) % 4 != 1:
                yield from readings_of(base64.b64decode(plain + b"=="), b"", depth)


def unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)]) if match[1] else b"\n" if match[2] == b"n" else match[2]


def readings_of(data: bytes, but: bytes, depth: int) -> Iterator[bytes]:
    if data != but:
        yield from readings(data, depth - 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TEXTS)
def test_a_planted_secret_is_found_and_gone_in_every_reading(name: str, place: str) -> None:
    text, secret = TEXTS[name]
    if place == "multipart" and name == "api-key form":
        text = text.replace('name="', '--x1\r\nContent-Disposition: form-data; name="')
    planted = PLACES[place](text.format(secret))
    assert any(secret.encode() in reading for reading in readings(planted)), "the test plants it"
    redacted = redact(planted)
    assert name.split()[0] in {finding.kind for finding in redacted.findings}
    for reading in readings(redacted.data):
        for part in secret.encode().split(b"\n"):
            assert part not in reading
    assert redact(redacted.data).data is redacted.data


@pytest.mark.parametrize("place", ["json", "json in json in json", "base64", "base64 in base64", "php json"])
@pytest.mark.parametrize("name", TEXTS)
def test_json_stays_json_and_says_the_same_around_the_secret(name: str, place: str) -> None:
    text, secret = TEXTS[name]
    said = decoded_by(place, redact(PLACES[place](text.format(secret))).data)
    kind = name.split()[0]
    before, _, after = text.format("\0").partition("\0")
    assert said.startswith(before)
    assert said.removeprefix(before).startswith(f"REDACTED-{kind}")
    assert said.endswith(after)


def decoded_by(place: str, data: bytes) -> str:
    def content(data: bytes | str) -> str:
        text = json.loads(data)["messages"][0]["content"]
        assert isinstance(text, str)
        return text

    def undone(text: str) -> str:
        return base64.b64decode(text, validate=True).decode().removeprefix("Notes of today:\n")

    if place == "json in json in json":
        return str(json.loads(json.loads(content(data))["arguments"])["text"])
    if place == "base64":
        return undone(json.loads(data)["file_data"].partition(",")[2])
    if place == "base64 in base64":
        return undone(json.loads(undone(json.loads(data)["data"]))["inner"])
    return content(data)


def test_two_keys_of_one_kind_leave_the_same_request() -> None:
    laptop, ci = ("sk-" + "proj-" + RANDOM[:60], "sk-" + "svcacct-" + RANDOM[9:99])
    assert redact(as_json(f"use {laptop}")).data == redact(as_json(f"use {ci}")).data


# What is no secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-REDACTED",
        "sk-" + "x" * 48,
        "OPENAI_API_KEY=your-api-key-here-please-1234",
        "api_key=os.environ['OPENAI_API_KEY_2']",
        "api_key = get_api_key_from_env2_production(name)",
        "AKIAIOSFODNN7EXAMPLE",
        "Authorization: Bearer $OPENAI_API_KEY",
        "Authorization: Bearer <token>",
        "The bearer of this letter, Basic Average Shares, a basic understanding",
        "postgresql://user:password@localhost/db and https://${USER}:${PASSWORD}@host/",
        "http://host:8080/@scope/package",
        "risk-assessment-of-2024-task-force-and-desk-research",
        "https://blog/sk-learn-tutorial-part-2-of-many-things",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "3f2504e0-4f89-11d3-9a0c-0305e82cfd25",
        "cookie: chocolate, and a cookie policy",
        '{"id":"call_' + RANDOM[:24] + '","tool_use_id":"toolu_01' + RANDOM[:22] + '"}',
        '{"id":"resp_' + HEX[:50] + '","item":"msg_' + HEX[:50] + '","fp":"fp_' + HEX[:10] + '"}',
        '{"id":"chatcmpl-' + RANDOM[:29] + '","system_fingerprint":"fp_44709d6fcb"}',
        '{"nextPageToken":"' + RANDOM[:60] + '"}',
        '{"password":"mellon"}',
        '{"max_tokens":1024,"token":" secret","logprob":-0.0061234567890123456789}',
        '{"url":"data:image/png;base64,' + b64(bytes(range(256)) * 3) + '"}',
        b64("The quick brown fox jumps over the lazy dog."),
        "-----BEGIN PUBLIC KEY-----\n" + RANDOM[:64] + "\n-----END PUBLIC KEY-----",
        PEM.format("..."),
        "eyJub3QiOiJhIGp3dCJ9." + RANDOM[:30] + "." + RANDOM[:20],
    ],
)
def test_what_is_no_secret_comes_back_as_the_very_same_object(text: str) -> None:
    for data in (text.encode(), as_json(text), as_sse(text), as_base64(text)):
        assert redact(data).data is data
        assert redact(data).findings == ()


@pytest.mark.parametrize(
    "field",
    [
        '{{"type":"thinking","thinking":"","signature":"{}"}}',
        '{{"thoughtSignature":"{}"}}',
        '{{"extra_content":{{"google":{{"thought_signature": "{}"}}}}}}',
        '{{"type":"reasoning","encrypted_content":"{}","summary":[]}}',
        '{{"type":"redacted_thinking","data":"{}"}}',
        '{{"data":"{}","type":"redacted_thinking"}}',
    ],
)
@pytest.mark.parametrize("sealed", ["Ab/" + "AK" + "IAQ3EGPK7V2NXR4M5T/cd", b64("Some text with sk-" + RANDOM[:48])])
def test_signed_fields_are_reported_and_never_altered(field: str, sealed: str) -> None:
    for data in (field.format(sealed).encode(), as_json(field.format(sealed)), as_base64(field.format(sealed))):
        redacted = redact(data)
        assert redacted.data is data
        assert [finding.changed for finding in redacted.findings] == [False]


def test_a_secret_beside_a_signed_field_is_replaced() -> None:
    data = json.dumps({"text": BY_THEIR_SHAPE["groq-key"], "signature": "Ab/" + BY_THEIR_SHAPE["aws-key-id"] + "/c"})
    redacted = json.loads(redact(data.encode()).data)
    assert redacted == {"text": "REDACTED-groq-key", "signature": json.loads(data)["signature"]}


# Framings


def test_frames_get_lengths_and_checksums_that_fit() -> None:
    other = eventstream.frame("messageStop", b'{"stopReason":"end_turn"}')
    secret = BY_THEIR_SHAPE["anthropic-key"]
    stream = redact(other + eventstream.frame("delta", json.dumps({"text": secret}).encode()) + other).data
    parsed = eventstream.parse(stream)
    assert parsed.at_boundary
    assert [event.data for event in parsed.events][1] == b'{"text": "REDACTED-anthropic-key"}'
    assert stream.startswith(other)
    assert stream.endswith(other)


def test_a_broken_frame_is_left_broken_but_holds_no_secret_that_can_be_read_as_text() -> None:
    frame = bytearray(eventstream.frame("delta", as_json(BY_THEIR_SHAPE["groq-key"])))
    frame[8] ^= 1  # the checksum of the prelude
    assert BY_THEIR_SHAPE["groq-key"].encode() not in redact(bytes(frame)).data


def chat_chunk(text: str) -> bytes:
    return json.dumps({"choices": [{"delta": {"content": text}, "index": 0}], "id": "chatcmpl-1"}).encode()


def message_delta(text: str) -> bytes:
    return json.dumps(
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": text}}
    ).encode()


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("chunk", [chat_chunk, message_delta])
def test_a_secret_said_piece_by_piece_is_taken_out_of_its_pieces(
    name: str, size: int, chunk: Callable[[str], bytes]
) -> None:
    text, secret = TEXTS[name]
    said = f"It is: {text.format(secret)}\nNothing else."
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    stream = b"".join(b"data: " + chunk(piece) + b"\n\n" for piece in pieces)
    redacted = redact(stream).data
    events = sse.parse(redacted).events
    assert len(events) == len(pieces)
    spelled = "".join(spelled_by(event.object) for event in events)
    assert all(part not in spelled for part in secret.split("\n"))
    assert f"REDACTED-{name.split()[0]}" in spelled
    assert spelled.startswith("It is: ")
    assert spelled.endswith("\nNothing else.")
    assert redact(redacted).data is redacted


def spelled_by(event: dict[str, dict[str, str]]) -> str:
    if "choices" in event:
        return str(event["choices"][0]["delta"]["content"])  # type: ignore[index]
    return event["delta"]["partial_json"]


def test_a_secret_said_over_frames_is_taken_out_of_its_frames() -> None:
    said = f"The key is {BY_THEIR_SHAPE['openai-key project']}, bye"
    payloads = [json.dumps({"delta": {"text": said[at : at + 5]}}).encode() for at in range(0, len(said), 5)]
    redacted = redact(b"".join(eventstream.frame("contentBlockDelta", payload) for payload in payloads)).data
    events = eventstream.parse(redacted).events
    assert len(events) == len(payloads)
    assert "".join(event.object["delta"]["text"] for event in events) == "The key is REDACTED-openai-key, bye"


# Requests, URLs and headers


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (
            "https://h/v1beta/models/g:generateContent?alt=sse&key={}",
            "https://h/v1beta/models/g:generateContent?alt=sse&",
        ),
        ("https://ada:{}@h/v1", "https://ada:REDACTED-url-password@h/v1"),
        (
            "https://h/b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={}",
            "https://h/b?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        ),
        ("https://h/c?sv=2024-08-04&sig={}", "https://h/c?sv=2024-08-04&"),
        ("/v1/files?access_token={}&limit=3", "&limit=3"),
        ("api_key={}", "api_key="),
    ],
)
def test_credentials_leave_a_url_and_the_rest_stays(url: str, kept: str) -> None:
    redacted = redact_url(url.format("tell-nobody1"))
    assert "tell-nobody1" not in redacted.text
    assert kept in redacted.text
    assert len(redacted.findings) == 1
    again = redact_url(redacted.text)
    assert again.text is redacted.text
    assert again.findings == ()


@pytest.mark.parametrize("secret", BY_THEIR_SHAPE.values(), ids=BY_THEIR_SHAPE)
def test_a_key_in_a_path_or_a_header_is_found_by_its_shape(secret: str) -> None:
    for text in (f"/hooks/{secret}/run", f"/v1/x?q={quote(secret, safe='')}"):
        assert secret not in redact_url(text).text
        assert quote(secret, safe="") not in redact_url(text).text
    assert secret not in repr(redact_headers(Headers([("x-note", secret)])).headers)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Authorization", "Bearer a.b-c", "Bearer REDACTED-credential"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=A/B", "AWS4-HMAC-SHA256 REDACTED-credential"),
        ("x-api-key", "anything", "REDACTED-credential"),
        ("X-Goog-Api-Key", "anything", "REDACTED-credential"),
        ("x-amz-security-token", "anything", "REDACTED-credential"),
        ("proxy-authorization", "Basic YTpi", "Basic REDACTED-credential"),
        ("x-acme-access-token", "anything", "REDACTED-credential"),
        ("Cookie", "a=1; sid=2", "a=REDACTED-cookie; sid=REDACTED-cookie"),
        ("set-cookie", "sid=2; Path=/; HttpOnly", "sid=REDACTED-cookie; Path=/; HttpOnly"),
    ],
)
def test_a_header_that_carries_a_credential_loses_it(name: str, value: str, expected: str) -> None:
    redacted = redact_headers(Headers([("accept", "*/*"), (name, value)]))
    assert redacted.headers.fields == (("accept", "*/*"), (name, expected))
    assert redacted.findings
    again = redact_headers(redacted.headers)
    assert again.headers is redacted.headers
    assert again.findings == ()


def test_a_request_loses_its_secrets_everywhere_at_once() -> None:
    secret = BY_THEIR_SHAPE["groq-key"]
    request = Request(
        "POST", "https", "h", 443, f"/{secret}/v1", f"key={secret}&alt=sse",
        Headers([("authorization", f"Bearer {secret}"), ("accept", "*/*")]), as_json(secret),
    )  # fmt: skip
    redacted = redact_request(request)
    assert secret not in repr(redacted.request)
    assert len(redacted.findings) == 4
    again = redact_request(redacted.request)
    assert again.request is redacted.request


def test_a_request_without_secrets_is_the_same_object() -> None:
    request = Request("POST", "https", "h", 443, "/v1", "alt=sse", Headers([("accept", "*/*")]), as_json("hello"))
    assert redact_request(request).request is request
    unseen = Request("POST", "https", "h", 443, "/v1", body=None)
    assert redact_request(unseen).request is unseen


def test_a_compressed_body_is_looked_into_and_loses_its_coding_only_with_a_secret() -> None:
    for text, coded in (("hello", True), (BY_THEIR_SHAPE["groq-key"], False)):
        body = gzip.compress(as_json(text))
        headers = Headers([("content-encoding", "gzip"), ("accept", "*/*")])
        redacted = redact_request(Request("POST", "https", "h", 443, "/", headers=headers, body=body)).request
        assert ("content-encoding" in redacted.headers) is coded
        assert redacted.body == (body if coded else as_json("REDACTED-groq-key"))


def test_a_credential_that_an_answer_repeats_is_known_by_what_was_sent() -> None:
    key, cookie, signature = RANDOM[:32], RANDOM[40:60], RANDOM[9:40] + "%2B%3D"
    headers = Headers([("authorization", f"Bearer {key}"), ("cookie", f"a=1; sid={cookie}"), ("x-api-key", "test")])
    own = credentials_of(Request("POST", "https", "h", 443, "/", f"sig={signature}&alt=sse", headers, b""))
    for secret in (key, cookie, signature, unquote(signature)):
        for place in PLACES.values():
            assert redact(place(f"no such key: {secret}!")).findings == ()
            redacted = redact(place(f"no such key: {secret}!"), own)
            assert {finding.kind for finding in redacted.findings} == {"credential"}
            assert not any(secret.encode() in reading for reading in readings(redacted.data))
    assert redact(b"a test of sse", own).findings == ()


# Patterns of users


def test_a_users_pattern_is_one_more_kind() -> None:
    employee = parse_pattern("employee=EMP-[0-9]{6}")
    secret = parse_pattern("pin=pin: ([0-9]{4})")
    for place in PLACES.values():
        data = redact(place("Ask EMP-123456, pin: 4711 and EMP-1."), (employee, secret)).data
        assert not any(b"EMP-123456" in reading or b"4711" in reading for reading in readings(data))
    assert redact(b"Ask EMP-123456, pin: 4711 and EMP-1.", (employee, secret)).data == (
        b"Ask REDACTED-employee, pin: REDACTED-pin and EMP-1."
    )


@pytest.mark.parametrize(
    ("pattern", "before", "after"),
    [
        ("card=[0-9]{16}", '{"card": 4111111111111111, "n": 1}', '{"card": "REDACTED-card", "n": 1}'),
        ("card=[0-9]{16}", '{"s": "a, 4111111111111111, b"}', '{"s": "a, REDACTED-card, b"}'),
        ('who="name": *"(.*)"', '{"name": "Ada", "x": "y"}', '{"name": "REDACTED-who", "x": "y"}'),
        ("word=[a-z]*zebra", r'{"s": "\nzebra \u0041zebra \\zebra"}', None),
        ("tail=secret.", r'{"s": "secret\n secret\u0041 secret\\"}', None),
    ],
)
def test_a_users_pattern_never_breaks_json(pattern: str, before: str, after: str | None) -> None:
    redacted = redact(before.encode(), (parse_pattern(pattern),)).data
    json.loads(redacted)
    assert b"REDACTED" in redacted
    assert after is None or redacted == after.encode()


@pytest.mark.parametrize(
    "text", ["", "employee", "=x", "employee=", "Two Words=x", "open=(", "all=.*", "any=[A-Z]+-[a-z]+", "word=\\w+"]
)
def test_a_pattern_that_cannot_be_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_pattern(text)
    message = str(raised.value)
    assert "write NAME=REGEX, for example employee=EMP-[0-9]{6}" in message
    assert "\n" not in message


# Rules that hold for everything

secrets = st.sampled_from([text.format(secret) for text, secret in TEXTS.values()])
words = st.sampled_from(
    ["The key is ", "Bearer ", "api_key=", "\n", '"', "\\", "/", "sk-", "Cookie: a=", "é", "%3D", ", "]
)
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.lists(st.one_of(secrets, words, plain), max_size=6).map("".join)
placed = st.tuples(texts, st.lists(st.sampled_from(list(PLACES.values())), min_size=1, max_size=3))


def wrapped(text: str, places: list[Callable[[str], bytes]]) -> bytes:
    data = text.encode()
    for place in places:
        data = place(data.decode("latin-1"))
    return data


@settings(max_examples=examples(150), deadline=None)
@given(placed)
def test_redacting_again_changes_nothing(case: tuple[str, list[Callable[[str], bytes]]]) -> None:
    once = redact(wrapped(*case))
    again = redact(once.data)
    assert again.data is once.data
    assert not [finding for finding in again.findings if finding.changed]


@settings(max_examples=examples(150), deadline=None)
@given(st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)))
def test_json_stays_json_of_the_same_shape(value: object) -> None:
    for data in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False, indent=1).encode()):
        assert shape(json.loads(redact(data).data)) == shape(value)


def shape(value: object) -> object:
    """Without names and texts: two names may become one placeholder, so objects count as there or not."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_can_be_redacted(data: bytes) -> None:
    once = redact(data).data
    assert redact(once).data is once


@settings(max_examples=examples(100), deadline=None)
@given(plain, st.sampled_from(sorted(BY_THEIR_SHAPE.values())), plain)
def test_bytes_around_a_secret_are_unchanged(before: str, secret: str, after: str) -> None:
    data = f"{before} {secret} {after}".encode()
    redacted = redact(data).data
    assert redacted.startswith(f"{before} REDACTED-".encode())
    assert redacted.endswith(f" {after}".encode())


def test_findings_never_hold_the_secret() -> None:
    for text, secret in TEXTS.values():
        for finding in redact(text.format(secret).encode()).findings:
            assert finding.shown.endswith("****")
            assert len(finding.shown) <= 8
            assert secret not in repr(finding)


def test_the_kinds_that_are_promised_are_all_tried_here() -> None:
    assert len(TEXTS) * len(PLACES) >= 60
    assert {"redact", "redact_request", "redact_url", "redact_headers", "parse_pattern"} <= set(redacting.__all__)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "piece",
    [
        "-eyJ",
        "/sk-",
        "password=",
        "://a:",
        "@://",
        "-----BEGIN ",
        "cookie: a=",
        "\\\\/",
        "%2D",
        'name="\n',
        "Basic ",
        "A" * 30,
        "token=",
        "key: ",
        'password":"',
        "mysql -p ",
        " -u a:",
        "1:5432:a:",
        "password\\n",
        "secret&",
        '"index":1,"token":"a',
    ],
)
def test_text_made_of_beginnings_takes_time_in_proportion(piece: str) -> None:
    def seconds(size: int) -> float:
        data = (piece * size)[:size].encode()
        return min(timeit.repeat(lambda: redact(data), number=1, repeat=3))

    assert seconds(40_000) < 12 * seconds(10_000) + 0.2


def test_checksums_are_those_of_aws() -> None:
    frame = redact(eventstream.frame("delta", as_json(BY_THEIR_SHAPE["groq-key"]))).data
    total, _, prelude = struct.unpack_from(">III", frame)
    assert total == len(frame)
    assert prelude == zlib.crc32(frame[:8])
    assert struct.unpack(">I", frame[-4:])[0] == zlib.crc32(frame[:-4])


def test_a_users_pattern_may_mean_a_whole_header_value() -> None:
    headers = Headers([("accept", "*/*"), ("x-team", "blue-7")])
    redacted = redact_headers(headers, (parse_pattern("team=^blue-[0-9]$"),))
    assert redacted.headers.get("x-team") == "REDACTED-team"
