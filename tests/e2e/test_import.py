"""Cassettes that another tool recorded, imported and then answered to the real SDK by a proxy without a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from corpus.recorded import Recorded, exchanges, needs_corpus
from harness import FakeProviders, Process, plain_environ
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.identity.key import KeyRules, counting_headers, fingerprint

pytestmark = pytest.mark.slow

WANTED = 100

ASK = """
import hashlib, json, sys
from openai import OpenAI
client = OpenAI(max_retries=0)
results = []
for line in sys.stdin:
    wanted = json.loads(line)
    model, messages = wanted.pop("model"), wanted.pop("messages")
    named = {"stream": wanted.pop("stream")} if "stream" in wanted else {}
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=messages, extra_body=wanted, **named
    )
    status = raw.headers["x-ai-cache-status"]
    if named.get("stream"):
        results.append([status, sum(1 for chunk in raw.parse())])
    else:
        results.append([status, raw.parse().choices[0].message.role, hashlib.sha256(raw.content).hexdigest()])
print(json.dumps(results))
"""


def chats() -> Iterator[Recorded]:
    """Whole chat completions of api.openai.com, each request once, without headers that this SDK would not send."""
    seen = set()
    for exchange in exchanges():
        call = exchange.call
        if call is None or call.protocol.name != "openai-chat" or call.host != "api.openai.com":
            continue
        key = fingerprint(call, exchange.request, (), KeyRules())
        plain = not counting_headers(call, exchange.request, ()) and not exchange.request.query
        if plain and key not in seen and gate.verdict(call, exchange.answer).cacheable:
            seen.add(key)
            yield exchange


def text_or_bytes(data: bytes) -> str | bytes:
    """As vcrpy serialises bodies."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def as_vcrpy_writes_it(exchange: Recorded) -> dict[str, Any]:
    return {
        "request": {
            "body": text_or_bytes(exchange.request_body),
            "headers": {name: [value] for name, value in exchange.request_headers},
            "method": exchange.method,
            "uri": exchange.url,
        },
        "response": {
            "body": {"string": text_or_bytes(exchange.response_body)},
            "headers": {name: [value] for name, value in exchange.response_headers},
            "status": {"code": exchange.status, "message": "OK"},
        },
    }


def expected(exchange: Recorded) -> list[Any]:
    if exchange.call is not None and exchange.call.stream:
        return ["HIT", sum(line.startswith(b"data: {") for line in exchange.response_body.splitlines())]
    return ["HIT", "assistant", hashlib.sha256(exchange.response_body).hexdigest()]


@needs_corpus
def test_a_hundred_cassettes_are_imported_and_answered_to_the_real_sdk(
    run: Callable[..., subprocess.CompletedProcess[str]],
    start: Callable[..., Process],
    providers: FakeProviders,
    tmp_path: Path,
) -> None:
    chosen = [exchange for _, exchange in zip(range(WANTED), chats(), strict=False)]
    assert len(chosen) == WANTED
    assert any(exchange.call and exchange.call.stream for exchange in chosen)
    folder = tmp_path / "cassettes"
    folder.mkdir()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 1 << 30  # where ruamel folds long text with escapes it writes another text; PyYAML does not
    for number, exchange in enumerate(chosen):
        with (folder / f"test_{number:03}.yaml").open("wb") as file:
            yaml.dump({"interactions": [as_vcrpy_writes_it(exchange)], "version": 1}, file)

    store = f"sqlite:///{tmp_path / 'imported.sqlite3'}"
    done = run("import", "cassettes", "--store", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ai-cache: imported 100 of 100 exchanges into {store}\n"

    proxy = start("ai_cache_mode=replay", f"ai_cache_store={store}")
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        input="".join(json.dumps(json.loads(exchange.request_body)) + "\n" for exchange in chosen),
        env=plain_environ(tmp_path, **proxy.client_environ(), OPENAI_API_KEY="sk-placeholder"),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    for exchange, got in zip(chosen, json.loads(asked.stdout), strict=True):
        assert got == expected(exchange), exchange.id
    assert providers.tls.connections == 0
