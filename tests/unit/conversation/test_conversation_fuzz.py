"""No body, however it was mangled, is too much for a conversation; what is understood can be written and shown."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_conversation_shapes import ANSWERS, REQUESTS
from test_conversation_streams import STREAMS

from conversing import entry
from hypothesis_profile import examples
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.conversation import Conversation, Other
from mitmproxy_ai_cache.conversation.data import entry_data
from mitmproxy_ai_cache.conversation.text import answer_lines, conversation_lines
from mitmproxy_ai_cache.wire.framing import FORMATS
from mitmproxy_ai_cache.wire.framing.eventstream import frame

JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", "x", "\n", "data:", "data:image/png;base64,", [], [[]], [None], {}, {"": None},
    {"type": "text"}, {"type": "tool_result", "content": {}}, {"text": {"text": []}}, [1, 2], ["a", 1, {}],
    {"index": {}}, {"role": []}, {"parts": {}}, {"type": []},
    {"content": [{"type": "thinking", "thinking": [None]}]},
]  # fmt: skip

WHOLE = [request for request, _ in REQUESTS.values()] + [answer for answer, *_ in ANSWERS.values()]
STREAMED = [(form, body) for form, body, *_ in STREAMS.values()]


def mangled(value: Any, chance: random.Random) -> Any:
    """`value` with one or more of its members replaced, left out or doubled."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 4)):
        place = value
        while isinstance(place, dict | list) and place:
            key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or chance.random() < 0.25:
                place[key] = copy.deepcopy(chance.choice([*JUNK, inner, [inner], {"content": inner}]))
                break
            place = inner
    return value


def understood(told: Conversation) -> bool:
    """Whether nothing was caught on the way: a body may be unreadable, but nothing stumbles over it."""
    parts = [part for message in (*told.messages, *told.answer) for part in message.parts]
    stumbled = [part for part in parts if isinstance(part, Other) and part.json.startswith("not understood")]
    assert not stumbled, stumbled
    for text in (told.question, told.text):
        assert len(text) <= 200
        assert "\n" not in text
    "".join(line for line, _ in conversation_lines(told)).encode()
    "".join(answer_lines(told)).encode()
    return True


SEEDS = st.integers(0, 1 << 32)
FUZZED = settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZED
@given(st.sampled_from(WHOLE), st.sampled_from(WHOLE), SEEDS)
def test_any_json_is_understood_or_shown_as_it_is(asked: Any, answered: Any, seed: int) -> None:
    chance = random.Random(seed)
    mangled_entry = entry(_dumped(mangled(asked, chance)), _dumped(mangled(answered, chance)))
    assert understood(conversation.of(mangled_entry))
    json.dumps(entry_data(mangled_entry, 0.0))


@FUZZED
@given(st.sampled_from(STREAMED), SEEDS)
def test_any_events_are_put_together(streamed: tuple[str, bytes], seed: int) -> None:
    chance = random.Random(seed)
    form, body = streamed
    if form == "eventstream":
        names = ("messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "chunk", "x")
        values = [mangled(chance.choice(WHOLE), chance) for _ in range(4)]
        values += [mangled({"contentBlockIndex": 0, "delta": {"text": "a"}, "start": {}}, chance) for _ in range(4)]
        body = b"".join(frame(chance.choice(names), _dumped(value)) for value in values)
    else:
        lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if b"{" in line]
        values = [mangled(orjson.loads(line), chance) for line in lines if chance.random() < 0.9]
        chance.shuffle(values)
        prefix, end = (b"data: ", b"\n\n") if form == "sse" else (b"", b"\n")
        body = b"".join(prefix + _dumped(value) + end for value in values)
    assert understood(conversation.of(entry({}, body, form=form)))


@FUZZED
@given(
    st.sampled_from([orjson.dumps(value) for value in WHOLE] + [body for _, body in STREAMED]),
    st.sampled_from(FORMATS),
    SEEDS,
)
def test_any_bytes_are_shown(body: bytes, form: str, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(body)
    for _ in range(chance.randint(0, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    data = data[: chance.randint(1, len(data))]
    media = chance.choice(["application/json", "text/plain", "audio/mpeg", "", "text/event-stream", "\x1b"])
    kind = chance.choice([media, "multipart/form-data; boundary=a"])
    mangled_entry = entry(bytes(data), bytes(data), form=form, media=media, request_headers=(("content-type", kind),))
    assert understood(conversation.of(mangled_entry))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()
