"""Any other exchange with an AI host: kept by `record`, answered by `replay`, never by `cache`.

Assistants, threads, files, batches, model lists, polling: they change the provider's state or show it.
"""

from __future__ import annotations

from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request
from .base import Answer, Call, Finding, Protocol, text


class Anything(Protocol):
    name = "exchange"
    tokens: tuple[str, ...] = ()

    def recognise(self, request: Request, body: Body) -> Call:
        """Every request there is; which hosts it is asked for is the policy's business."""
        stateful = "get" if request.method in ("GET", "HEAD") else "not-inference"
        stream = body.object.get("stream") is True
        return Call(self, text(body.object.get("model")), stream, body, request.host, request.path, bypass=stateful)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        found.problem = "not-inference"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        """Assistants and Interactions end with `event: done`, `data: [DONE]`; others with their framing."""
        found.problem = "not-inference"
        found.needs_framing = True
        found.terminal = any(event.data.strip() == b"[DONE]" for event in stream.events)

    def judge_raw(self, call: Call, answer: Answer, found: Finding) -> None:
        found.problem = "not-inference"
        found.needs_framing = True
