"""Keys over all recorded requests: distinct requests have distinct keys, re-serialised copies keep theirs."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from corpus.recorded import REGISTRY, Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache.identity.key import KeyRules, fingerprint
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.credentials import CREDENTIAL_PARAMETERS
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = needs_corpus

DOCUMENTED_NOISE = ("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "keep_alive")
"""Members at the top of a body that providers document not to shape the answer."""


def key_of(request: Request) -> str:
    call = REGISTRY.recognise(request, body.read(request, 100 << 20))
    assert call is not None
    return fingerprint(call, request, (b"none", b""), KeyRules())


def identity(exchange: Recorded) -> tuple[Any, ...]:
    """What makes two requests two, said without the code under test."""
    request = exchange.request
    try:
        sent = json.loads(request.body or b"")
        if isinstance(sent, dict):
            sent = {name: value for name, value in sent.items() if name not in DOCUMENTED_NOISE}
        content: Any = json.dumps(sent, sort_keys=True)
    except ValueError:
        content = request.body or b""
        if content.startswith(b"--"):  # multipart: the boundary is made up anew for each request
            content = content.replace(content.partition(b"\r\n")[0], b"--boundary")
    query = tuple(pair for pair in request.query.split("&") if pair.partition("=")[0] not in CREDENTIAL_PARAMETERS)
    headers = tuple(
        sorted(
            (name.lower(), value)
            for name, value in request.headers
            if name.lower().startswith(("anthropic-", "openai-", "x-amzn-bedrock")) and "dangerous" not in name
        )
    )
    return (request.method, request.scheme, request.host, request.port, request.path, query, headers, content)


def test_distinct_requests_have_distinct_keys() -> None:
    by_key: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    calls = [exchange for exchange in exchanges() if exchange.call is not None]
    for exchange in calls:
        by_key[key_of(exchange.request)].add(identity(exchange))
    shared = {key: identities for key, identities in by_key.items() if len(identities) > 1}
    assert not shared, next(iter(shared.values()))
    assert len(by_key) > 1500


@pytest.mark.thorough
def test_a_re_serialised_copy_keeps_its_key() -> None:
    copies = 0
    for exchange in exchanges():
        if exchange.call is None or exchange.call.body.kind != "json":
            continue
        chance = random.Random(exchange.id)
        copy = replace(
            exchange.request, body=rewritten(exchange.call.body.json, chance).encode("utf-8", "surrogatepass")
        )
        assert key_of(copy) == key_of(exchange.request), exchange.id
        copies += 1
    assert copies > 2000


def rewritten(value: Any, chance: random.Random, keep_order: bool = False) -> str:
    """Other member order (kept under `properties`), white space, escapes and forms of numbers."""
    space = chance.choice(["", " ", "\n  "])
    if isinstance(value, dict):
        names = list(value)
        if not keep_order:
            chance.shuffle(names)
        members = (
            f"{space}{json.dumps(name)}{space}: {rewritten(value[name], chance, name == 'properties')}"
            for name in names
        )
        return "{" + ",".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + ",".join(space + rewritten(item, chance) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if isinstance(value, int) and not isinstance(value, bool):
        return chance.choice([str(value), f"{value}.0", f"{value}e0", f"{value}.00E0"])
    return json.dumps(value) if not hasattr(value, "as_tuple") else str(value)
