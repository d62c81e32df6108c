"""A map with a bound keeps what was put or touched last."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.wire.bounded import BoundedMap


def test_beyond_its_number_of_entries_the_oldest_goes() -> None:
    kept: BoundedMap[str, int] = BoundedMap(2)
    for number, key in enumerate("abc"):
        assert kept.put(key, number)
    assert list(kept.items()) == [("b", 1), ("c", 2)]


def test_beyond_its_size_as_many_go_as_it_takes() -> None:
    kept: BoundedMap[str, bytes] = BoundedMap(max_size=10, size_of=len)
    for key in "abc":
        kept.put(key, b"xxx")
    kept.put("d", b"xxxxxx")
    assert list(kept) == ["c", "d"]
    assert kept.size == 9


def test_what_is_touched_stays_and_what_is_looked_at_does_not() -> None:
    kept: BoundedMap[str, int] = BoundedMap(2)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.touch("a")
    assert kept.get("b") == 2
    kept.put("c", 3)
    assert list(kept) == ["a", "c"]


def test_to_touch_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        BoundedMap[str, int](2).touch("a")


def test_what_is_put_again_is_the_newest_and_counts_once() -> None:
    kept: BoundedMap[str, bytes] = BoundedMap(max_size=10, size_of=len)
    kept.put("a", b"xxxx")
    kept.put("b", b"xxxx")
    kept.put("a", b"xx")
    assert list(kept) == ["b", "a"]
    assert kept.size == 6


def test_what_is_larger_than_all_is_not_kept_and_removes_no_other() -> None:
    kept: BoundedMap[str, bytes] = BoundedMap(max_size=10, size_of=len)
    kept.put("a", b"x")
    kept.put("b", b"x")
    assert not kept.put("b", b"x" * 11)
    assert list(kept) == ["a"]
    assert kept.size == 1


def test_who_asks_is_told_what_went_for_the_bound_and_not_what_was_removed() -> None:
    gone: list[tuple[str, int]] = []
    kept: BoundedMap[str, int] = BoundedMap(2, dropped=lambda key, value: gone.append((key, value)))
    for number, key in enumerate("abca"):
        kept.put(key, number)
    kept.pop("c")
    kept.clear()
    assert gone == [("a", 0), ("b", 1)]


Steps = st.lists(st.tuples(st.sampled_from(["put", "touch", "pop"]), st.integers(0, 5), st.integers(0, 7)), max_size=60)


@given(Steps)
def test_it_does_what_a_plain_ordered_map_with_a_loop_does(steps: list[tuple[str, int, int]]) -> None:
    kept: BoundedMap[int, int] = BoundedMap(4, max_size=12, size_of=lambda value: value)
    plain: OrderedDict[int, int] = OrderedDict()
    for step, key, value in steps:
        if step == "put":
            kept.put(key, value)
            plain.pop(key, None)
            plain[key] = value
            while len(plain) > 4 or sum(plain.values()) > 12:
                plain.popitem(last=False)
        elif step == "touch" and key in plain:
            kept.touch(key)
            plain.move_to_end(key)
        elif step == "pop":
            assert kept.pop(key) == plain.pop(key, None)
        assert list(kept.items()) == list(plain.items())
        assert kept.size == sum(plain.values())
