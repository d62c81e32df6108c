"""Texts of real traffic are never excluded where they stand, and nearly always where they do not."""

from __future__ import annotations

import random

import pytest

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache.entries.search_text import SearchText, layers
from mitmproxy_ai_cache.entries.selection import in_url
from mitmproxy_ai_cache.entries.signature import WantedText, signature

pytestmark = [needs_corpus, pytest.mark.thorough]


def test_no_text_is_excluded_where_it_stands() -> None:
    dice = random.Random(5)
    asked = 0
    for one in exchanges():
        bodies = [one.request.body, one.response_body]
        signed = signature(one.request.url, bodies)
        said = [*(text for body in bodies if len(body) < 100_000 for text in layers(body)), one.request.url]
        for _ in range(4):
            text = dice.choice(said)
            at = dice.randrange(len(text) + 1)
            wanted = text[at : at + dice.randrange(30)]
            assert in_url(one.request.url, wanted) or any(SearchText(wanted).is_in(body) for body in bodies)
            assert WantedText(wanted).may_be_in(signed), (one, wanted)
            asked += WantedText(wanted).excludes
    assert asked > 1000


def test_few_entries_are_read_for_a_text_that_is_nowhere() -> None:
    signed = [signature(one.request.url, (one.request.body, one.response_body)) for one in exchanges()]
    for text, most in (
        ("the weather in Oslo", 0.01),
        ("nowhere to be found", 0.01),
        ("qzxvwk", 0.06),
        ("日本語学", 0.01),
    ):
        may_be_in = sum(map(WantedText(text).may_be_in, signed))
        assert may_be_in <= most * len(signed), text
