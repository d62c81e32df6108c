"""Recorded requests with one thing changed: the explanation names the request they were made of, and the thing."""

from __future__ import annotations

import copy
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from corpus.recorded import REGISTRY, exchanges, needs_corpus
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.explain import Explanation, Miss, Recorded, lines
from mitmproxy_ai_cache.identity.identifier import Identifier
from mitmproxy_ai_cache.identity.key import KeyRules, counting_headers, fingerprint, public_query
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.identity.rules import IdentityRules
from mitmproxy_ai_cache.protocols.base import Call
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

pytestmark = [needs_corpus, pytest.mark.slow]

RULES = KeyRules(profiles=PROFILES)
SCOPE = (b"none", b"")

MUTATIONS = 500
SEED = 2031
MESSAGES = ("messages", "contents", "input")


def call_of(request: Request) -> Call | None:
    return REGISTRY.recognise(request, body.read(request, 100 << 20))


def key_of(request: Request) -> str:
    call = call_of(request)
    assert call is not None
    return fingerprint(call, request, SCOPE, RULES)


def entry_of(request: Request, call: Call, created: float = 0) -> Entry:
    query = public_query(request.query)
    fields = dict(counting_headers(call, request, ()))
    if content_type := request.headers.get("content-type"):
        fields["content-type"] = content_type
    return Entry(
        fingerprint(call, request, SCOPE, RULES), created, 0, 200, (), "json", b"{}", call.body.raw,
        tuple(fields.items()), protocol=call.protocol.name, model=call.model, method=request.method,
        url=request.url + (f"?{query}" if query else ""), stream=call.stream,
    )  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    kind: str
    request: Request
    paths: tuple[str, ...]
    """What the explanation may name: usually one place, more where an item has an equal neighbour."""


def at(path: tuple[Any, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for name, member in value.items() for leaf in leaves(member, (*path, name))]
    if isinstance(value, list) and value:
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [path]


def changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + chance.choice([1, 0.5, -3])
    if isinstance(value, str) and value:
        words = value.split(" ")
        words[chance.randrange(len(words))] = chance.choice(["Rome", "2031-05-06", "x" * 300, ""]) + "~"
        return " ".join(words)
    return "something else"


def with_body(request: Request, value: Any) -> Request:
    return replace(request, body=json.dumps(value).encode(), headers=without_coding(request.headers))


def without_coding(headers: Headers) -> Headers:
    return Headers([field for field in headers if field[0].lower() != "content-encoding"])


def change_a_value(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    path = chance.choice(leaves(value))
    if not path:
        return None
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = changed(place[path[-1]], chance)
    return Mutation("value", with_body(request, value), (at(path),))


def a_list(value: Any, chance: random.Random) -> tuple[str, list[Any]] | None:
    names = [name for name in MESSAGES if isinstance(value, dict) and isinstance(value.get(name), list) and value[name]]
    return (name := names[0], value[name]) if names else None


def equal_around(items: list[Any], index: int) -> range:
    first = last = index
    while first > 0 and items[first - 1] == items[index]:
        first -= 1
    while last + 1 < len(items) and items[last + 1] == items[index]:
        last += 1
    return range(first, last + 1)


def add_a_message(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    if not (found := a_list(value, chance)):
        return None
    name, items = found
    index = chance.randrange(len(items) + 1)
    new = copy.deepcopy(chance.choice(items)) if chance.random() < 0.3 else {"role": "user", "content": "And then?"}
    items.insert(index, new)
    return Mutation("added", with_body(request, value), tuple(f"{name}[{i}]" for i in equal_around(items, index)))


def remove_a_message(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    if not (found := a_list(value, chance)) or len(found[1]) < 2:
        return None
    name, items = found
    index = chance.randrange(len(items))
    paths = tuple(f"{name}[{i}]" for i in equal_around(items, index))
    del items[index]
    return Mutation("removed", with_body(request, value), paths)


def reorder_tools(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    tools = value.get("tools") if isinstance(value, dict) else None
    if not isinstance(tools, list) or len(tools) < 2:
        return None
    before = list(tools)
    chance.shuffle(tools)
    return Mutation("reordered", with_body(request, value), ("tools",)) if tools != before else None


def change_the_model(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    if isinstance(value, dict) and isinstance(value.get("model"), str) and value["model"]:
        value["model"] += chance.choice(["-mini", "-2031-05-06"])
        return Mutation("model", with_body(request, value), ("model",))
    call = call_of(request)
    if call is None or not call.model or call.model not in request.path:
        return None
    path = request.path.replace(call.model, call.model + "-mini")
    return Mutation("model", replace(request, path=path), ("model",))


def change_the_host(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    host = f"other.{request.host}"
    headers = Headers([(name, host if name.lower() == "host" else field) for name, field in request.headers])
    return Mutation("host", replace(request, host=host, headers=headers), ("host",))


def change_a_header(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    call = call_of(request)
    assert call is not None
    counting = [name for name, _ in counting_headers(call, request, ())]
    if not counting:
        name = "x-portkey-config"
        return Mutation(
            "header", replace(request, headers=Headers([*request.headers, (name, "c")])), (f"headers.{name}",)
        )
    name = chance.choice(counting)
    headers = Headers([(key, field + "-2" if key.lower() == name else field) for key, field in request.headers])
    return Mutation("header", replace(request, headers=headers), (f"headers.{name}",))


def change_the_query(request: Request, value: Any, chance: random.Random) -> Mutation | None:
    pairs = [pair for pair in public_query(request.query).split("&") if "=" in pair]
    if not pairs:
        return Mutation("query", replace(request, query="api-version=2031-05-06"), ("query.api-version",))
    pair = chance.choice(pairs)
    name = pair.partition("=")[0]
    written = name if re.fullmatch(r"[\w-]+", name) else None
    query = "&".join(other + "1" if other == pair else other for other in pairs)
    return Mutation("query", replace(request, query=query), (f"query.{written}",)) if written else None


WAYS: tuple[tuple[int, Callable[[Request, Any, random.Random], Mutation | None]], ...] = (
    (8, change_a_value), (3, add_a_message), (3, remove_a_message), (2, reorder_tools),
    (2, change_the_model), (1, change_the_host), (1, change_a_header), (1, change_the_query),
)  # fmt: skip


def mutations(known: set[str]) -> list[tuple[Request, Mutation]]:
    """Requests of the corpus and what became of them; only those that miss."""
    chance = random.Random(SEED)
    weights, ways = zip(*WAYS, strict=True)
    calls = [exchange for exchange in exchanges() if exchange.call is not None and exchange.call.body.kind == "json"]
    made: list[tuple[Request, Mutation]] = []
    way = ways[0]
    missed = False
    while len(made) < MUTATIONS:
        exchange = chance.choice(calls)
        way = way if missed else chance.choices(ways, weights)[0]
        missed = True
        assert exchange.call is not None
        mutation = way(exchange.request, json.loads(exchange.call.body.raw), chance)
        if mutation is None:
            continue
        if call_of(mutation.request) is not None and key_of(mutation.request) not in known:
            made.append((exchange.request, mutation))
            missed = False
    return made


def test_explanations_name_the_request_and_the_place_that_changed(capsys: pytest.CaptureFixture[str]) -> None:
    requests: dict[str, Request] = {}
    entries = {}
    for exchange in exchanges():
        if exchange.call is not None:
            entry = entry_of(exchange.request, exchange.call, len(entries))
            entries.setdefault(entry.key, entry)
            requests.setdefault(entry.key, exchange.request)
    recorded = Recorded(entries.values(), Identifier(IdentityRules(key=RULES)))
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    as_near = 0
    wrong = []
    for origin, mutation in mutations(set(entries)):
        explanation = recorded.explain(Miss(mutation.request, call_of(mutation.request)))
        asked[mutation.kind] += 1
        if explanation.key == key_of(origin):
            ok = len(explanation.differences) == 1 and explanation.differences[0].path in mutation.paths
        else:
            ok = is_one_step_away(explanation, requests[explanation.key], mutation.request)
            as_near += ok
        right[mutation.kind] += ok
        if not ok:
            wrong.append("\n  ".join([f"{mutation.kind} {mutation.paths}", *lines(explanation)]))
    with capsys.disabled():
        shares = ", ".join(f"{kind} {right[kind]} of {count}" for kind, count in sorted(asked.items()))
        print(f"\nexplained: {shares}; {as_near} of them by another request that is one step away, too")
    assert right.total() >= 0.99 * MUTATIONS, "\n".join(wrong)


def is_one_step_away(explanation: Explanation, named: Request, sent: Request) -> bool:
    """Whether the request named and the one difference said make the request that was sent.

    The corpus holds the same prompts for several models, and pieces of the same conversations: with the model of one
    changed, several are equally near.
    """
    if len(explanation.differences) != 1:
        return False
    (difference,) = explanation.differences
    one, other = json.loads(named.body or b""), json.loads(sent.body or b"")
    if named.path != sent.path:
        same = one == other and (named.host, named.query) == (sent.host, sent.query)
        return same and difference.path == "model"
    first, *below = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", difference.path)]
    if first not in one and first not in other:
        return False
    if ".." in difference.path:
        below = [slice(below[0], int(below[1]) + 1)]
    *inside, last = [first, *below]
    places = [one, other]
    for step in inside:
        places = [place[step] for place in places]
    if difference.kind == "changed":
        places[0][last] = places[1][last]
    else:
        del places[difference.kind == "added"][last]
    return key_of(with_body(named, one)) == key_of(with_body(sent, other))
