"""Every recorded stream, cut: nothing that broke off before its terminal event may be kept."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from corpus.recorded import Recorded, exchanges, needs_corpus
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.protocols.base import Answer, Ending
from mitmproxy_ai_cache.protocols.providers import hosts_without_done
from mitmproxy_ai_cache.wire.framing import eventstream, tag_of

pytestmark = needs_corpus

RANDOM_CUTS = 50
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_TERMINAL = {
    "openai-chat": rb"data: ?\[DONE\]",
    "openai-completions": rb"data: ?\[DONE\]",
    "openai-responses": rb'data: ?\{"type": ?"response\.(?:completed|incomplete)"',
    "anthropic-messages": rb'data: ?\{"type": ?"message_stop"',
    "gemini-interactions": rb"data: ?\[DONE\]",
    "cohere-chat": rb"data: ?\[DONE\]|\"stream-end\"",
}
"""Written down here a second time on purpose: the test must not ask the gate where a stream ends."""


def streams() -> list[Recorded]:
    return [
        exchange
        for exchange in exchanges()
        if exchange.call is not None
        and exchange.status == 200
        and exchange.response_body
        and (tag_of(exchange.content_type, exchange.response_body) != "json" or _is_array(exchange))
    ]


def _is_array(exchange: Recorded) -> bool:
    return exchange.call is not None and exchange.call.stream and exchange.response_body.lstrip()[:1] == b"["


def boundaries(exchange: Recorded) -> list[int]:
    """Offsets at which an event, frame, line or element has just ended."""
    body = exchange.response_body
    tag = tag_of(exchange.content_type, body)
    if tag == "sse":
        return [match.end() for match in _BLANK_LINE.finditer(body)]
    if tag == "eventstream":
        ends, at = [], 0
        while at < len(body):
            at += int.from_bytes(body[at : at + 4], "big")
            ends.append(at)
        return ends
    return [match.end() for match in re.finditer(rb"\n", body)]


def terminal_offset(exchange: Recorded, ends: list[int]) -> int:
    """The first offset at which the message is complete."""
    body = exchange.response_body
    assert exchange.call is not None
    pattern = _TERMINAL.get(exchange.call.protocol.name)
    tag = tag_of(exchange.content_type, body)
    if pattern and (matches := list(re.finditer(pattern, body))):
        after = matches[-1].end() if tag != "ndjson" else len(body.rstrip())
        return next((end for end in ends if end >= after), after) if tag != "ndjson" else after
    if tag in ("ndjson", "json"):
        return len(body.rstrip())
    return ends[-1]


def cuts(exchange: Recorded) -> Iterator[int]:
    ends = boundaries(exchange)
    terminal = terminal_offset(exchange, ends)
    yield from (end for end in ends if end < terminal)
    chance = random.Random(exchange.id)
    yield from (chance.randrange(terminal) for _ in range(RANDOM_CUTS))


@pytest.mark.slow
def test_a_stream_cut_anywhere_before_its_terminal_event_is_never_kept(capsys: pytest.CaptureFixture[str]) -> None:
    tried, unknowable = Counter[str](), Counter[str]()
    wrong: list[str] = []
    for exchange in streams():
        call = exchange.call
        assert call is not None
        assert gate.verdict(call, exchange.answer).whole, exchange.id
        for cut in cuts(exchange):
            for ending in (Ending.CLOSED, Ending.CLEAN, Ending.ABORTED):
                part = Answer(200, exchange.content_type, exchange.response_body[:cut], ending)
                tried[call.protocol.name] += 1
                verdict = gate.verdict(call, part)
                if not (verdict.whole and verdict.cacheable):
                    continue
                if call.host in hosts_without_done() and ending is Ending.CLEAN:
                    unknowable[call.host] += 1
                else:
                    wrong.append(
                        f"{exchange.id} {call.protocol.name} at {cut} of {len(exchange.response_body)}, {ending}"
                    )
    with capsys.disabled():
        print(f"\n{len(streams())} streams, {sum(tried.values())} cuts: {dict(tried)}")
        print(f"kept: {len(wrong)}; not to be known, hosts without [DONE] and a clean end: {dict(unknowable)}")
    assert not wrong, "\n".join(wrong[:30]) + f"\n{len(wrong)} in all"


@pytest.mark.thorough
def test_a_json_answer_cut_anywhere_is_never_kept() -> None:
    for exchange in exchanges():
        call, body = exchange.call, exchange.response_body
        if call is None or exchange.status != 200 or tag_of(exchange.content_type, body) != "json":
            continue
        chance = random.Random(exchange.id)
        for cut in {chance.randrange(1, max(2, len(body.rstrip()))) for _ in range(10)}:
            for ending in Ending:
                verdict = gate.verdict(call, replace(exchange.answer, body=body[:cut], ending=ending))
                assert not (verdict.whole and verdict.cacheable), (exchange.id, cut, ending)


def test_a_frame_with_a_flipped_bit_is_never_kept() -> None:
    for exchange in streams():
        body = exchange.response_body
        call = exchange.call
        if call is None or tag_of(exchange.content_type, body) != "eventstream":
            continue
        chance = random.Random(exchange.id)
        for _ in range(20):
            at = chance.randrange(len(body))
            changed = body[:at] + bytes([body[at] ^ (1 << chance.randrange(8))]) + body[at + 1 :]
            if eventstream.parse(changed).broken:
                verdict = gate.verdict(call, replace(exchange.answer, body=changed))
                assert not verdict.whole, (exchange.id, at)
