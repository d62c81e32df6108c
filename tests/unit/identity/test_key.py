"""Two different requests never share a key, two equal ones always do."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.identity.key import Alias, KeyRules, Normalize, fingerprint
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.protocols.base import Call
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

REGISTRY = protocols.standard()
URL = Request(
    "POST", "https", "api.openai.com", 443, "/v1/chat/completions", headers=Headers([("host", "api.openai.com")])
)

texts = st.text(max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
chats = st.fixed_dictionaries(
    {"messages": st.lists(values, max_size=3)},
    optional={"temperature": numbers, "tools": st.lists(values, max_size=2), "seed": st.integers(), "x": values},
)


def call_of(request: Request) -> Call:
    call = REGISTRY.recognise(request, body.read(request, 10 << 20))
    assert call is not None
    return call


def key_of(
    sent: bytes, request: Request = URL, rules: KeyRules | None = None, scope: tuple[bytes, ...] = (b"none", b"")
) -> str:
    request = replace(request, body=sent)
    return fingerprint(call_of(request), request, scope, rules or KeyRules())


def same(one: Any, other: Any) -> bool:
    """Equal as JSON says: 1 and 1.0 are one number, 1 and true are not, -0 is not 0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _exact(one) == _exact(other)
    return type(one) is type(other) and one == other


def _exact(number: float) -> tuple[bool, Decimal]:
    return math.copysign(1, number) < 0, Decimal(repr(number))


def rewritten(value: Any, chance: random.Random) -> str:
    """The same JSON written another way: member order, white space, escapes, forms of numbers."""
    space = chance.choice(["", " ", "\n\t"])
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        inside = ",".join(
            f"{space}{rewritten(name, chance)}{space}:{space}{rewritten(value[name], chance)}" for name in names
        )
        return "{" + inside + space + "}"
    if isinstance(value, list):
        return "[" + ",".join(space + rewritten(item, chance) for item in value) + space + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return chance.choice(_forms(value))


def _forms(number: float) -> list[str]:
    forms = [json.dumps(number)]
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    if text == "0":
        return [*forms, "-0.0" if sign else "0.0e5"]
    forms.append(f"{'-' if sign else ''}{text}e{exponent}")
    forms.append(f"{'-' if sign else ''}{text}0E{exponent - 1}")
    if isinstance(number, int):
        forms.append(f"{number}.0")
    return forms


@given(chats, st.randoms(use_true_random=False))
@settings(max_examples=examples(400))
def test_a_body_written_another_way_keeps_its_key(chat: dict[str, Any], chance: random.Random) -> None:
    compact = json.dumps(chat, separators=(",", ":"), ensure_ascii=False)
    assert key_of(compact.encode("utf-8", "surrogatepass")) == key_of(
        rewritten(chat, chance).encode("utf-8", "surrogatepass")
    )


@given(chats, chats)
@settings(max_examples=examples(400))
def test_two_bodies_share_a_key_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    if not same(one, other):
        assert key_of(json.dumps(one).encode()) != key_of(json.dumps(other).encode())


@given(chats, st.data())
@settings(max_examples=examples(400))
def test_one_changed_value_changes_the_key(chat: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(chat))
    place: Any = changed
    name: Any = data.draw(st.sampled_from(sorted(changed)))
    while isinstance(place[name], dict | list) and place[name] and data.draw(st.booleans()):
        place = place[name]
        name = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    new = data.draw(values)
    assume(not (place is changed and name == "messages"))
    assume(not same(place[name], new))
    place[name] = new
    assert key_of(json.dumps(chat).encode()) != key_of(json.dumps(changed).encode())


CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chat(stream=True), chat()),
        (chat(x=None), chat()),
        (chat(n=1), chat(n=True)),
        (chat(x="1"), chat(x=1)),
        (chat(temperature=0), chat(temperature=-0.0)),
        (b'{"messages":[],"seed":9007199254740993}', b'{"messages":[],"seed":9007199254740992}'),
        (b'{"messages":[],"x":0.1}', b'{"messages":[],"x":0.10000000000000001}'),
        (b'{"messages":[],"x":1e400}', b'{"messages":[],"x":1e401}'),
        (b'{"messages":[],"x":123456789012345678901}', b'{"messages":[],"x":123456789012345678902}'),
        (chat(x={"#n": "15e-1"}), chat(x=1.5)),
        (chat(x={"##n": "15e-1"}), chat(x={"#n": "15e-1"})),
        (chat(tools=[{"properties": {"a": 1, "b": 2}}]), chat(tools=[{"properties": {"b": 2, "a": 1}}])),
        (chat(tools=[{"properties": {"a": 1}}]), chat(tools=[{"properties": {"#p": [["a", 1]]}}])),
        (chat(response_format={"json_schema": {"schema": {"properties": {"a": {}, "b": {}}}}}),
         chat(response_format={"json_schema": {"schema": {"properties": {"b": {}, "a": {}}}}})),
        (b'{"messages":["\xc3\xa9"]}', '{"messages":["e\u0301"]}'.encode()),
        (b'{"messages":[" a"]}', b'{"messages":["a"]}'),
        (b'{"messages":["A"]}', b'{"messages":["a"]}'),
    ],
)  # fmt: skip
def test_what_a_provider_may_tell_apart_has_its_own_key(one: bytes, other: bytes) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            chat(stream=False),
            chat(stream=False, user="u1", metadata={"run": 1}, safety_identifier="x", prompt_cache_key="k"),
        ),
        (b'{"messages":[],"x":1}', b'{ "x": 1.0e0, "messages": [] }'),
        (b'{"messages":[],"x":1.5}', b'{"messages":[],"x":150E-2}'),
        (b'{"messages":[],"x":100000000000000000000000}', b'{"messages":[],"x":1e23}'),
        (b'{"messages":["\xf0\x9f\x98\x80"]}', b'{"messages":["\\ud83d\\ude00"]}'),
        (chat(x={"properties": {"a": 1, "b": 2}}), chat(x={"properties": {"b": 2, "a": 1}})),
    ],
)
def test_what_no_provider_tells_apart_shares_a_key(one: bytes, other: bytes) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    "sent",
    [
        b'{"messages":[NaN]}',
        b'{"messages":["\\ud800"]}',
        b'{"messages":["\xff"]}',
        b'{"messages":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"messages":[],"x":' + b"9" * 100_000 + b"}",
        b'{"messages":[],"x":1e' + b"9" * 30 + b"}",
        b'{"messages":[Infinity]}',
    ],
)
def test_a_call_whose_body_has_no_one_meaning_counts_by_its_bytes(sent: bytes) -> None:
    assert key_of(sent) == key_of(sent)
    assert key_of(sent) != key_of(sent + b" ")


@pytest.mark.parametrize("sent", [b'{"messages":[', CHAT + b"x", b"\xff", b"[" * 100_000, b"", b"hello"])
def test_what_is_no_json_is_no_call(sent: bytes) -> None:
    request = replace(URL, body=sent)
    assert REGISTRY.recognise(request, body.read(request, 10 << 20)) is None


def test_duplicate_members_are_seen_at_any_depth() -> None:
    for sent in (b'{"messages":[],"messages":[1]}', b'{"messages":[{"a":1,"\\u0061":2}]}'):
        assert body.read(replace(URL, body=sent), 1 << 20).kind == "duplicate-members"


@pytest.mark.parametrize("number", [b"0." + b"5" * 500, b"1e" + b"9" * 30, b"NaN"])
@pytest.mark.parametrize(
    ("members", "kind"),
    [
        (b'"a":1,"a":2', "duplicate-members"),
        (b'"a":{"b":1,"b":""}', "duplicate-members"),
        (b'"a\\"":1,"a\\u0022":"\\u0022"', "duplicate-members"),
        (b'"a":"\\u0022\\u0022","b":"\\\\u0022"', "raw"),
    ],
)
def test_duplicate_members_are_seen_where_a_body_counts_by_its_bytes(number: bytes, members: bytes, kind: str) -> None:
    sent = b'{"messages":[%b],%b}' % (number, members)
    read = body.read(replace(URL, body=sent), 1 << 20)
    assert read.kind == kind
    assert read.object.keys() == (set() if kind == "duplicate-members" else {"messages", "a", "b"})


def vary(**changes: Any) -> Request:
    return replace(URL, **changes)


@pytest.mark.parametrize(
    "other",
    [
        vary(host="api.example.com"),
        vary(port=8443),
        vary(scheme="http"),
        vary(query="api-version=2024-02-01"),
        vary(path="/openai/deployments/a/chat/completions"),
        vary(headers=Headers([("host", "other.example.com")])),
        vary(headers=Headers([("host", "api.openai.com"), ("openai-organization", "o")])),
        vary(headers=Headers([("host", "api.openai.com"), ("OpenAI-Beta", "x=v1")])),
        vary(headers=Headers([("host", "api.openai.com"), ("helicone-cache-seed", "1")])),
        vary(headers=Headers([("host", "api.openai.com"), ("cf-aig-skip-cache", "1")])),
        vary(headers=Headers([("host", "api.openai.com"), ("x-portkey-provider", "azure")])),
    ],
)
def test_another_address_or_header_that_shapes_the_answer_is_another_call(other: Request) -> None:
    assert key_of(CHAT) != key_of(CHAT, other)


@pytest.mark.parametrize(
    "other",
    [
        vary(query="key=secret"),
        vary(headers=Headers([("Host", "API.openai.com"), ("authorization", "Bearer x"), ("x-stainless-lang", "go")])),
        vary(headers=Headers([("host", "api.openai.com"), ("user-agent", "a"), ("idempotency-key", "1")])),
        vary(
            headers=Headers([("host", "api.openai.com"), ("x-portkey-api-key", "secret"), ("helicone-auth", "secret")])
        ),
    ],
)
def test_credentials_and_noise_are_never_in_the_key(other: Request) -> None:
    assert key_of(CHAT) == key_of(CHAT, other)


def test_list_values_of_headers_are_split_trimmed_and_sorted() -> None:
    def beta(value: str) -> Request:
        return vary(headers=Headers([("host", "h"), ("openai-beta", value)]))

    assert key_of(CHAT, beta("a, b")) == key_of(CHAT, beta("b,a"))
    assert key_of(CHAT, beta("a, b")) != key_of(CHAT, beta("a"))


def test_scopes_cannot_run_into_each_other() -> None:
    assert key_of(CHAT, scope=(b"header", b"a", b"b")) != key_of(CHAT, scope=(b"header", b"ab", b""))
    assert key_of(CHAT, scope=(b"credential", b"x", b"")) != key_of(CHAT, scope=(b"proxy-user", b"x", b""))


def test_a_secret_changes_every_key() -> None:
    assert key_of(CHAT, rules=KeyRules(secret=b"s")) not in (key_of(CHAT), key_of(CHAT, rules=KeyRules(secret=b"t")))


def test_ignored_paths_do_not_count_and_others_do() -> None:
    rules = KeyRules(ignore=(("messages", "*", "name"), ("run",)))
    one = b'{"run":1,"messages":[{"name":"a","content":"x"}]}'
    assert key_of(one, rules=rules) == key_of(b'{"run":2,"messages":[{"name":"b","content":"x"}]}', rules=rules)
    assert key_of(one, rules=rules) == key_of(b'{"messages":[{"content":"x"}]}', rules=rules)
    assert key_of(one, rules=rules) != key_of(b'{"run":1,"messages":[{"name":"a","content":"y"}]}', rules=rules)


def test_normalize_rules_act_on_strings_and_only_on_strings() -> None:
    rules = KeyRules(normalize=(Normalize.parse(r"\d{4}-\d\d-\d\d=DATE"),))
    assert key_of(b'{"messages":["on 2026-01-02"]}', rules=rules) == key_of(
        b'{"messages":["on 2026-11-21"]}', rules=rules
    )
    assert key_of(b'{"messages":["on 2026-01-02"]}', rules=rules) != key_of(
        b'{"messages":["at 2026-01-02"]}', rules=rules
    )
    assert key_of(b'{"messages":[20260102]}', rules=rules) != key_of(b'{"messages":[20261121]}', rules=rules)


def test_aliases_make_addresses_one() -> None:
    rules = KeyRules(aliases=(Alias.parse("*.openai.azure.com=azure"), Alias.parse("/openai/deployments/*=/dep")))
    laptop = vary(host="dev.openai.azure.com", path="/openai/deployments/a/chat/completions")
    ci = vary(host="ci.openai.azure.com", path="/openai/deployments/b/chat/completions")
    assert key_of(CHAT, laptop, rules) == key_of(CHAT, ci, rules)
    assert key_of(CHAT, laptop) != key_of(CHAT, ci)
    assert key_of(CHAT, laptop, rules) != key_of(CHAT, rules=rules)


def multipart(boundary: str, file: bytes = b"RIFF", model: str = "whisper-1") -> tuple[bytes, Request]:
    sent = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode() + file + f"\r\n--{boundary}--\r\n".encode()  # fmt: skip
    headers = Headers([("content-type", f"multipart/form-data; boundary={boundary}")])
    return sent, vary(path="/v1/audio/transcriptions", headers=headers)


def test_multipart_counts_part_by_part_without_its_boundary() -> None:
    assert key_of(*multipart("aaa")) == key_of(*multipart("bbb"))
    assert key_of(*multipart("aaa")) != key_of(*multipart("aaa", file=b"RIFX"))
    assert key_of(*multipart("aaa")) != key_of(*multipart("aaa", model="whisper-2"))
    assert call_of(replace(multipart("aaa")[1], body=multipart("aaa")[0])).model == "whisper-1"


MANGLED = {
    "a part after the end": lambda whole: (
        whole + b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--b--'
    ),
    "a delimiter that goes on": lambda whole: whole.replace(b"\r\n--b\r\n", b"\r\n--bX\r\n", 1),
    "text before the first part": lambda whole: b"preamble\r\n" + whole,
    "no end": lambda whole: whole.replace(b"--b--\r\n", b""),
    "a part without headers": lambda whole: whole.replace(b"\r\n\r\n", b"\r\n", 1),
}


@pytest.mark.parametrize("mangle", MANGLED.values(), ids=MANGLED.keys())
def test_multipart_that_readers_may_read_in_two_ways_counts_by_its_bytes(mangle: Callable[[bytes], bytes]) -> None:
    whole, request = multipart("b")
    mangled = mangle(whole)
    assert mangled != whole
    assert body.read(replace(request, body=mangled), 1 << 20).kind == "raw"
    assert key_of(mangled, request) != key_of(whole, request)


def test_every_header_of_a_part_counts() -> None:
    whole, request = multipart("b")
    other = whole.replace(b'filename="a.wav"', b"filename*=utf-8''b.wav")
    assert key_of(whole, request) != key_of(other, request)
    assert key_of(whole, request) != key_of(whole.replace(b"audio/wav", b"audio/mpeg"), request)


def test_text_beyond_latin_1_keeps_requests_apart() -> None:
    def at(name: str) -> Request:
        return vary(path=f"/openai/deployments/{name}/chat/completions")

    assert key_of(CHAT, at("\u6a21")) != key_of(CHAT, at("\u578b"))
    assert key_of(CHAT, vary(query="model=\u6a21")) != key_of(CHAT, vary(query="model=\u578b"))
    assert key_of(CHAT, at("\udcff")) != key_of(CHAT, at("\udcfe"))


@pytest.mark.parametrize(
    "header", ["x-portkey-provider", "x-portkey-virtual-key", "helicone-cache-seed", "cf-aig-skip-cache"]
)
@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/messages", b'{"max_tokens":1,"messages":[]}'),
        ("/v1beta/models/g:generateContent", b'{"contents":[]}'),
        ("/v2/chat", b'{"messages":[]}'),
        ("/v1/embeddings", b'{"input":"x"}'),
    ],
)
def test_what_a_gateway_routes_by_counts_in_every_protocol(header: str, path: str, sent: bytes) -> None:
    plain = vary(path=path, headers=Headers([("host", "gateway")]))
    routed = vary(path=path, headers=Headers([("host", "gateway"), (header, "a")]))
    assert key_of(sent, plain) != key_of(sent, routed)


def test_an_ignored_path_to_one_item_leaves_the_rules_for_all_items_alone() -> None:
    rules = KeyRules(ignore=(("input", "0", "name"),), profiles=PROFILES)
    assert key_of(codex("1"), RESPONSES, rules) == key_of(codex("2"), RESPONSES, rules)


def test_a_content_coding_does_not_count() -> None:
    import gzip

    coded = vary(headers=Headers([("host", "api.openai.com"), ("content-encoding", "gzip")]))
    assert key_of(gzip.compress(CHAT), coded) == key_of(CHAT)


RESPONSES = vary(path="/v1/responses")
MESSAGES = Request(
    "POST", "https", "api.anthropic.com", 443, "/v1/messages", "beta=true",
    Headers([("host", "api.anthropic.com"), ("anthropic-version", "2023-06-01")]),
)  # fmt: skip
PROFILED = KeyRules(profiles=PROFILES)


def claude(cch: str, session: str = "s", version: str = "2.1.197", prompt: str = "hi", extra: str = "") -> bytes:
    billing = f"x-anthropic-billing-header: cc_version={version}.abc; cc_entrypoint=sdk-cli; cch={cch};{extra}"
    return json.dumps(
        {
            "model": "claude", "max_tokens": 1, "metadata": {"user_id": session}, "stream": True,
            "system": [{"type": "text", "text": billing}, {"type": "text", "text": "You are Claude Code"}],
            "messages": [{"role": "user", "content": prompt}],
        }
    ).encode()  # fmt: skip


def test_two_runs_of_claude_code_share_a_key() -> None:
    assert key_of(claude("00000"), MESSAGES, PROFILED) == key_of(claude("abcde", "t"), MESSAGES, PROFILED)
    assert key_of(claude("00000"), MESSAGES) != key_of(claude("abcde"), MESSAGES)


@pytest.mark.parametrize(
    "other",
    [claude("00000", version="2.1.198"), claude("00000", prompt="ho"), claude("00000", extra=" x"), claude("00000g")],
)
def test_anything_else_of_claude_code_still_counts(other: bytes) -> None:
    assert key_of(claude("00000"), MESSAGES, PROFILED) != key_of(other, MESSAGES, PROFILED)


def codex(run: str, text: str = "hi", **more: Any) -> bytes:
    item = {
        "type": "message", "id": f"msg_{run}", "role": "user", "content": [{"type": "input_text", "text": text}],
        "internal_chat_message_metadata_passthrough": {"turn_id": run},
    }  # fmt: skip
    sent = {
        "model": "gpt",
        "store": False,
        "input": [item],
        "client_metadata": {"session": run},
        "prompt_cache_key": run,
    }
    return json.dumps({**sent, **more}).encode()


def test_two_runs_of_codex_share_a_key() -> None:
    assert key_of(codex("1"), RESPONSES, PROFILED) == key_of(codex("2"), RESPONSES, PROFILED)
    assert key_of(codex("1"), RESPONSES, PROFILED) != key_of(codex("1", text="ho"), RESPONSES, PROFILED)


def test_ids_count_where_the_provider_keeps_items() -> None:
    assert key_of(codex("1", store=True), RESPONSES, PROFILED) != key_of(codex("2", store=True), RESPONSES, PROFILED)
    assert key_of(codex("1", previous_response_id="r"), RESPONSES, PROFILED) != key_of(
        codex("2", previous_response_id="r"), RESPONSES, PROFILED
    )
    references = [[{"type": "item_reference", "id": f"msg_{n}"}] for n in "12"]
    one, other = (codex("1", input=items) for items in references)
    assert key_of(one, RESPONSES, PROFILED) != key_of(other, RESPONSES, PROFILED)


TOOLS = json.dumps(
    {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.7, "top_p": 1.0, "user": "u",
        "n": 12345678901234567890,
        "tools": [{"function": {"parameters": {"properties": {"b": {"type": "string"}, "#a": {"minimum": -0.0}}}}}],
    }
).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (key_of(CHAT), "2180da7dd2a34786b1b39386b970c9558ee84e3e573e2ee78596f7611bd0b6cf"),
        (key_of(TOOLS), "5697b71761aa77ac20eb9a7772c2f93f1b9c89e7c3a482dbb5c76d4e22ff6440"),
        (
            key_of(TOOLS, rules=KeyRules(secret=b"s", ignore=(("n",),))),
            "0532cae1a13384ceb62e40357a924ebe579ab19f9fe8a69b790029ac9649a733",
        ),
        (key_of(b'{"messages":[NaN]}'), "2630ce13c276c4e7736d6e24bd24a33070daacbd62f837b9d761509c548bc105"),
        (
            key_of(claude("00000"), MESSAGES, PROFILED),
            "73a7a377d1c0a0807dab9b741d686116e5d96c9b5c729da84ad76de54b8da61b",
        ),
        (key_of(codex("1"), RESPONSES, PROFILED), "95f56f8ec0d0de3dfbe5fd112758443b33512775d6aed04eb4c6bb1daff0f86b"),
        (key_of(*multipart("aaa")), "3f5909a203fb6521f3e7d37491993031e1dd45bc65ab040ea717f0360aa30ece"),
    ],
)
def test_a_key_stays_what_it_is(key: str, expected: str) -> None:
    """Stores outlive a release. A change that is meant changes `SCHEMA`, too."""
    assert key == expected


def test_the_order_of_rules_under_schema_properties_survives_a_profile() -> None:
    ordered = [
        codex("1", tools=[{"parameters": {"properties": names}}]) for names in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    assert key_of(ordered[0], RESPONSES, PROFILED) != key_of(ordered[1], RESPONSES, PROFILED)
