"""The gate: may this captured answer be kept? A pure function of its bytes and of how it ended."""

from __future__ import annotations

from typing import Any

from ..entries import usage
from ..protocols.base import Answer, Call, Ending, Finding, Verdict
from ..wire.framing import FRAMINGS, Stream, json_array, load, tag_of


def verdict(call: Call, answer: Answer) -> Verdict:
    """Judge `answer` to `call`. The tag is what the answer is, whatever the request asked for."""
    tag = tag_of(answer.content_type, answer.body)
    clean = answer.ending is Ending.CLEAN
    if not answer.body:
        return Verdict(clean, False, tag, f"status-{answer.status}" if answer.status != 200 else "empty-body")
    if answer.status != 200:
        return Verdict(clean or _closes(answer.body), False, tag, f"status-{answer.status}")
    found = Finding()
    values: list[Any] = []
    if tag == "json":
        tag, values = _judge_json(call, answer, found)
    elif tag == "raw":
        call.protocol.judge_raw(call, answer, found)
    else:
        stream = FRAMINGS[tag].parse(answer.body)
        values = [event.object for event in stream.events]
        call.protocol.judge_stream(call, stream, found)
        _framing(stream, found)
    whole = found.terminal or (found.needs_framing and clean)
    if not whole:
        reason = found.problem if found.problem == "malformed" else "truncated"
        return Verdict(False, False, tag, reason, tuple(found.stop))
    counted = usage.read(
        place for value in values if isinstance(value, dict) for place in call.protocol.usage_places(value)
    )
    return Verdict(True, not found.problem, tag, found.problem or "complete", tuple(found.stop), counted)


def _judge_json(call: Call, answer: Answer, found: Finding) -> tuple[str, list[Any]]:
    if call.stream and answer.body.lstrip()[:1] == b"[":
        stream = json_array.FRAMING.parse(answer.body)
        if stream.at_boundary and stream.events:
            call.protocol.judge_stream(call, stream, found)
            return json_array.FRAMING.name, [event.object for event in stream.events]
    try:
        value = load(answer.body)
    except ValueError:
        found.problem = "malformed" if answer.ending is Ending.CLEAN else ""
        return "json", []
    found.terminal = isinstance(value, dict | list)
    found.needs_framing = not found.terminal
    call.protocol.judge_json(call, value, found)
    return "json", [value]


def _framing(stream: Stream, found: Finding) -> None:
    if stream.broken:
        found.terminal = found.needs_framing = False
        found.problem = "malformed"
    elif found.needs_framing and not found.terminal:
        # Clean framing proves the end only where the last event is whole.
        found.needs_framing = stream.at_boundary


def _closes(body: bytes) -> bool:
    try:
        return isinstance(load(body), dict | list)
    except ValueError:
        return False
