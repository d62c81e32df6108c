"""When a completion is whole, and is an answer.

Source: OpenAI API reference "Chat" and "Streaming"; what other hosts do differently was measured on the corpus.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from ...wire.framing import Stream
from ..base import Call, Finding, Protocol, has_error, index_of, members, text


class CompletionAnswers(Protocol):
    def __init__(self, no_done_hosts: tuple[str, ...] = ()) -> None:
        self.no_done_hosts = no_done_hosts

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        choices = members(value, "choices")
        if has_error(value):
            found.problem = "error-in-body"
        elif not any(choices):
            found.problem = "no-choices"
        for choice in choices:
            _choice(choice, found)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        finished: dict[str, bool] = {}
        done = usage = False
        for event in stream.events:
            if event.data.strip() == b"[DONE]":
                done = True
                break
            if event.name == "error" or has_error(event.object):
                found.problem = "error-in-stream"
            elif event.value is None and event.data.strip():
                found.problem = found.problem or "malformed"
            for choice in members(event.value, "choices"):
                index = index_of(choice)
                finished[index] = _choice(choice, found) or finished.get(index, False)
            usage = usage or bool(event.object.get("usage"))
        options = call.body.object.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        answered = bool(finished) and all(finished.values())
        if not finished:
            found.problem = found.problem or "no-choices"
        if found.problem:
            found.terminal, found.needs_framing = done, True
        elif any(fnmatchcase(call.host, host) for host in self.no_done_hosts) and not done:
            found.needs_framing = answered and (usage or not (wants_usage or call.host == "api.writer.com"))
        else:
            found.terminal = done and answered and (usage or not wants_usage)


def _choice(choice: dict[str, Any], found: Finding) -> bool:
    """Whether this choice is finished."""
    reason = text(choice.get("finish_reason"))
    if choice.get("error") or reason == "error":
        found.problem = "error-in-body"
    if reason:
        found.stop.append(reason)
    return bool(reason)
