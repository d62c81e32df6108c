"""Names of cassettes are safe on every file system, and say what they are of."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.cassettes import names
from unit.cassettes.test_cassette_file import PLAIN

RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}
odd = st.sampled_from(
    ["con", "NUL", "com1.txt", "..", ".", "a.", "a ", "é", "日本", "parts", "x.json", "\0", "a" * 300]
)
namespaces = st.text(max_size=60) | st.lists(odd | st.text(max_size=9), max_size=30).map("/".join)


def assert_safe(path: str) -> None:
    for component in path.split("/"):
        assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", component), path
        assert len(component) <= 100
        assert component.partition(".")[0] not in RESERVED, path
        assert not component.endswith("."), path


@given(namespaces)
def test_a_scope_is_safe_on_every_file_system(namespace: str) -> None:
    scope = names.scope_of(namespace)
    assert_safe(scope)
    assert len(scope) <= 200
    assert scope.partition("/")[0] != "parts"
    assert not any(component.endswith(".json") for component in scope.split("/"))


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200), st.integers(1, 999_999))
def test_a_file_name_is_safe_on_every_file_system(protocol: str, model: str, url: str, number: int) -> None:
    name = names.numbered(names.stem_of(replace(PLAIN, protocol=protocol, model=model, url=url)), number)
    assert_safe(name)
    assert names.split(name)[1] == number


@pytest.mark.parametrize(
    ("namespace", "scope"),
    [
        ("", "default"),
        ("tests/test_a.py::test_x[param]", "tests/test_a/test_x-param"),
        ("tests/test_a.py::TestB::test_x[gpt-4o-1.5]", "tests/test_a/testb/test_x-gpt-4o-1.5"),
        ("tests\\test_a.py::test_x", "tests/test_a/test_x"),
        ("../../etc", "etc"),
        ("con", "_con"),
        ("nul.txt", "_nul.txt"),
    ],
)
def test_a_test_has_a_directory_of_its_own(namespace: str, scope: str) -> None:
    found = names.scope_of(namespace)
    assert found == scope or (".." in namespace and found.endswith(scope))


def test_namespaces_that_differ_in_what_a_name_cannot_hold_stand_apart() -> None:
    assert names.scope_of("test[日本]") != names.scope_of("test[中国]")


USER, MODEL = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
TOOL = {"role": "user", "content": [{"type": "tool_result"}]}


@pytest.mark.parametrize(
    ("protocol", "model", "body", "stem"),
    [
        ("openai-chat", "gpt-4o", {"messages": [USER, MODEL, USER]}, "openai-chat-gpt-4o-t2"),
        ("openai-chat", "org/Model:free", {"messages": []}, "openai-chat-org-model-free-t1"),
        ("openai-responses", "gpt-5", {"input": "x"}, "openai-responses-gpt-5"),
        ("openai-responses", "gpt-5", {"input": [USER, {"output": ""}]}, "openai-responses-gpt-5-t1"),
        ("anthropic-messages", "claude", {"messages": [USER, MODEL, TOOL]}, "anthropic-messages-claude-t1"),
        ("gemini-generate", "g", {"contents": [{"parts": [{"text": "x"}]}, USER]}, "gemini-generate-g-t2"),
        ("openai-embeddings", "te", {"input": ["a", "b"]}, "openai-embeddings-te"),
    ],
)
def test_a_name_says_protocol_model_and_turn(protocol: str, model: str, body: object, stem: str) -> None:
    entry = replace(PLAIN, protocol=protocol, model=model, request=json.dumps(body).encode())
    assert names.stem_of(entry) == stem


def test_an_exchange_that_is_no_call_is_named_by_method_and_path() -> None:
    entry = replace(PLAIN, protocol="exchange", model="", method="GET", url="https://api.openai.com/v1/files?limit=2")
    assert names.stem_of(entry) == "exchange-get-v1-files"
