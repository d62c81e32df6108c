"""An explanation names the nearest recorded request, and exactly what differs for the key."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.calls.explaining import Explainer
from mitmproxy_ai_cache.calls.workers import OffLoop, Pool
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.explain import Explanation, Miss, Recorded, lines
from mitmproxy_ai_cache.identity.canonical import parse_path
from mitmproxy_ai_cache.identity.identifier import Identified, Identifier
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.identity.key import Alias, KeyRules, Normalize, counting_headers, fingerprint, public_query
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.identity.rules import IdentityRules
from mitmproxy_ai_cache.protocols.base import Call
from mitmproxy_ai_cache.stores.memory import MemoryStore
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

REGISTRY = protocols.standard()
RULES = KeyRules(profiles=PROFILES)
URL = Request(
    "POST", "https", "api.openai.com", 443, "/v1/chat/completions", headers=Headers([("host", "api.openai.com")])
)
UUIDS = "8a8a0f34-3c5b-4a59-9d5e-0d8b6ff0a001", "11111111-2222-4333-8444-555555555555"


def call_of(request: Request) -> Call:
    seen = body.read(request, 10 << 20)
    return REGISTRY.recognise(request, seen) or protocols.ANYTHING.recognise(request, seen)


def key_of(request: Request, rules: KeyRules = RULES, namespace: str = "") -> str:
    return fingerprint(call_of(request), request, (b"none", namespace.encode()), rules)


def entry(request: Request, rules: KeyRules = RULES, namespace: str = "", **changes: Any) -> Entry:
    """What is kept of `request`, as `cache.py` does it."""
    call = call_of(request)
    query = public_query(request.query)
    fields = dict(counting_headers(call, request, rules.headers))
    if content_type := request.headers.get("content-type"):
        fields["content-type"] = content_type
    kept = Entry(
        key_of(request, rules, namespace), 1.0, 0, 200, (), "json", b"{}", call.body.raw, tuple(fields.items()),
        protocol=call.protocol.name, model=call.model, method=request.method,
        url=request.url + (f"?{query}" if query else ""), stream=call.stream, namespace=namespace,
    )  # fmt: skip
    return replace(kept, **changes)


def chat(*texts: str, **members: Any) -> Request:
    roles = ("system", "user", "assistant")
    messages = [{"role": roles[i % 3], "content": text} for i, text in enumerate(texts)]
    return replace(URL, body=json.dumps({"model": "gpt-4o", "messages": messages, **members}).encode())


def by(rules: KeyRules) -> Identifier:
    return Identifier(IdentityRules(key=rules))


def explained(sent: Request, *recorded: Request, rules: KeyRules = RULES) -> Explanation:
    entries = [entry(request, rules) for request in recorded]
    return Recorded(entries, by(rules)).explain(Miss(sent, call_of(sent), key=key_of(sent, rules)))


def said(sent: Request, *recorded: Request, rules: KeyRules = RULES) -> list[tuple[str, str, str, str]]:
    found = explained(sent, *recorded, rules=rules).differences
    return [(one.path, one.kind, one.recorded, one.sent) for one in found]


def to(url: Request, **changes: Any) -> Request:
    return replace(url, **changes)


def headed(*fields: tuple[str, str], **changes: Any) -> Request:
    return replace(chat("a", "b"), headers=Headers([("host", "api.openai.com"), *fields]), **changes)


TALK = chat("Be brief.", "What is the weather in Paris today?", "Sunny.", "And tomorrow?")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"properties": {}}}} for name in "abcde"]


def props(*names: str) -> list[Any]:
    return [{"function": {"name": "f", "parameters": {"properties": {name: {"type": "string"} for name in names}}}}]


@pytest.mark.parametrize(
    ("recorded", "sent", "differences"),
    [
        (TALK, chat("Be brief.", "What is the weather in Rome today?", "Sunny.", "And tomorrow?"),
         [("messages[1].content", "changed",
           '"What is the weather in [Paris] today?"', '"What is the weather in [Rome] today?"')]),
        (chat("a", temperature=0.5), chat("a", temperature=0.7), [("temperature", "changed", "0.5", "0.7")]),
        (chat("a", seed=1), chat("a", seed=True), [("seed", "changed", "1", "true")]),
        (chat("a"), chat("a", x=None), [("x", "added", "", "null")]),
        (chat("a", top_p=0.25), chat("a"), [("top_p", "removed", "0.25", "")]),
        (chat("a", model="gpt-4o"), chat("a", model="gpt-5"), [("model", "changed", '"gpt-4o"', '"gpt-5"')]),
        (chat("a", stream=True), chat("a"), [("stream", "removed", "true", "")]),
        (chat("a", b="c"), to(chat("a", b="c"), host="eu.openai.com", headers=Headers([("host", "eu.openai.com")])),
         [("host", "changed", '"api.openai.com"', '"eu.openai.com"')]),
        (chat("a"), to(chat("a"), port=8443), [("port", "changed", "443", "8443")]),
        (chat("a"), to(chat("a"), scheme="http"), [("scheme", "changed", '"https"', '"http"')]),
        (chat("a"), to(chat("a"), method="PUT"), [("method", "changed", '"POST"', '"PUT"')]),
        (chat("a"), to(chat("a"), path="/v2/chat/completions"),
         [("path", "changed", '"/[v1]/chat/completions"', '"/[v2]/chat/completions"')]),
        (to(chat("a"), query="api-version=2024-02-01&key=s"), to(chat("a"), query="api-version=2024-06-01&key=t"),
         [("query.api-version", "changed", '"2024-02-01"', '"2024-06-01"')]),
        (to(chat("a"), query="a=1&b=2"), to(chat("a"), query="b=2&a=1"),
         [("query", "reordered", "2 items", "2 items")]),
        (headed(("openai-beta", "x=v1")), headed(("openai-beta", "x=v2")),
         [("headers.openai-beta", "changed", '"x=[v1]"', '"x=[v2]"')]),
        (headed(), headed(("openai-project", "p")), [("headers.openai-project", "added", "", '"p"')]),
        (headed(("x-portkey-virtual-key", "s1")), headed(("x-portkey-virtual-key", "s2")),
         [("headers.x-portkey-virtual-key", "changed", "(not shown)", "(not shown)")]),
        (chat("a", tools=TOOLS), chat("a", tools=TOOLS[::-1]), [("tools", "reordered", "5 items", "5 items")]),
        (chat("a", tools=props("x", "y")), chat("a", tools=props("y", "x")),
         [("tools[0].function.parameters.properties", "reordered", "2 items", "2 items")]),
        (chat("a", tools=props("x", "y")), chat("a", tools=props("x")),
         [("tools[0].function.parameters.properties.y", "removed", '{"type": "string"}', "")]),
        (chat("a", input=[1, 2, 3, 4]), chat("a", input=[1, 2, 9, 4]), [("input[2]", "changed", "3", "9")]),
        (chat("a", path="x"), chat("a", path="y"), [("body.path", "changed", '"x"', '"y"')]),
        (chat("a", **{"a.b": 1}), chat("a", **{"a.b": 2}), [('["a.b"]', "changed", "1", "2")]),
        (chat("a", **{"#n": "x"}), chat("a", **{"#n": "y"}), [('["#n"]', "changed", '"x"', '"y"')]),
        (chat("a", mcp={"authorization": "Bearer 1"}), chat("a", mcp={"authorization": "Bearer 2"}),
         [("mcp.authorization", "changed", "(not shown)", "(not shown)")]),
        (chat("line\n"), chat("line\r\n"), [("messages[0].content", "changed", '"[line]\\n"', '"[line\\r]\\n"')]),
        (chat("caf\u00e9"), chat("cafe\u0301"),
         [("messages[0].content", "changed", '"caf\\xe9"', '"cafe\\u0301"')]),
        (chat("a\\n"), chat("a\n"), [("messages[0].content", "changed", '"a\\\\n"', '"a\\n"')]),
        (chat("a"), chat("a", tools=[{"api_key": "sk-1"}]), [("tools", "added", "", '[{"api_key": (not shown)}]')]),
        (chat("a"), chat("a", api_key="sk-1"), [("api_key", "added", "", "(not shown)")]),
        (to(URL, body=b'{"messages":[NaN,1]}'), to(URL, body=b'{"messages":[NaN,2]}'),
         [("body", "changed", '"{"messages":[NaN,[1]]}"', '"{"messages":[NaN,[2]]}"')]),
    ],
)  # fmt: skip
def test_a_difference_is_named_by_its_place_and_shown_around_the_change(
    recorded: Request, sent: Request, differences: list[tuple[str, str, str, str]]
) -> None:
    assert said(sent, recorded) == differences


def messages(*texts: str) -> Request:
    return chat(messages=[{"role": "user", "content": text} for text in texts])


LETTERS = ("first one", "second one", "third one", "fourth one", "fifth one")


@pytest.mark.parametrize(
    ("recorded", "sent", "paths"),
    [
        (LETTERS, ("new", *LETTERS), ["messages[0] added"]),
        (LETTERS, (*LETTERS, "new"), ["messages[5] added"]),
        (LETTERS, (*LETTERS[:3], "new", *LETTERS[3:]), ["messages[3] added"]),
        (LETTERS, (*LETTERS[:2], "new", "newer", *LETTERS[2:]), ["messages[2..3] added"]),
        (LETTERS, LETTERS[1:], ["messages[0] removed"]),
        (LETTERS, (*LETTERS[:2], *LETTERS[4:]), ["messages[2..3] removed"]),
        (LETTERS, LETTERS[:2], ["messages[2..4] removed"]),
        (LETTERS, ("second one", "first one", *LETTERS[2:]), ["messages reordered"]),
        (LETTERS, ("first two", *LETTERS[1:], "new"), ["messages[0].content changed", "messages[5] added"]),
        (("a", "the long story of x"), ("b b", "c c", "the long story of y"),
         ["messages[0].content changed", "messages[1] added", "messages[2].content changed"]),
        ((), ("a",), ["messages[0] added"]),
    ],
)  # fmt: skip
def test_a_message_more_or_less_leaves_the_others_alone(
    recorded: tuple[str, ...], sent: tuple[str, ...], paths: list[str]
) -> None:
    found = said(messages(*sent), messages(*recorded))
    assert sorted(f"{path} {kind}" for path, kind, _, _ in found) == sorted(paths)


def test_what_is_equal_around_a_change_is_said() -> None:
    assert explained(messages(*LETTERS[:4], "other one"), messages(*LETTERS)).equal == ("messages[0..3]",)


@pytest.mark.parametrize(
    "other",
    [
        {"user": "u2", "metadata": {"run": 2}},
        {"temperature": 1.0},
        {"note": "on 2026-02-02"},
        {"trace": {"id": 2}},
    ],
)
def test_what_does_not_count_for_the_key_is_no_difference(other: dict[str, Any]) -> None:
    rules = replace(RULES, ignore=(("trace", "id"),), normalize=(Normalize.parse(r"\d{4}-\d\d-\d\d=DATE"),))
    same = {"user": "u1", "temperature": 1, "note": "on 2026-01-01", "trace": {"id": 1}}
    found = said(chat("two", **{**same, **other}), chat("one", **same), rules=rules)
    assert [path for path, *_ in found] == ["messages[0].content"]


def test_positions_are_those_of_the_request_where_rules_drop_items_before_them() -> None:
    rules = replace(RULES, ignore=(("messages", "0"), ("messages", "2")))
    found = said(chat("a", "b", "c", "the end"), chat("x", "b", "y", "the beginning"), rules=rules)
    assert [path for path, *_ in found] == ["messages[3].content"]


def test_the_nearest_one_is_named_not_the_last_one() -> None:
    others = [chat("Be brief.", f"Question number {n} about something else") for n in range(50)]
    found = explained(
        chat("Be brief!", "What is the weather in Paris today?", "Sunny.", "And tomorrow?"), *others, TALK
    )
    assert (found.key, found.name) == (key_of(TALK), "openai-chat gpt-4o #51")
    assert [one.path for one in found.differences] == ["messages[0].content"]


def test_another_spelling_of_the_same_json_does_not_hide_the_nearest_one() -> None:
    others = [chat("Be brief.", f"Question number {n} about something else") for n in range(100)]
    value = json.loads(TALK.body or b"")
    value["messages"][3]["content"] = "And on Sunday?"
    sent = replace(URL, body=json.dumps(dict(reversed(value.items())), indent=1).encode())
    assert explained(sent, *others, TALK).key == key_of(TALK)


def test_a_model_in_the_path_is_called_the_model() -> None:
    gemini = Request("POST", "https", "g", 443, "/v1beta/models/flash:generateContent", body=b'{"contents":[]}')
    other = replace(gemini, path="/v1beta/models/pro:generateContent")
    assert said(other, gemini) == [("model", "changed", '"flash"', '"pro"')]


def form(model: str, file: bytes, boundary: str = "b") -> Request:
    sent = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--{boundary}\r\n'
        f'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    ).encode() + file + f"\r\n--{boundary}--\r\n".encode()  # fmt: skip
    headers = Headers([("host", "api.openai.com"), ("content-type", f"multipart/form-data; boundary={boundary}")])
    return replace(URL, path="/v1/audio/transcriptions", headers=headers, body=sent)


def test_forms_are_compared_part_by_part() -> None:
    assert said(form("w", b"RI\xff1", "x"), form("w", b"RI\xff2", "y"))[0][:2] == ("form.file", "changed")
    assert said(form("w-1", b"R"), form("w-2", b"R")) == [("model", "changed", '"w-2"', '"w-1"')]


def test_nothing_comparable_says_what_there_is() -> None:
    found = explained(TALK, Request("POST", "https", "g", 443, "/v1/models/f:generateContent", body=b'{"contents":[]}'))
    assert lines(found) == [
        "no recorded answer; nothing comparable is recorded for openai-chat gpt-4o at api.openai.com; "
        "there is gemini-generate at g (1)"
    ]
    assert lines(explained(TALK)) == [
        "no recorded answer for openai-chat gpt-4o at api.openai.com: nothing is recorded at all"
    ]


def test_an_unrelated_request_to_another_host_is_not_comparable() -> None:
    elsewhere = replace(chat("x" * 400), host="other", headers=Headers([("host", "other")]))
    assert explained(chat("y" * 300), elsewhere).verdict == "nothing-comparable"


@pytest.mark.parametrize(
    ("kept", "miss", "verdict"),
    [
        ([entry(TALK), entry(TALK, key=key_of(TALK) + "-2")], {"key": key_of(TALK) + "-3"}, "used-up"),
        ([entry(TALK, cacheable=False)], {"key": key_of(TALK)}, "not-cacheable"),
        ([entry(TALK)], {"key": key_of(TALK), "reason": "expired"}, "expired"),
        ([entry(TALK, key="f" * 64)], {"key": key_of(TALK)}, "other-scope"),
        ([entry(TALK)], {}, "used-up"),
    ],
)
def test_a_request_that_is_recorded_all_the_same(kept: list[Entry], miss: dict[str, str], verdict: str) -> None:
    found = Recorded(kept, by(RULES)).explain(Miss(TALK, call_of(TALK), **miss))
    assert (found.verdict, found.answers, found.differences) == (verdict, len(kept), ())
    assert len(lines(found)) == 1


def test_another_namespace_is_said() -> None:
    found = Recorded([entry(TALK, namespace="main")], by(RULES)).explain(
        Miss(TALK, call_of(TALK), "branch", key_of(TALK, namespace="branch"))
    )
    assert [one.path for one in found.differences] == ["namespace"]
    assert 'in namespace "main", not in "branch"' in lines(found)[0]


def test_a_request_without_a_protocol_is_explained_too() -> None:
    models = Request("GET", "https", "api.openai.com", 443, "/v1/files", "limit=1", Headers([("host", "h")]))
    other = replace(models, query="limit=2")
    found = Recorded([entry(models)], by(RULES)).explain(Miss(other))
    assert [one.path for one in found.differences] == ["query.limit"]


HINTS = [
    (chat("It is 2026-01-02."), chat("It is 2026-03-04."), [r"ai_cache_normalize=\d{4}-\d\d-\d\d=DATE"]),
    (chat("at 2026-01-02T03:04:05Z"), chat("at 2026-11-12T13:14:15.123Z"), ["=TIME"]),
    (chat("Monday, January 5, 2026"), chat("Tuesday, February 17, 2026"), ["=DATE", "=DAY"]),
    (chat(f"run {UUIDS[0]} ok"), chat(f"run {UUIDS[1]} ok"), ["=UUID"]),
    (chat("x", trace={"run_id": UUIDS[0]}), chat("x", trace={"run_id": UUIDS[1]}), ["ai_cache_ignore=trace.run_id"]),
    (chat("x", sent_at=1767312000), chat("x", sent_at=1767398400.5), ["ai_cache_ignore=sent_at"]),
    (chat("started 1767312000"), chat("started 1767398400"), ["=EPOCH"]),
    (chat("see /tmp/tmpab12/x.txt"), chat("see /tmp/tmpzz99/x.txt"), ["=/TMP"]),
    (chat("in /home/alice/src"), chat("in /Users/bob/src"), ["=HOME"]),
    (chat("ask http://localhost:41234/x"), chat("ask http://localhost:50321/x"), [r"=\1:PORT"]),
    (chat("commit 3f9a0c1b77"), chat("commit 0d1e2f3a4b"), ["=HEX"]),
    (chat("x", id="call_Ab12Cd34"), chat("x", id="call_Zz98Yy76"), ["call_[A-Za-z0-9]{6,}=call_ID"]),
    (chat("On 2026-01-02", "in /home/alice"), chat("On 2026-03-04", "in /home/bob"), ["=DATE", "=HOME"]),
    (replace(chat("x"), host="localhost", port=1234), replace(chat("x"), host="localhost", port=4321),
     ["ai_cache_alias=localhost=local"]),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "sent", "ends"), HINTS)
def test_a_hint_makes_both_one_call(recorded: Request, sent: Request, ends: list[str]) -> None:
    hints = explained(sent, recorded).hints
    assert len(hints) == len(ends)
    rules = RULES
    for hint in hints:
        flag, setting = shlex.split(hint)
        assert flag == "--set"
        assert any(setting.endswith(end) for end in ends), setting
        rules = with_setting(rules, setting)
    assert key_of(recorded, rules) == key_of(sent, rules)
    assert key_of(recorded) != key_of(sent)


def with_setting(rules: KeyRules, setting: str) -> KeyRules:
    option, _, text = setting.partition("=")
    if option == "ai_cache_ignore":
        return replace(rules, ignore=(*rules.ignore, parse_path(text)))
    if option == "ai_cache_alias":
        return replace(rules, aliases=(Alias.parse(text),))
    assert option == "ai_cache_normalize"
    return replace(rules, normalize=(*rules.normalize, Normalize.parse(text)))


@pytest.mark.parametrize(
    ("recorded", "sent"),
    [
        (chat("in Paris"), chat("in Rome")),
        (chat("It is 2026-01-02 in Paris."), chat("It is 2026-03-04 in Rome.")),
        (chat("It is 2026-01-02.", seed=1), chat("It is 2026-03-04.", seed=2)),
        (chat("x", seed=1), chat("x", seed=2)),
        (chat("x", model="gpt-4o-2024-05-13"), chat("x", model="gpt-4o")),
    ],
)
def test_there_is_no_hint_where_no_rule_would_help(recorded: Request, sent: Request) -> None:
    assert explained(sent, recorded).hints == ()


def test_the_first_line_stands_alone() -> None:
    found = explained(chat("Be brief.", "What is the weather in Rome today?", "Sunny.", "And tomorrow?"), TALK)
    assert lines(found)[0] == (
        f"no recorded answer; nearest is openai-chat gpt-4o #1 (key {key_of(TALK)[:12]}): messages[1].content differs: "
        'recorded "What is the weather in [Paris] today?", sent "What is the weather in [Rome] today?"'
    )


def test_host_and_model_are_said_first() -> None:
    sent = replace(chat("two", model="gpt-5", a=1), host="h", headers=Headers([("host", "h")]))
    found = said(sent, chat("one", model="gpt-4o", a=1))
    assert [path for path, *_ in found] == ["host", "model", "messages[0].content"]


def test_an_explanation_is_short_and_printable_whatever_was_sent() -> None:
    bad = "\x1b[31m\u202e\n" + "x" * 500
    many = {f"m{n}{bad}": bad for n in range(300)}
    found = lines(explained(chat(bad, model=bad, **many), chat("a", model="gpt-4o")))
    assert len(found) <= 12
    assert all(line.isprintable() and len(line) < 600 for line in found)


def test_a_difference_at_the_bottom_of_deep_json_is_found() -> None:
    def deep(value: str) -> Request:
        return replace(URL, body=b'{"messages":[],"x":' + b"[" * 240 + value.encode() + b"]" * 240 + b"}")

    assert said(deep("2"), deep("1"))[0][0] == "x" + "[0]" * 240


def test_long_vectors_do_not_take_long() -> None:
    one = replace(URL, body=json.dumps({"messages": [], "x": [n % 7 for n in range(20_000)]}).encode())
    other = replace(URL, body=json.dumps({"messages": [], "x": [n % 5 for n in range(19_000)]}).encode())
    started = time.process_time()
    assert said(other, one)
    assert time.process_time() - started < 5


texts = st.text(max_size=12) | st.sampled_from(["properties", "#n", "#p", "tools", "2026-01-02"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, width=16) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=10
)
bodies = st.fixed_dictionaries(
    {"messages": st.lists(values, max_size=4)},
    optional={"tools": st.lists(values, max_size=3), "x": values, "model": texts, "stream": values},
)


rule_sets = st.sampled_from(
    [
        RULES,
        KeyRules(normalize=(Normalize.parse(r"\d{4}-\d\d-\d\d=DATE"),)),
        KeyRules(ignore=(("messages", "0"), ("messages", "*", "1"), ("x",), ("tools", "*", "properties"))),
    ]
)


@given(bodies, bodies, rule_sets)
@settings(max_examples=examples(150), deadline=None)
def test_there_is_a_difference_exactly_where_the_keys_differ(
    one: dict[str, Any], other: dict[str, Any], rules: KeyRules
) -> None:
    recorded, sent = (replace(URL, body=json.dumps(value).encode()) for value in (one, other))
    found = Recorded([entry(recorded, rules)], by(rules)).explain(Miss(sent, call_of(sent)))
    assert bool(found.differences) == (key_of(recorded, rules) != key_of(sent, rules))
    assert all(line.isprintable() for line in lines(found))
    assert not found.differences or re.match(r"no recorded answer; nearest is", lines(found)[0])


@pytest.mark.parametrize("isolation", ["none", "credential", "proxy-user", "header:x-team"])
def test_nobody_is_shown_what_another_may_have_asked(isolation: str) -> None:
    async def run() -> list[str]:
        store = MemoryStore("memory:", 1 << 20)
        await store.open()
        store.put(entry(TALK))
        sent = chat("Be brief.", "What is the weather in Rome today?", "Sunny.", "And tomorrow?")
        settings, call = Settings(mode="replay"), call_of(sent)
        assert call is not None
        exchange = Exchange(sent, identified=Identified(sent, call, "", (), key_of(sent)))
        work = OffLoop(settings, Identifier(settings.identity), Pool())
        return await Explainer(store, work).lines(exchange, call, Isolation.parse(isolation))

    assert ("Paris" in "\n".join(asyncio.run(run()))) == (isolation == "none")
