from __future__ import annotations

from mitmproxy_ai_cache.calls.sequences import Sequences


def test_identical_requests_are_numbered_whatever_comes_between() -> None:
    run = Sequences()
    assert [run.next(key) for key in "abaab"] == [1, 1, 2, 3, 2]


def test_a_retry_takes_the_place_of_what_was_refused() -> None:
    run = Sequences()
    run.next("a")
    second = run.next("a")
    run.again("a", second)
    assert run.next("a") == second


def test_a_refusal_that_comes_late_does_not_number_twice() -> None:
    run = Sequences()
    first, second = run.next("a"), run.next("a")
    run.again("a", first)
    assert run.next("a") == second + 1


def test_the_last_answer_found_is_known() -> None:
    run = Sequences()
    assert run.last("a") == 0
    for number in (run.next("a"), run.next("a")):
        run.found("a", number)
    run.next("a")
    assert run.last("a") == 2


def test_a_test_that_begins_again_starts_its_sequences_anew_and_no_others() -> None:
    run = Sequences()
    run.next("a", "test one")
    run.next("b", "test two")
    run.begin("test one")
    assert (run.next("a", "test one"), run.next("b", "test two")) == (1, 2)
