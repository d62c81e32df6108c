from __future__ import annotations

import pytest

from mitmproxy_ai_cache.entries import key_numbers


@pytest.mark.parametrize(("number", "key"), [(1, "ab"), (2, "ab-2"), (17, "ab-17")])
def test_a_key_tells_its_sequence_and_place(number: int, key: str) -> None:
    assert key_numbers.nth("ab", number) == key
    assert (key_numbers.base(key), key_numbers.number(key)) == ("ab", number)
