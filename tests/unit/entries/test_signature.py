"""A signature never says no to a text that is there, and nearly always to one that is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitmproxy_ai_cache.entries.search_text import SearchText
from mitmproxy_ai_cache.entries.selection import in_url
from mitmproxy_ai_cache.entries.signature import UNKNOWN, WantedText, signature

URL = "https://api.openai.com/v1/chat/completions"

SAID = [
    "abcd",
    "wxyz ",
    "n",
    "u",
    "0",
    " ",
    '"',
    "\\",
    "/",
    "\n",
    "ö",
    "日本",
    "\U0001f600",
    "<",
    "\ufffd",
    "\x7f",
    "\x85",
]
ESCAPED = [r"\u0061", r"\u005c", r"\u00f6", r"\u65E5\u672c", r"\ud83d\ude00", r"\ud83d", r"\n", r"\/", r"\u", "u0061"]
PIECES = st.sampled_from(SAID + ESCAPED)
TEXT = st.lists(PIECES, max_size=6).map("".join)
ANY = st.text(st.characters(codec=None), max_size=8)


def plain(said: str) -> bytes:
    return said.encode("utf-8", "surrogatepass")


def dumped(said: str) -> bytes:
    return json.dumps({"content": said}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def dumped_in_ascii(said: str) -> bytes:
    return json.dumps({"content": said}).encode()


def dumped_twice(said: str) -> bytes:
    return dumped(dumped_in_ascii(said).decode())


def dumped_thrice(said: str) -> bytes:
    return dumped_in_ascii(dumped_twice(said).decode())


def all_escaped(said: str) -> bytes:
    """By a writer that escapes all it can."""
    units = said.encode("utf-16-be", "surrogatepass")
    return b"".join(b"\\u%04X" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))


def some_escaped(said: str) -> bytes:
    return b"".join(all_escaped(one) if ord(one) % 3 else plain(one) for one in said)


WRITERS = [plain, dumped, dumped_in_ascii, dumped_twice, dumped_thrice, all_escaped, some_escaped]
Writer = Callable[[str], bytes]


@given(TEXT | ANY, TEXT | ANY, TEXT | ANY, st.sampled_from(WRITERS), st.binary(max_size=4), st.booleans())
@example("abcd", "", "", all_escaped, b"", True)
@example("ab\ufffdcdef", "", "", plain, b"\xe6\x97", False)
@example("\\u0061bcd", "", "", dumped, b"", True)
def test_it_never_excludes_what_is_there(
    text: str, before: str, behind: str, write: Writer, junk: bytes, answered: bool
) -> None:
    body = junk + write(before + text + behind) + junk
    bodies = (b"", body) if answered else (body, b"")
    for asked in {text, text[:4], text[1:], text[-5:], body.decode("utf-8", "replace")[2:9]}:
        if SearchText(asked).is_in(body):
            assert WantedText(asked).may_be_in(signature(URL, bodies))


@given(st.binary(max_size=40), st.data())
def test_bytes_of_any_kind_are_found_by_what_they_say(body: bytes, data: st.DataObject) -> None:
    said = body.decode("utf-8", "replace")
    at = data.draw(st.integers(0, len(said)))
    text = said[at : at + data.draw(st.integers(0, 9))]
    assert SearchText(text).is_in(body)
    assert WantedText(text).may_be_in(signature("", (body, b"")))


@given(st.integers(0, 9000), st.integers(4, 9))
def test_text_at_the_edge_of_what_is_signed_in_one_go_is_found(at: int, length: int) -> None:
    body = random.Random(1).randbytes(9000).translate(bytes(97 + number % 26 for number in range(256)))
    assert WantedText(body[at : at + length].decode()).may_be_in(signature("", (body,)))


@pytest.mark.parametrize("text", ["openai", "a b/c", "a%20b", "Köln"])
def test_the_url_is_signed_as_it_is_and_decoded(text: str) -> None:
    url = "https://api.openai.com/a%20b/c/K%C3%B6ln"
    assert in_url(url, text)
    assert WantedText(text).may_be_in(signature(url, ()))
    assert not WantedText("nowhere near").may_be_in(signature(url, ()))


@pytest.mark.parametrize(
    ("text", "excludes"),
    [
        *(
            ("Oslo", True),
            ("Osl", False),
            ('"Osl"', False),
            ('"Oslo"', True),
            ("日本", True),
            ("日", False),
            ("", False),
        ),
        *(("\ud800abc", False), ("ab\ufffdcd", False), ('a"b"c"d', False)),
    ],
)
def test_only_runs_of_four_bytes_exclude(text: str, excludes: bool) -> None:
    assert WantedText(text).excludes == excludes
    assert WantedText(text).may_be_in(signature(URL, (b"{}",))) != excludes


WORDS = ["the", "weather", "answer", "model", "is", "of", "in", "and", "that", "there", "have", "with", "from"]


@pytest.mark.parametrize(("write", "size"), [(dumped, 300), (dumped_in_ascii, 3000), (dumped_twice, 3000)])
def test_it_excludes_nearly_all_that_is_not_there(write: Writer, size: int) -> None:
    dice = random.Random(3)
    words = WORDS + ["".join(dice.choices("aeiounrst", k=6)) for _ in range(500)] + ["Zürich", "日本語", "\n", '"']
    signed = [signature(URL, (write(" ".join(dice.choices(words, k=size))),)) for _ in range(20)]
    texts = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyzé", k=8)) for _ in range(100)]
    assert sum(WantedText(text).may_be_in(one) for text in texts for one in signed) <= 60
    assert max(map(len, signed)) <= size * 6


def test_a_signature_grows_with_what_is_said_not_with_how_often() -> None:
    assert len(signature("", (b"again and " * 100_000,))) == 16
    assert 1000 < len(signature("", (random.Random(1).randbytes(4000),))) <= 2048


def test_what_is_very_large_is_not_signed() -> None:
    assert signature("", (bytes(1 << 20), bytes((1 << 20) + 1))) == UNKNOWN
    assert WantedText("anything").may_be_in(UNKNOWN)


def test_it_lets_others_run_meanwhile() -> None:
    breaths: list[None] = []
    signature("", (bytes(100_000),), lambda: breaths.append(None))
    assert len(breaths) >= 24
