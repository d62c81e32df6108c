"""Where a page of a shared store goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.stores.pages import NoSuchPage
from mitmproxy_ai_cache.stores.redis.recent import LAST_KEY
from mitmproxy_ai_cache.stores.redis.walk import NEWEST, Place, is_place, place_in

TIMES = st.floats(min_value=0, max_value=1e12)
KEYS = st.text("0123456789abcdef", min_size=1)


@given(TIMES, KEYS, st.text())
def test_a_place_is_found_again_by_what_it_says(created: float, key: str, namespace: str) -> None:
    place = Place((created, key), namespace)
    assert is_place(str(place))
    assert place_in(str(place)) == place


def test_the_first_page_and_the_place_before_it_are_one() -> None:
    assert place_in("") == place_in(str(NEWEST)) == NEWEST
    assert is_place("")
    assert is_place(str(NEWEST))


@pytest.mark.parametrize("after", ["recent ", "recent x", "recent 1.0", "recent 1.0 a", "recent nan a b"])
def test_a_place_that_no_page_gave_is_refused(after: str) -> None:
    assert is_place(after)
    with pytest.raises(NoSuchPage):
        place_in(after)


@given(st.lists(st.tuples(st.integers(0, 2), KEYS, st.sampled_from("abc")), unique=True), st.data())
def test_places_of_several_namespaces_part_what_was_seen_from_what_was_not(
    found: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    ordered = sorted(
        ((float(created), key, space) for created, key, space in found), key=lambda one: one[1], reverse=True
    )
    ordered.sort(key=lambda one: (-one[0], one[2]))
    for at, (created, key, space) in enumerate(ordered):
        place = Place((created, key), space)
        assert [one for one in ordered if (one[0], one[1]) < place.of(one[2])] == ordered[at + 1 :]
    assert all((one[0], one[1]) < NEWEST.of(one[2]) for one in ordered)
    assert LAST_KEY > "f" * 64
