"""The canonical form by its definition, against the code that is made to be fast."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.identity import canonical
from mitmproxy_ai_cache.identity.canonical import SCHEMA_ROOTS, Rules, drop, encode, parse_path
from mitmproxy_ai_cache.wire import json_body
from mitmproxy_ai_cache.wire.json_body import NotCanonical, parse

names = st.text(max_size=4) | st.sampled_from(
    ["properties", "tools", "text", "format", "user", "messages", "#n", "#p", "##", "#", "\x00", "!"]
)
numbers = (
    st.integers()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, 1e16, 1e17, 1e18, 1e22, 10**17, 10**18 - 1, 10**18, 2**64, 0.1, 1e-7])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.integers(), max_size=4)
        | st.dictionaries(names, inner, max_size=4)
        | st.lists(st.dictionaries(names, inner, max_size=3), max_size=3)
    ),
    max_leaves=20,
)


def by_definition(value: Any, schema: bool = False) -> Any:
    """What the head of `canonical.py` says, one value at a time."""
    if isinstance(value, dict):
        found = {}
        for name, member in value.items():
            form = by_definition(member, schema or name in SCHEMA_ROOTS)
            if schema and name == "properties" and isinstance(member, dict):
                form = {"#p": [list(pair) for pair in form.items()]}
            found["#" + name if name.startswith("#") else name] = form
        return found
    if isinstance(value, list):
        return [by_definition(item, schema) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    return _number(value if isinstance(value, Decimal) else Decimal(repr(value)))


def _number(value: Decimal) -> Any:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if not value:
        return {"#n": "-0"} if sign else 0
    while digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    if exponent >= 0 and len(digits) + exponent <= 18:
        return int(value)
    return {"#n": f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"}


def sorted_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def parsed(value: Any, spaced: bool) -> Any:
    """As a body comes to it: orjson reads what is compact, the exact parser all else."""
    return parse(json.dumps(value, separators=None if spaced else (",", ":"), ensure_ascii=spaced).encode())


@given(values, st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_the_form_is_the_one_that_is_defined(value: Any, spaced: bool) -> None:
    expected = sorted_json(by_definition(value))
    assert encode(value) == expected
    assert encode(parsed(value, spaced)) == expected


@given(st.dictionaries(names, values, max_size=5), st.booleans())
@settings(max_examples=examples(100), deadline=None)
def test_tools_seen_before_have_the_form_they_had_the_first_time(body: dict[str, Any], spaced: bool) -> None:
    canonical._schema_form.cache_clear()
    first = encode(parsed(body, spaced))
    assert encode(parsed(body, spaced)) == encode(parsed(body, not spaced)) == first


@given(values, st.dictionaries(names, values, max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_a_rule_takes_out_what_it_names_and_leaves_the_rest(item: Any, body: dict[str, Any]) -> None:
    rules = Rules()
    for path in ("user", "messages[*].id", "tools"):
        rules.add(parse_path(path), drop)
    without = {name: value for name, value in body.items() if name not in ("user", "tools", "messages")}
    sent = {**body, "user": item, "tools": item, "messages": [{"id": item, "a": item}, item]}
    left = {name: value for name, value in item.items() if name != "id"} if isinstance(item, dict) else item
    assert encode(sent, rules) == encode({**without, "messages": [{"a": item}, left]})


@given(st.dictionaries(names, values, max_size=5))
@settings(max_examples=examples(60), deadline=None)
def test_normalizing_nothing_changes_nothing(body: dict[str, Any]) -> None:
    assert encode(body, None, lambda text: text) == encode(body)


@given(values)
@settings(max_examples=examples(30), deadline=None)
def test_what_is_encoded_stays_as_it_was(value: Any) -> None:
    """The body is read again after its key was made."""
    before = json.dumps(value)
    encode(value)
    assert json.dumps(value) == before


@given(
    st.lists(st.dictionaries(names, st.text(max_size=2) | values, max_size=2), min_size=7, max_size=9), st.booleans()
)
@settings(max_examples=examples(100), deadline=None)
def test_a_long_list_of_objects_has_the_form_that_is_defined(chat: list[Any], spaced: bool) -> None:
    texts = [dict.fromkeys(message, "x") for message in chat]
    for items in (chat, texts, [*texts, *chat[:1]], [*texts, 1.0], [*texts, {}]):
        expected = sorted_json(by_definition({"messages": items}))
        assert encode(parsed({"messages": items}, spaced)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":[1,2]}', b'{ "a":1}', b'{"a" :1}', b'{"a": 1}', b'{\n"a":1}', b'[ 1]', b"[1, 2]", b' {"a":1}',
        b'{"a\\" ":1}', b'{"":1}', b'{"a":1 }', b'{"a b":{"c": 1.50}}', b"[-0]", b'{"a": -0, "b": [-0, 1E2, 1e-400]}',
        b'{"\\u0061": "\\u0022", "b": "\\/"}', b'"a: b"',
    ],
)  # fmt: skip
def test_white_space_and_escapes_do_not_change_what_is_read(data: bytes) -> None:
    read = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal).decode(data.decode())
    assert encode(parse(data)) == sorted_json(by_definition(read))


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"a": 1, "b": {"c": 1, "c": 1}}', b'{"a":1,"\\u0061":1}'])
def test_a_member_named_twice_is_seen_compact_or_not(data: bytes) -> None:
    with pytest.raises(json_body.DuplicateMembers):
        parse(data)


@pytest.mark.parametrize(
    ("values", "most"),
    [
        (lambda count: [1.5] * count, 5),
        (lambda count: [{"a": 1}] * count, 5),
        (lambda count: [[0, None]] * count, 3),
        (lambda count: {str(at): {} for at in range(count)}, 9),
        (lambda count: {str(at): 1.5 for at in range(count)}, 9),
        (lambda count: {"tools": [{"properties": {}}] * count}, 3),
    ],
)
def test_what_would_take_seconds_is_not_walked(
    values: Callable[[int], Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical, "MAX_VALUES", 10)
    assert encode(values(most))
    with pytest.raises(NotCanonical):
        encode(values(11))


def test_texts_and_tokens_are_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_VALUES", 10)
    for items in (list(range(20)), ["a"] * 20, [None, True, "a"] * 7, [{"role": "a"}] * 20):
        assert encode({"input": items}) == sorted_json({"input": items})


def test_tools_too_large_to_remember_are_rewritten_each_time() -> None:
    tools = [{"properties": {"b": "x" * canonical._KNOWN_SIZE, "a": 1.0}}]
    canonical._schema_form.cache_clear()
    assert encode({"tools": tools}) == sorted_json(by_definition({"tools": tools}))
    assert canonical._schema_form.cache_info().currsize == 0
