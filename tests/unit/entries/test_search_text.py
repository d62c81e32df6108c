"""Text is found in bodies however JSON escapes it, and quickly."""

from __future__ import annotations

import json
import random
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitmproxy_ai_cache.entries.search_text import SearchText, unescaped

BODY = (
    rb'{"a":"K\u00f6ln am Rhein \ud83d\uDE00 a\/b <\u003c> \"x\" end\n","b":"{\"c\":\"M\\u00fcnchen\"}","d":"\u0041bc"}'
)


def slowly(body: bytes, text: str) -> bool:
    """What it means to be in a body: as it is sent, or below one, two or three layers of escapes."""
    said = body.decode("utf-8", "replace")
    layers = [said]
    for _ in range(3):
        layers.append(unescaped(layers[-1]))
    return any(text in layer for layer in layers)


THERE = ["Köln am Rhein", "\U0001f600 a", "a/b", "<<>", '"x"', "end\n", '"c":"Mün', "Abc", r"\n", r"\u0041bc", ""]


@pytest.mark.parametrize("text", THERE)
def test_text_is_seen_through_the_escapes_of_json(text: str) -> None:
    assert SearchText(text).is_in(BODY)


@pytest.mark.parametrize("text", ["KÖLN", "Koln", "end\t", "a//b", '"y"', "\U0001f601", "abc"])
def test_what_is_not_there_is_not_found(text: str) -> None:
    assert not SearchText(text).is_in(BODY)


PIECES = st.sampled_from(
    ["a", "n", "u", "0", " ", '"', "\\", "/", "\n", "ö", "日", "\U0001f600", "<", "\ufffd", r"\u0061", r"\u005c", r"\n"]
)
TEXT = st.lists(PIECES, max_size=6).map("".join)


@given(TEXT, st.lists(PIECES, max_size=30).map("".join), st.integers(0, 3), st.booleans())
@example("\\\\", "\\\\\\\\", 2, True)
def test_the_quick_way_says_what_the_exact_way_says(text: str, around: str, layers: int, ascii_only: bool) -> None:
    said = around[:7] + text + around[7:]
    for _ in range(layers):
        said = json.dumps({"content": said}, ensure_ascii=ascii_only)
    for body in (said.encode(), around.encode()):
        assert SearchText(text).is_in(body) == slowly(body, text)


@given(st.text(max_size=5), st.text(max_size=40), st.integers(0, 3))
def test_any_text_is_found_by_the_quick_way_too(text: str, before: str, layers: int) -> None:
    said = before + text
    for _ in range(layers):
        said = re.sub(r"[^\w ]|[a-c]", lambda match: _escaped(match[0]), said)
    assert SearchText(text).is_in(said.encode("utf-8", "replace")) or "\ufffd" in text


def _escaped(character: str) -> str:
    """As a writer that escapes more than it needs to."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04X}" for at in range(0, len(units), 2))


@pytest.mark.parametrize("text", ["wanted", "日本語", '"quoted"', "line\nbreak", "\\" * 30, "\\a" * 20, "Köln"])
def test_long_bodies_without_it_take_no_time(text: str) -> None:
    """Milliseconds for a megabyte that is full of escapes; to undo them takes a second."""
    words = ["hello", "w\u00f6rld", "\\" * 63, "\n", '"', "<tag>", "\u672c"]
    body = json.dumps(json.dumps(random.Random(1).choices(words, k=60_000))).encode()
    searched = SearchText(text + "!")
    began = time.process_time()
    assert not searched.is_in(body)
    assert time.process_time() - began < 0.2
