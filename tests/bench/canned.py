"""The floor: a script for a stock mitmdump (`-s`) that answers everything itself. BENCH_ANSWER names the answer."""

import os

from mitmproxy import http

from bench import material

_TYPE, _CHUNKS = material.answer(os.environ["BENCH_ANSWER"])
_BODY = b"".join(chunk for chunk in _CHUNKS if isinstance(chunk, bytes))


def request(flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(200, _BODY, {"content-type": _TYPE})
