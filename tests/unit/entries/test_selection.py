"""Which entries `ai-cache rm` takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.selection import Selection

ENTRY = Entry(
    key="ab12" + "0" * 60 + "-2",
    created=1000.0,
    ttl=0,
    status=200,
    headers=(),
    format="json",
    body=b'{"text":"K\\u00f6ln am Rhein \\ud83d\\ude00","arguments":"{\\"city\\":\\"M\\\\u00fcnchen\\"}"}',
    request='{"q":"Wo liegt Köln? a\\/b"}'.encode(),
    protocol="openai-chat",
    model="gpt-4o-mini",
    url="https://EU.api.openai.com:8443/v1/chat%20completions?x=1",
    namespace="team/a",
    run="0123456789ab",
)

MEETS: list[dict[str, Any]] = [
    {"key": "ab12"},
    {"key": ENTRY.key},
    {"run": "0123456789ab"},
    {"model": "gpt-4o*"},
    {"model": "gpt-4o-mini"},
    {"host": "*.OpenAI.com"},
    {"namespace": "team/a"},
    {"before": 1000.5},
    {"contains": "Köln am Rhein"},
    {"contains": "\N{GRINNING FACE}"},
    {"contains": "München"},
    {"contains": '"city":"M'},
    {"contains": "a/b"},
    {"contains": "chat completions"},
    {"all": True},
    {"key": "ab", "model": "*", "host": "*", "namespace": "team/a", "before": 2000, "contains": "Wo", "run": ENTRY.run},
]

MISSES: list[dict[str, Any]] = [
    {},
    {"key": "b12"},
    {"run": "0123"},
    {"model": "gpt-4o"},
    {"model": "GPT-4o*"},
    {"host": "openai.com"},
    {"namespace": ""},
    {"namespace": "team"},
    {"before": 1000.0},
    {"contains": "Bonn"},
    {"contains": "KÖLN"},
    {"model": "gpt-4o*", "run": "another"},
    {"all": True, "namespace": "another"},
]


@pytest.mark.parametrize("conditions", MEETS, ids=str)
def test_an_entry_that_meets_all_conditions_is_taken(conditions: dict[str, Any]) -> None:
    assert Selection(**conditions).matches(ENTRY)


@pytest.mark.parametrize("conditions", MISSES, ids=str)
def test_an_entry_that_misses_one_condition_stays(conditions: dict[str, Any]) -> None:
    assert not Selection(**conditions).matches(ENTRY)


def test_what_is_in_no_namespace_can_be_asked_for() -> None:
    assert Selection(namespace="").matches(replace(ENTRY, namespace=""))


@pytest.mark.parametrize("url", ["", "nonsense", "http://[::1"])
def test_an_entry_without_a_host_meets_no_host_but_any(url: str) -> None:
    assert not Selection(host="*.com").matches(replace(ENTRY, url=url))
    assert Selection(host="*").matches(replace(ENTRY, url=url))


@given(st.text(min_size=1), st.booleans(), st.integers(0, 3), st.sampled_from(["request", "body"]))
def test_text_is_found_however_json_escapes_it(text: str, ascii_only: bool, layers: int, where: str) -> None:
    said = text
    for _ in range(layers):
        said = json.dumps({"content": said}, ensure_ascii=ascii_only)
    entry = replace(ENTRY, **{"request": b"", "body": b"", where: said.encode()})
    assert Selection(contains=text).matches(entry)


def test_bytes_that_are_no_text_are_looked_through_all_the_same() -> None:
    assert Selection(contains="needle").matches(replace(ENTRY, body=b"\xff\x00\x00\\u12needle\xfe\\"))
