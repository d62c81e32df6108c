"""Usage fields of every shape, and the entries that keep what they said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.entries import usage
from mitmproxy_ai_cache.entries.entry import Entry, tokens_of
from mitmproxy_ai_cache.entries.usage import Usage
from mitmproxy_ai_cache.wire.messages import Headers

ANTHROPIC_START = {"input_tokens": 3, "cache_creation_input_tokens": 353, "cache_read_input_tokens": 4890}
HOUR = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 253}


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        pytest.param(
            [{"prompt_tokens": 20, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}],
            Usage(20, 4, 8),
            id="openai counts the cached within the input",
        ),
        pytest.param(
            [{"input_tokens": 20, "output_tokens": 4, "input_tokens_details": {"cache_write_tokens": 8}}],
            Usage(20, 4, 0, 8),
            id="so do the responses, and what was written",
        ),
        pytest.param(
            [{"prompt_tokens": 353, "completion_tokens": 23, "prompt_cache_hit_tokens": 256}],
            Usage(353, 23, 256),
            id="deepseek has its own name for it",
        ),
        pytest.param(
            [{**ANTHROPIC_START, "output_tokens": 323}],
            Usage(5246, 323, 4890, 353),
            id="anthropic counts it beside the input",
        ),
        pytest.param(
            [{**ANTHROPIC_START, "output_tokens": 1}, {"output_tokens": 9}, {"output_tokens": 50}],
            Usage(5246, 50, 4890, 353),
            id="a stream counts its output up",
        ),
        pytest.param(
            [ANTHROPIC_START, {"input_tokens": 30, "output_tokens": 50}],
            Usage(5273, 50, 4890, 353),
            id="a stream counts its input up, too",
        ),
        pytest.param(
            [{**ANTHROPIC_START, "cache_creation": HOUR}],
            Usage(5246, 0, 4890, 353, 253),
            id="what is kept for an hour",
        ),
        pytest.param(
            [{"inputTokens": 13, "outputTokens": 5, "cacheReadInputTokens": 2, "cacheReadInputTokenCount": 2}],
            Usage(15, 5, 2),
            id="bedrock says it twice",
        ),
        pytest.param(
            [{"inputTokens": 1, "cacheWriteInputTokens": 9, "cacheDetails": [{"ttl": "1h", "inputTokens": 4}]}],
            Usage(10, 0, 0, 9, 4),
            id="bedrock's hour",
        ),
        pytest.param(
            [{"prompt_tokens": 100, "completion_tokens": 5, "cache_read_input_tokens": 60}],
            Usage(100, 5, 60),
            id="anthropic's name within openai's input",
        ),
        pytest.param(
            [{"prompt_tokens": 10, "completion_tokens": 5, "cache_read_input_tokens": 60}],
            Usage(70, 5, 60),
            id="more than the input can only be beside it",
        ),
        pytest.param(
            [{"prompt_tokens": 468, "completion_tokens": 82, "total_tokens": 870,
              "completion_tokens_details": {"reasoning_tokens": 320}}],
            Usage(468, 402),
            id="xai counts thoughts beside the completion",
        ),
        pytest.param(
            [{"prompt_tokens": 468, "completion_tokens": 402, "total_tokens": 870,
              "completion_tokens_details": {"reasoning_tokens": 320}}],
            Usage(468, 402),
            id="openai counts them within",
        ),
        pytest.param(
            [{"promptTokenCount": 32, "toolUsePromptTokenCount": 720, "candidatesTokenCount": 341,
              "thoughtsTokenCount": 103, "cachedContentTokenCount": 12}],
            Usage(752, 444, 12),
            id="gemini counts thoughts and its tools' input beside",
        ),
        pytest.param(
            [{"promptTokenCount": 50, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10},
              {"modality": "AUDIO", "tokenCount": 40}], "candidatesTokenCount": 1}],
            Usage(50, 1, audio_input=40),
            id="sound costs more",
        ),
        pytest.param([{"total_tokens": 7}], Usage(7), id="a total alone is input"),
        pytest.param([{"inputTokenCount": 3.0, "outputTokenCount": 4.0}], Usage(3, 4), id="3.0 is 3"),
        pytest.param(
            [{"prompt_tokens": True, "completion_tokens": -4, "prompt_tokens_details": {"cached_tokens": "9"}}, 5],
            Usage(),
            id="what is no count",
        ),
        pytest.param(
            [{"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 9}}],
            Usage(5, 0, 5),
            id="no part is larger than the whole",
        ),
    ],
)  # fmt: skip
def test_usage_is_read_as_its_provider_means_it(places: list[Any], expected: Usage) -> None:
    assert usage.read(places) == expected


NAMES = [
    *usage._INPUT, *usage._TOOL_INPUT, *usage._OUTPUT, *usage._THOUGHTS, *usage._READ_BESIDE, *usage._WRITE_BESIDE,
    *usage._READ_INSIDE, *usage._OF_INPUT, *usage._OF_OUTPUT, "total_tokens", "cache_creation", "cacheDetails",
    "promptTokensDetails", "candidatesTokensDetails", "cached_tokens", "audio_tokens", "reasoning_tokens", "tokenCount",
    "ephemeral_1h_input_tokens", "modality", "ttl",
]  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(-5, 1000), st.none(), st.booleans(), st.floats(), st.sampled_from(["AUDIO", "1h", "x"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8) | VALUES, max_size=4))
def test_whatever_a_stranger_counts_the_parts_fit_into_the_whole(places: list[Any]) -> None:
    found = usage.read(places)
    assert min(found) >= 0
    assert found.cache_read + found.cache_write + found.audio_input <= found.input
    assert found.cache_write_1h <= found.cache_write
    assert found.audio_output <= found.output


def test_bedrocks_headers_count_where_the_body_says_nothing() -> None:
    prefix = "x-amzn-bedrock-"
    headers = Headers(
        [
            (f"{prefix}input-token-count", "4"),
            (f"{prefix}output-token-count", "50"),
            (f"{prefix}cache-read-input-token-count", "18131"),
            (f"{prefix}cache-write-input-token-count", "²"),
        ]
    )
    assert usage.from_headers(headers) == Usage(18135, 50, 18131)
    assert usage.from_headers(Headers()) == Usage()


def entry(**given: Any) -> Entry:
    return Entry(key="a" * 64, created=1.0, ttl=0, status=200, headers=(), format="json", body=b"{}", **given)


@given(st.builds(Usage, *[st.integers(0, 1 << 40)] * len(Usage._fields)))
def test_an_entry_keeps_its_usage(found: Usage) -> None:
    again = Entry.unpack(entry(**tokens_of(found)).pack_answer())
    assert again.usage == found


def test_an_entry_of_an_older_release_has_only_input_and_output() -> None:
    """Its head has no more fields, and neither has that of an entry where they would be zero."""
    packed = entry(input_tokens=3, output_tokens=4).pack_answer()
    assert b"input_tokens" in packed
    assert b"cache_read_tokens" not in packed
    assert Entry.unpack(packed).usage == Usage(3, 4)
