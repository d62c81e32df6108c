"""What a protocol is: the interface that every folder of this package implements, and the values it speaks.

A protocol knows how its requests are recognised, what of them its key leaves out, when one of its answers is complete
and is an answer, and what its errors look like to an SDK. It sees whole messages, never chunks: the gate is a function
of the captured bytes and of how the message ended, so any chunking gives the same verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import orjson

from ..entries.usage import NONE, Usage
from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Headers, Request, Response
from .live import is_live

ANYWHERE = "*"
"""The token of a protocol whose paths end in anything; it is asked last."""


class Ending(StrEnum):
    """How a message ended on the wire."""

    CLEAN = "clean"
    """The framing proved it: last chunk, content length, END_STREAM."""
    CLOSED = "closed"
    """The connection closed, and nothing else said where the body ends (RFC 9112 section 6.3, rule 8)."""
    ABORTED = "aborted"
    """A reset, a short body, or a client that left."""


@dataclass(frozen=True)
class Call:
    """A request that a protocol understands."""

    protocol: Protocol
    model: str
    stream: bool
    body: Body
    host: str
    path: str
    bypass: str = ""
    """Why state forbids to cache it (`background`, `conversation`, ...), or nothing."""
    live_input: bool = False
    """Path or protocol say already that the call is `live`."""

    @cached_property
    def live(self) -> bool:
        """The answer depends on something outside the request: hosted tools, remote URLs, file ids.

        Asked when an answer is kept: a hit need not know, and the whole body is searched for it.
        """
        return self.live_input or is_live(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """A captured response: what the gate judges. `body` has its content coding undone."""

    status: int
    content_type: str
    body: bytes
    ending: Ending = Ending.CLEAN


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer may be kept, and why not."""

    whole: bool
    """The message is complete. What `record` asks for."""
    cacheable: bool
    """Its content is an answer. `cache` asks for both."""
    format: str
    reason: str
    """`complete`, or a machine-readable reason that also stands in the log."""
    stop: tuple[str, ...] = ()
    """The stop reasons as the provider names them."""
    usage: Usage = NONE
    """Tokens as the provider counted them."""


@dataclass(slots=True)
class Finding:
    """What a protocol found in an answer; the gate makes the `Verdict` of it."""

    terminal: bool = False
    """The terminal event or the closing bracket is there."""
    needs_framing: bool = False
    """The protocol has no terminal event: only clean framing proves the end."""
    problem: str = ""
    """Why the content is no answer: `error-in-body`, `no-choices`, ..."""
    stop: list[str] = field(default_factory=list)


class Protocol:
    """Base of all protocols. Instances hold no state."""

    name: str
    tokens: tuple[str, ...]
    """Last words of the path (after `/` or `:`) this protocol may claim; the registry looks it up by them."""
    ignored: tuple[str, ...] = ()
    """JSON paths that are documented not to shape the answer."""
    key_headers: frozenset[str] = frozenset()
    """Request headers that shape the answer, in lower case."""

    def recognise(self, request: Request, body: Body) -> Call | None:
        """The call, or None where path and body are not this protocol's."""
        raise NotImplementedError

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        """Look at a JSON answer. It parsed, so it is complete: fill in `problem` and `stop`."""

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        """Look at an event stream, frames or lines."""
        found.needs_framing = True
        found.problem = "unknown-stream"

    def judge_raw(self, call: Call, answer: Answer, found: Finding) -> None:
        """Look at an answer that is neither JSON nor a stream."""
        found.needs_framing = True
        found.problem = "unexpected-content-type"

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        """Where an answer, or one event of it, says how many tokens it took."""
        return (value.get("usage"),)

    def issued(self, answer: Answer) -> str:
        """The id this answer issued that a later request may name (`previous_response_id`), or nothing."""
        return ""

    def names(self, call: Call) -> str:
        """The id of an earlier answer this call builds on, or nothing."""
        return ""

    def error(self, status: int, code: str, message: str) -> Response:
        """An error this protocol's SDKs can show. `code` is a word, `message` a sentence."""
        return json_response(status, {"error": {"message": message, "type": code, "param": None, "code": code}})


def json_response(status: int, value: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A response of our own: not retried by SDKs (`x-should-retry`, honoured by openai and anthropic)."""
    fields = [("content-type", "application/json"), ("x-should-retry", "false"), *headers]
    return Response(status, Headers(fields), orjson.dumps(value))


def text(value: Any) -> str:
    """`value` where it is a string, else nothing. Models and ids come from strangers: lone surrogates are replaced."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def members(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects of the list `value[name]`; empty where there is no such list."""
    items = value.get(name) if isinstance(value, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def index_of(item: dict[str, Any]) -> str:
    """The `index` of a choice, candidate or block, 0 where there is none. It may be anything; some hosts send null."""
    return word(item.get("index")) or "0"


def word(value: Any) -> str:
    """A text or a number as text; nothing for all else, which may be nested too deep to be written."""
    return str(value) if value and isinstance(value, str | int | float) else ""


def status_problem(value: Any, answers: tuple[str, ...], others: tuple[str, ...]) -> str:
    """`status-...` for a status that is no answer. A fixed vocabulary: it stands in logs and counters."""
    status = text(value.get("status")) if isinstance(value, dict) else ""
    if status in answers:
        return ""
    return f"status-{status}" if status in others else "status-unknown"


def has_error(value: Any) -> bool:
    """A top-level `error` that says something. Several providers send `"error": null` with every answer."""
    return isinstance(value, dict) and bool(value.get("error"))
