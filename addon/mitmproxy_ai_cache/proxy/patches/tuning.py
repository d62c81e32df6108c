"""What makes mitmproxy quicker. Nobody gets another byte but in the sizes of chunks, no addon is told another event."""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import HttpEvent, ResponseData, ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server

from ...calls.capture import Capture
from .base import replace
from .hook_table import HookTable
from .table import CHUNKS_TOGETHER, HOOK_TABLE, TRUSTED_MESSAGES, WHOLE_ANSWERS

_SMALL = 65536
"""Bytes of a body that are copied to go with their head: a system call takes longer. Not so those of a download."""


def tune(master: Any) -> None:
    """What may be done to anybody's mitmproxy."""
    if HOOK_TABLE.is_known():
        HookTable.take_over(master.addons)
    send_whole_answers()
    pass_on_together()
    forget_what_stays()


@cache
def forget_what_stays() -> None:
    """Let the garbage collector look no more at what is there when the proxy starts, some 100,000 objects that stay.

    To look through them again and again takes a tenth of the time of a hit. Once: when the script is loaded again, what
    is there are calls as well, and the script as it was.
    """
    gc.collect()
    gc.freeze()


def send_whole_answers() -> None:
    """Let an HTTP/1 client get head and body of an answer that is complete in one write, and in one record of TLS.

    mitmproxy sends them one after the other, which costs a hit with TLS a system call and an encryption more.
    """
    if not WHOLE_ANSWERS.may_install():
        return
    original = Http1Server.send

    def send(self: Http1Server, event: HttpEvent) -> layer.CommandGenerator[None]:
        head: bytes = self.__dict__.pop("ai_cache_head", b"")
        for command in original(self, event):
            if isinstance(command, commands.SendData):
                command.data, head = head + command.data, b""
                if isinstance(event, ResponseHeaders) and _has_a_small_body(event.response):
                    self.__dict__["ai_cache_head"] = command.data  # the body is the next event
                    continue
            elif head:
                yield commands.SendData(self.conn, head)
                head = b""
            yield command
        if head:
            yield commands.SendData(self.conn, head)

    replace(WHOLE_ANSWERS, WHOLE_ANSWERS.replaces[0], send)


def _has_a_small_body(answer: http.Response) -> bool:
    return bool(answer.raw_content) and not answer.stream and len(answer.raw_content or b"") <= _SMALL


def pass_on_together() -> None:
    """Let the chunks of a streamed HTTP/1 answer that arrived in one read go on in one piece.

    mitmproxy passes them on one by one, each by a record of TLS and a system call of its own: 80 us for an event of a
    stream. Where the chunks of a body end means nothing (RFC 9112 section 7.1), and none waits for another here. But
    another script that reads the stream may take a chunk for an event: it gets them as they came.
    """
    if not CHUNKS_TOGETHER.may_install():
        return
    original = Http1Client.read_body

    def read_body(self: Http1Connection, event: events.Event) -> layer.CommandGenerator[None]:
        if not _nobody_else_reads(self.response):
            yield from original(self, event)
            return
        chunks: list[ResponseData] = []
        try:
            for command in original(self, event):
                if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseData):
                    chunks.append(command.event)
                    continue
                if chunks:
                    yield _together(chunks)
                yield command
        finally:
            if chunks:
                yield _together(chunks)

    replace(CHUNKS_TOGETHER, CHUNKS_TOGETHER.replaces[0], read_body)


def _nobody_else_reads(answer: http.Response | None) -> bool:
    """Whether it streams as it is, or to us alone. One whose `responseheaders` is still to come does not stream yet."""
    return answer is not None and (answer.stream is True or isinstance(answer.stream, Capture))


def _together(chunks: list[ResponseData]) -> ReceiveHttp:
    """What is in `chunks`, which is empty then."""
    first, body = chunks[0], b"".join([chunk.data for chunk in chunks])
    chunks.clear()
    return ReceiveHttp(ResponseData(first.stream_id, body))


def trust_messages() -> None:
    """Let mitmproxy make requests and responses without looking at the types of their parts, as under `python -O`.

    That check is for the authors of scripts, and takes a tenth of the time of a hit. For a proxy of ours alone: stock
    mitmdump is its user's.
    """
    if hasattr(http.MessageData, "__post_init__") and TRUSTED_MESSAGES.may_install():
        replace(TRUSTED_MESSAGES, TRUSTED_MESSAGES.replaces[0], lambda self: None)
