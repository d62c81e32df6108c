"""On real traffic: nothing but real secrets is found, and a planted one leaves every other byte alone."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace

import pytest

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache.redact import redact, redact_fields, redact_request, redact_url

pytestmark = [needs_corpus, pytest.mark.slow]

KEY = "sk-" + "proj-" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1EvQkNzhW0CbDrJ"

REAL = {"url-signature": 10}
"""Signatures of Azure blobs in the URLs of generated images (`sig=`): whoever has one may read the image."""


def test_no_body_of_the_corpus_is_taken_for_a_secret() -> None:
    found: Counter[str] = Counter()
    for exchange in exchanges():
        for body in (exchange.request_body, exchange.response_body):
            redacted = redact(body)
            found.update(finding.kind for finding in redacted.findings)
            if not redacted.findings:
                assert redacted.data is body
    assert found == REAL


def test_no_url_and_no_header_but_those_that_carry_credentials_is_taken_for_a_secret() -> None:
    carriers = {"authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token"}
    for exchange in exchanges():
        assert redact_url(exchange.url).text is exchange.url
        for name, value in (*exchange.request_headers, *exchange.response_headers):
            fields, findings = redact_fields([(name, value)])
            if name.lower() not in carriers:
                assert not findings, (name, value)
                assert fields == ((name, value),)


def test_no_credential_of_the_corpus_is_left_and_redacting_again_changes_nothing() -> None:
    for exchange in exchanges():
        once = redact_request(exchange.request).request
        assert redact_request(once).request is once
        for name in ("authorization", "x-api-key", "api-key", "x-goog-api-key"):
            assert once.headers.get(name).endswith("REDACTED-credential") or not once.headers.get(name)


def test_a_key_planted_in_a_prompt_is_all_that_changes() -> None:
    planted = 0
    for exchange in exchanges():
        body = exchange.request_body
        at = body.find(b'"content":')
        start = body.find(b'"', at + len(b'"content":')) + 1
        if at < 0 or start <= 0 or body[at + len(b'"content":') : start].strip() != b'"':
            continue
        with_key = body[:start] + f"Use {KEY} here. ".encode() + body[start:]
        assert redact(with_key).data == body[:start] + b"Use REDACTED-openai-key here. " + body[start:]
        planted += 1
    assert planted > 1000


@pytest.mark.parametrize("protocol", ["openai-chat", "openai-responses", "anthropic", "gemini", "bedrock"])
def test_an_answer_with_a_key_in_base64_is_clean_afterwards(protocol: str) -> None:
    hidden = base64.b64encode(json.dumps({"key": KEY}).encode()).decode()
    tried = 0
    for exchange in exchanges():
        body = exchange.response_body
        if not exchange.protocol.startswith(protocol) or exchange.streamed or body[:1] != b"{" or redact(body).findings:
            continue
        whole = json.dumps([json.loads(body), hidden]).encode()
        redacted = json.loads(redact(whole).data)
        assert redacted[0] == json.loads(body)
        assert json.loads(base64.b64decode(redacted[1])) == {"key": "REDACTED-openai-key"}
        tried += 1
    assert tried > 10


def test_a_request_with_another_key_is_the_same_request() -> None:
    for exchange in exchanges()[::40]:
        one, other = (
            replace(exchange.request, query=f"key={key}", body=exchange.request_body + key.encode())
            for key in (KEY, KEY[:30] + "ZZ19" + KEY[34:])
        )
        assert redact_request(one).request == redact_request(other).request
