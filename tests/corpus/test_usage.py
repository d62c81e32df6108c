"""Tokens agree with the usage fields of the recorded answers, found by another way than the code's."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache import gate

pytestmark = needs_corpus

_OUTPUT = {
    "openai-chat": r'"completion_tokens": ?(\d+)',
    "openai-completions": r'"completion_tokens": ?(\d+)',
    "openai-responses": r'"output_tokens": ?(\d+)',
    "anthropic-messages": r'"output_tokens": ?(\d+)',
    "bedrock-converse": r'"outputTokens": ?(\d+)',
    "ollama-chat": r'"eval_count": ?(\d+)',
    "gemini-generate": r'"candidatesTokenCount": ?(\d+)',
}


def test_output_tokens_are_those_the_answer_names_last(capsys: pytest.CaptureFixture[str]) -> None:
    compared: Counter[str] = Counter()
    silent: Counter[str] = Counter()
    for exchange in exchanges():
        call = exchange.call
        if call is None or exchange.status != 200:
            continue
        verdict = gate.verdict(call, exchange.answer)
        if not (verdict.whole and verdict.cacheable):
            continue
        pattern = _OUTPUT.get(call.protocol.name)
        named = re.findall(pattern, exchange.response_body.decode("utf-8", "replace")) if pattern else []
        if not named:
            silent[call.protocol.name] += not verdict.usage.total
            continue
        gemini = call.protocol.name == "gemini-generate"
        thoughts = re.findall(rb'"thoughtsTokenCount": ?(\d+)', exchange.response_body) if gemini else []
        wanted = int(named[-1]) + (int(thoughts[-1]) if thoughts else 0)
        assert verdict.usage.output == wanted, (exchange.id, call.protocol.name, verdict.usage, json.dumps(named[-3:]))
        compared[call.protocol.name] += 1
    with capsys.disabled():
        print(f"\nagree: {dict(compared)}; say nothing: {dict(silent)}")
    assert sum(compared.values()) > 1500
