"""The places of a call in which a secret may stand, for the forms of `secret_forms.py`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable


def in_request(text: str) -> bytes:
    """What a user writes."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": f"Look:\n{text}\nThanks"}]}).encode()


def in_arguments(text: str) -> bytes:
    """What a model gives a tool: JSON in a string of JSON."""
    function = {"name": "write", "arguments": json.dumps({"path": "a", "content": f"\n{text}\n"})}
    return json.dumps({"messages": [{"role": "assistant", "tool_calls": [{"function": function}]}]}).encode()


def in_answer(text: str) -> bytes:
    """What a model says, written as SDKs in PHP and Go escape it."""
    body = {"choices": [{"message": {"content": f"Here:\n{text}\nDone"}, "finish_reason": "stop"}]}
    escaped = json.dumps(body, ensure_ascii=True).replace("/", "\\/").replace("<", "\\u003c").replace("&", "\\u0026")
    return escaped.encode()


def in_stream(text: str) -> bytes:
    """What a model says, some characters an event."""
    said = f"Here:\n{text}\nDone"
    pieces = [said[at : at + 5] for at in range(0, len(said), 5)]
    chunks = [json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]}) for piece in pieces]
    chunks.append(json.dumps({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()


def in_base64(text: str) -> bytes:
    """A file that is attached."""
    data = base64.b64encode(f"# a file\n{text}\n".encode()).decode()
    return json.dumps({"input": [{"file_data": f"data:text/plain;base64,{data}"}]}).encode()


def in_multipart(text: str) -> bytes:
    """A file that is uploaded."""
    head = b'--x1\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
    return head + text.encode() + b"\r\n--x1--\r\n"


BODIES: dict[str, Callable[[str], bytes]] = {
    "request": in_request,
    "arguments": in_arguments,
    "answer": in_answer,
    "stream": in_stream,
    "base64": in_base64,
    "multipart": in_multipart,
}
"""Six of the eight places; a header that is recorded and the query of a URL are the others."""
