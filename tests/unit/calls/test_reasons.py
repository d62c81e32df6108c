"""The words for what became of a call stand in one place, each with its sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mitmproxy_ai_cache.calls.reasons import Reason, Status, sentence, stale_for

PACKAGE = next(
    path for path in (folder / "addon/mitmproxy_ai_cache" for folder in Path(__file__).parents) if path.is_dir()
)


@pytest.mark.parametrize("word", [*Status, *Reason])
def test_every_word_has_a_sentence_that_ends(word: Status | Reason) -> None:
    assert word.sentence[0].isupper()
    assert word.sentence.endswith(".")


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_says_its_sentence_whatever_the_status(reason: Reason) -> None:
    assert {sentence(status, reason.value) for status in Status} == {reason.sentence}


def test_a_stale_answer_says_what_the_provider_said() -> None:
    assert sentence("STALE", stale_for(503)) == "The provider said 503, and a stale answer was at hand."
    assert sentence("STALE", stale_for(0)) == Reason.UNREACHABLE.sentence


def test_a_word_of_a_protocol_that_nobody_here_knows_stands_for_itself() -> None:
    assert sentence("BYPASS", "no-such-reason") == "no-such-reason"
    assert sentence("HIT", "") == Status.HIT.sentence


def test_no_other_file_of_the_way_of_a_call_spells_a_status() -> None:
    spelled = re.compile(r'"(?:HIT|STALE|MISS|BYPASS|REFRESH)"')
    rooms = [*(PACKAGE / "calls").rglob("*.py"), *(PACKAGE / "counts").glob("*.py"), PACKAGE / "addon.py"]
    found = [str(file) for file in rooms if file.name != "reasons.py" and spelled.search(file.read_text("utf-8"))]
    assert not found
