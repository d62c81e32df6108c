"""Nothing a stranger sends makes a parser raise, and nothing that was cut is taken for whole."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from corpus import recorded
from fuzz.material import REQUESTS, SEEDS, near, real_answers
from fuzz.targets import TARGETS, judged
from hypothesis_profile import examples
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.identity import canonical
from mitmproxy_ai_cache.identity.isolation import Isolation, NoPrincipal, Unstable
from mitmproxy_ai_cache.identity.key import fingerprint
from mitmproxy_ai_cache.protocols.base import Answer, Call, Ending
from mitmproxy_ai_cache.protocols.providers import hosts_without_done
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request
from unit.calls.test_gate import CALLS, CHAT, KEPT, SPEECH, TRANSCRIPT

EVERY_TIME_THE_SAME = settings(
    max_examples=examples(200), derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(
    EVERY_TIME_THE_SAME, max_examples=examples(2000), derandomize=False, phases=(Phase.generate, Phase.shrink)
)
numbers = st.integers(0, 1 << 16)


def fuzz(name: str, profile: settings) -> None:
    @given(numbers, near(SEEDS[name]()))
    @profile
    def hold(choice: int, data: bytes) -> None:
        TARGETS[name](choice, data)

    hold()


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_a_stranger_sends_makes_it_stumble(name: str) -> None:
    fuzz(name, EVERY_TIME_THE_SAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_makes_it_stumble_in_a_long_run(name: str) -> None:
    fuzz(name, LONG)


# What was cut

FRAMED = (SPEECH, TRANSCRIPT)
"""Only the framing proves their end: a cut that ends cleanly is not to be known."""
STREAMS = [row[1:] for row in KEPT if row[1] not in FRAMED and row[1].host not in hosts_without_done()]


def cut_is_not_kept(call: Call, content_type: str, data: bytes, at: int, ending: Ending) -> None:
    """As long as what is left out is more than white space and what may follow the terminal event."""
    verdict = judged(call, content_type, data[:at], ending)
    assert not verdict.cacheable, (call.protocol.name, data[:at][-200:], ending)


@pytest.mark.parametrize("ending", Ending)
def test_a_stream_cut_at_any_byte_is_not_kept(ending: Ending) -> None:
    for call, content_type, data in STREAMS:
        first = next(at for at in range(len(data) + 1) if judged(call, content_type, data[:at], Ending.ABORTED).whole)
        terminal = data[first:].strip()
        assert len(terminal) < 80, f"{call.protocol.name} is whole at {first}, and {terminal!r} follows"
        for at in range(first):
            cut_is_not_kept(call, content_type, data, at, ending)


@recorded.needs_corpus
def test_a_recorded_stream_cut_where_hypothesis_likes_is_not_kept() -> None:
    from corpus.test_truncation import boundaries, streams, terminal_offset

    known = [
        exchange for exchange in streams()[::9] if exchange.call and exchange.call.host not in hosts_without_done()
    ]

    @given(st.sampled_from(known), st.floats(0, 1, exclude_max=True), st.sampled_from(Ending))
    @EVERY_TIME_THE_SAME
    def hold(exchange: recorded.Recorded, share: float, ending: Ending) -> None:
        at = int(share * terminal_offset(exchange, boundaries(exchange)))
        assert exchange.call is not None
        cut_is_not_kept(exchange.call, exchange.content_type, exchange.response_body, at, ending)

    hold()


def test_a_stream_that_wants_no_images_is_still_not_whole_at_its_start() -> None:
    from unit.calls.test_gate import call

    for wanted in (0, -1, False):
        images = call("api.openai.com/v1/images/generations", prompt="x", stream=True, n=wanted)
        assert not judged(images, "text/event-stream", b"data: {}\n\n", Ending.CLOSED).whole


def test_any_chunking_gives_one_verdict() -> None:
    """The gate sees bytes, never chunks: what the tee puts together is what passed."""
    from mitmproxy_ai_cache.calls.capture import Capture

    @given(st.sampled_from(real_answers()), st.lists(st.integers(1, 50), min_size=1), st.sampled_from(CALLS))
    @settings(EVERY_TIME_THE_SAME, max_examples=examples(60))
    def hold(data: bytes, sizes: list[int], call: Call) -> None:
        tee, at, number = Capture(1 << 20), 0, 0
        while at < len(data):
            size = sizes[number % len(sizes)]
            tee(data[at : at + size])
            at, number = at + size, number + 1
        tee(b"")
        assert tee.body() == data
        assert gate.verdict(call, Answer(200, "", tee.body())) == gate.verdict(call, Answer(200, "", data))

    hold()


# What must stay apart


@pytest.mark.parametrize("more", ["; boundary=y", "; boundary*=utf-8''y", ", multipart/form-data; boundary=y"])
def test_a_boundary_that_readers_disagree_on_is_none(more: str) -> None:
    """The boundary is no part of the key. If a provider read another one, two bodies would share an answer."""

    def kind(content_type: str) -> str:
        fields = Headers([("content-type", content_type)])
        return body.read(Request("POST", "https", "h", 443, "/", "", fields, REQUESTS[4]), 1 << 20).kind

    assert kind("multipart/form-data; boundary=x") == "multipart"
    assert kind("multipart/form-data; boundary=x" + more) == "raw"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=12), min_size=2, max_size=2, unique=True))
@EVERY_TIME_THE_SAME
def test_two_values_never_share_a_scope(values: list[str]) -> None:
    def scopes(name: str, query: bool = False) -> list[tuple[bytes, ...]]:
        found = []
        for value in values:
            fields = Headers([] if query else [(name, value)])
            text = f"{name}={''.join(f'%{ord(char):02x}' for char in value)}" if query else ""
            kind = Isolation.parse("header:x-team") if name == "x-team" else Isolation("credential")
            try:
                found.append(kind.scope(Request("POST", "https", "h", 443, "/", text, fields), None))
            except (NoPrincipal, Unstable):
                found.append((value.encode(),))
        return found

    for one, other in (scopes("x-team"), scopes("x-api-key"), scopes("key", query=True)):
        assert one != other


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
@EVERY_TIME_THE_SAME
def test_no_length_trick_makes_two_scopes_one_key(one: list[bytes], other: list[bytes]) -> None:
    asked = Request("POST", "https", "api.openai.com", 443, "/v1/chat/completions", body=b"{}")
    keys = [fingerprint(CHAT, asked, scope, Settings().key_rules) for scope in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)


numerals = st.from_regex(r"-?(?:0|[1-9][0-9]{0,25})(?:\.[0-9]{1,12})?(?:[eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(numerals, numerals)
@EVERY_TIME_THE_SAME
def test_numbers_are_one_in_the_key_exactly_where_they_are_equal(one: str, other: str) -> None:
    from mitmproxy_ai_cache.wire.json_body import parse

    def signed(text: str) -> tuple[bool, Decimal]:
        value = Decimal(text)
        # 0 and -0 differ; an integer zero has no sign but where it is written
        return value.is_signed(), value

    for left, right in ((one, other), (one, one.replace("e", "E")), (one, f"{Decimal(one):e}")):
        same = canonical.encode(parse(f"[{left}]".encode())) == canonical.encode(parse(f"[{right}]".encode()))
        assert same is (signed(left) == signed(right)), (left, right)
