"""What a worker does. Each job gets a head and byte strings and answers with such; it runs the very functions that the
event loop runs for small bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import orjson

from ...cassettes import file, leaks
from ...explain import Miss, Recorded
from ...protocols.base import Ending
from ...redact import Pattern
from ...redact.entries import hidden, hidden_request
from .. import storing
from . import timed, wire
from .frames import Head

Result = tuple[Head, list[bytes]]

CHANGED = "body"
"""The member of an answer that says that a new body comes along; without it the old one stands."""


def run(head: Head, blobs: list[bytes]) -> Result:
    timed.begin()
    return _JOBS[head["job"]](head, blobs)


@lru_cache(maxsize=4)
def _rules(text: str) -> wire.Rules:
    settings = wire.settings_in(orjson.loads(text))
    redact, key_rules = timed.timed_patterns(settings.redact), timed.timed_rules(settings.key_rules)
    return wire.Rules.of(replace(settings, redact=redact, key_rules=key_rules))


def _read(head: Head, blobs: list[bytes]) -> Result:
    """A request -> its reading, with the key. Bodies come back only where they are other bytes."""
    rules = _rules(head["rules"])
    body = blobs[0] if blobs else None
    found = rules.identifier.read(wire.request_in(head["request"], body))
    answer: Head = {"redacted": found.redacted, "kind": found.kind}
    answer["request"] = wire.request_out(found.request)
    out: list[bytes] = []
    if found.request.body is not body:
        answer[CHANGED] = len(out)
        out.append(found.request.body or b"")
    if (call := found.call) is not None:
        answer["call"] = wire.call_out(call)
        if call.body.raw != (found.request.body or b""):
            answer["raw"] = len(out)
            out.append(call.body.raw)
        if head["scope"] is not None and call.body.kind in ("json", "multipart", "raw"):
            scope = tuple(map(bytes.fromhex, head["scope"]))
            answer["key"] = rules.identifier.identify(found.request, call, scope).key
    return answer, out


def _judge(head: Head, blobs: list[bytes]) -> Result:
    """An answer -> the verdict, the id it issued, and its body without its content coding."""
    rules = _rules(head["rules"])
    call = wire.call_in(head["call"], b"", rules.protocols)
    headers = wire.headers_in(head["headers"])
    answer, verdict, issued = storing.judge(
        call, head["status"], headers, blobs[0], Ending(head["ending"]), rules.settings.max_body
    )
    said: Head = {"verdict": wire.verdict_out(verdict), "issued": issued, "ending": answer.ending}
    return _with_body(said, blobs[0], answer.body)


def _redact(head: Head, blobs: list[bytes]) -> Result:
    """An entry without its secrets; nothing where it holds none."""
    entry = wire.whole_entry_in(head["entry"], *blobs)
    found = hidden(entry, _patterns(head))
    return ({}, []) if found is entry else ({"entry": wire.whole_entry_out(found)}, [found.body, found.request])


def _with_body(said: Head, before: bytes, after: bytes) -> Result:
    return (said, []) if after == before else ({**said, CHANGED: 0}, [after])


class _Last:
    """The recorded requests of the last question: the next one mostly asks about the same."""

    name: str = ""
    recorded: Recorded | None = None


def _explain(head: Head, blobs: list[bytes]) -> Result:
    rules = _rules(head["rules"])
    if "entries" in head:
        sent, recorded = blobs[0], blobs[1:]
        hide = partial(hidden_request, patterns=rules.settings.redact)
        entries = [wire.entry_in(said, data) for said, data in zip(head["entries"], recorded, strict=True)]
        _Last.name, _Last.recorded = head["recordings"], Recorded(entries, rules.identifier, hide)
    elif _Last.name == head["recordings"]:
        sent = blobs[0]
    else:
        return {"unknown": True}, []
    assert _Last.recorded is not None
    request = wire.request_in(head["request"], sent)
    miss = Miss(request, None, head["namespace"], head["key"], head["reason"])
    return {"explanation": wire.explanation_out(_Last.recorded.explain(miss))}, []


def _compose(head: Head, blobs: list[bytes]) -> Result:
    """An entry -> the text of its cassette and its parts, without secrets."""
    try:
        text, contents = leaks.compose(wire.whole_entry_in(head["entry"], *blobs), _patterns(head))
    except leaks.HoldsSecret as error:
        return {"leaks": [(leak.place, leak.kind) for leak in error.leaks]}, []
    except file.NotWritable as error:
        return {"not_writable": str(error)}, []
    texts = (text, *contents.values())
    return {"parts": list(contents)}, [one.encode("utf-8", "surrogatepass") for one in texts]


def _leaks(head: Head, blobs: list[bytes]) -> Result:
    """An entry -> the secrets that are still in it."""
    found = leaks.in_entry(wire.whole_entry_in(head["entry"], *blobs), _patterns(head))
    return {"leaks": [(leak.place, leak.kind) for leak in found]}, []


def _patterns(head: Head) -> tuple[Pattern, ...]:
    return (*_rules(head["rules"]).settings.redact, *wire.patterns_in(head["credentials"]))


_JOBS: dict[str, Callable[[Head, list[bytes]], Result]] = {
    "read": _read,
    "judge": _judge,
    "redact": _redact,
    "explain": _explain,
    "compose": _compose,
    "leaks": _leaks,
}
