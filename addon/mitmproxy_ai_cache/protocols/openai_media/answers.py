"""When vectors, verdicts, pictures, sound or transcripts are whole, and are an answer."""

from __future__ import annotations

from typing import Any

from ...wire.framing import Stream
from ..base import Answer, Call, Finding, Protocol, has_error, text


class ListedAnswers(Protocol):
    """A JSON object with a list of results, or a stream."""

    results: tuple[str, ...] = ("data",)
    """Names of that list."""
    terminal: tuple[str, ...] = ()
    """Terminal events of its streams."""

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value):
            found.problem = "error-in-body"
        elif not isinstance(value, dict) or not any(value.get(name) for name in self.results):
            found.problem = "no-results"

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        ends = 0
        for event in stream.events:
            kind = text(event.object.get("type")) or event.name
            if kind == "error" or has_error(event.object):
                found.problem, found.needs_framing = "error-in-stream", True
            ends += kind in self.terminal
        wanted = call.body.object.get("n")
        found.terminal = ends >= (max(1, wanted) if isinstance(wanted, int) else 1)


class SpeechAnswers(ListedAnswers):
    """Audio: only its framing proves the end."""

    terminal = ("speech.audio.done",)
    media: tuple[str, ...] = ("audio/", "application/octet-stream", "binary/octet-stream")

    def judge_raw(self, call: Call, answer: Answer, found: Finding) -> None:
        found.needs_framing = True
        if answer.content_type and not answer.content_type.lower().startswith(self.media):
            found.problem = "unexpected-content-type"


class TranscriptionAnswers(SpeechAnswers):
    """JSON, or text, srt, vtt by `response_format`."""

    terminal = ("transcript.text.done",)
    media = ("text/plain", "text/vtt", "text/srt", "application/x-subrip")

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if has_error(value) or not isinstance(value, dict) or not isinstance(value.get("text"), str):
            found.problem = "error-in-body"
