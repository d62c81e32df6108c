"""A captured answer -> what the gate says of it, and the entry it becomes."""

from __future__ import annotations

import time

from . import content_coding, gate, policy, replay
from .entry import Entry
from .exchange import Exchange
from .key import counting_headers, public_query
from .messages import Headers, Request
from .protocols.base import Answer, Call, Ending, Verdict
from .settings import Settings


def judge(call: Call, status: int, headers: Headers, body: bytes, ending: Ending, limit: int) -> tuple[Answer, Verdict]:
    """The answer with its content coding undone, at most `limit` bytes of it, and the verdict."""
    content_type = headers.get("content-type")
    try:
        decoded = content_coding.decode(body, headers.get("content-encoding"), limit)
    except content_coding.UnknownCoding:
        return Answer(status, content_type, b"", ending), Verdict(False, False, "raw", "unknown-coding")
    except content_coding.TooLarge:
        return Answer(status, content_type, b"", ending), Verdict(False, False, "raw", "too-large")
    if not decoded.complete and ending is Ending.CLEAN:
        ending = Ending.ABORTED
    answer = Answer(status, content_type, decoded.body, ending)
    return answer, gate.verdict(call, answer)


def entry_of(
    exchange: Exchange, call: Call, headers: Headers, answer: Answer, verdict: Verdict, settings: Settings, run: str
) -> Entry:
    """What is stored of an exchange that has ended."""
    request = exchange.request
    query = public_query(request.query)
    return Entry(
        key=exchange.key,
        created=time.time(),
        ttl=policy.ttl_of(settings, request, call),
        grace=settings.stale_if_error,
        status=answer.status,
        headers=replay.kept_headers(headers),
        format=verdict.format,
        body=answer.body,
        request=call.body.raw,
        request_headers=_request_headers(call, request, settings.key_rules.headers),
        cacheable=verdict.cacheable and not call.bypass,
        protocol=call.protocol.name,
        model=call.model,
        method=request.method,
        url=request.url + (f"?{query}" if query else ""),
        stream=call.stream,
        live=call.live,
        namespace=policy.namespace(settings, request),
        run=run,
        issued=call.protocol.issued(answer),
        input_tokens=verdict.usage.input,
        output_tokens=verdict.usage.output,
        first_byte=exchange.first_byte,
        total=exchange.seconds(),
    )


def _request_headers(call: Call, request: Request, more: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    fields = dict(counting_headers(call, request, more))
    if content_type := request.headers.get("content-type"):
        fields["content-type"] = content_type
    return tuple(fields.items())
