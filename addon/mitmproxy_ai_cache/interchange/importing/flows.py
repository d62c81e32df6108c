"""Flow files of mitmproxy (`mitmdump -w`). The one importer that needs mitmproxy, for its reader of old versions."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mitmproxy import http
from mitmproxy.io import FlowReader

from ...protocols.base import Ending
from ...proxy import bridge
from .exchanges import BrokenRecording, Recorded, Skipped, Unusable, answer_headers, request, split_fields, status


def read(file: BinaryIO) -> Iterator[Recorded | Skipped]:
    """The flows in their order. Raises `BrokenRecording` where the file breaks off."""
    try:
        for flow in FlowReader(_Bounded(file)).stream():  # type: ignore[arg-type]
            try:
                yield _recorded(flow) if isinstance(flow, http.HTTPFlow) else Skipped("no HTTP")
            except Unusable as error:
                yield Skipped(str(error))
    except Exception as error:  # mitmproxy makes objects of what stands there, and may stumble over anything
        said = str(error).partition("\n")[0][:160] or type(error).__name__
        raise BrokenRecording(f"the flow file cannot be read on ({said}); record it again") from None


class _Bounded:
    """A file that never reads beyond its end: lengths in it may lie, and Python makes room for all that is asked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def _recorded(flow: http.HTTPFlow) -> Recorded:
    response = flow.response
    if flow.websocket is not None:
        raise Unusable("a WebSocket")
    if response is None:
        raise Unusable("no answer")
    if response.raw_content is None:
        raise Unusable("the flow has no body of the answer; mitmproxy keeps none of what it streams")
    wire = bridge.request_from(flow)
    headers = bridge.headers_from(response.headers.fields)
    ending = Ending.ABORTED if flow.error else bridge.ending_of(flow)
    ended = response.timestamp_end or response.timestamp_start
    # In transparent and local mode the address is an IP address; clients of our proxy will name the host.
    url = flow.request.pretty_url if _is_address(flow.request.host) else flow.request.url
    return Recorded(
        request=replace(request(wire.method, url, wire.headers, wire.body), path=wire.path, query=wire.query),
        status=status(response.status_code),
        headers=answer_headers(headers, response.raw_content),
        body=response.raw_content,
        when=flow.request.timestamp_start,
        seconds=max(0.0, ended - flow.request.timestamp_start),
        ending=ending,
        left_out=split_fields(headers),
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
