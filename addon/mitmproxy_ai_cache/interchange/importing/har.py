"""HTTP Archive 1.2, as browsers, mitmproxy and Charles write it: `{"log": {"entries": [...]}}`.

Bodies are decoded text, or base64 where `encoding` says so. What a tool adds begins with `_`, and comments may stand
anywhere; both are left alone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ...wire.messages import Headers
from .exchanges import Recorded, Skipped, Unusable, answer_headers, encoded, request, scalar, split_fields, status


def entries(archive: Any) -> list[Any] | None:
    """The exchanges of an archive, or None where it is none."""
    log = archive.get("log") if isinstance(archive, dict) else None
    found = log.get("entries") if isinstance(log, dict) else None
    return found if isinstance(found, list) else None


def read(found: list[Any]) -> Iterator[Recorded | Skipped]:
    """The exchanges in their order."""
    for entry in found:
        try:
            yield _recorded(entry)
        except Unusable as error:
            yield Skipped(str(error))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            yield Skipped("no exchange of a kind that is known")


def _recorded(entry: dict[str, Any]) -> Recorded:
    sent, got = entry["request"], entry["response"]
    code = status(got.get("status") or 0)
    body = _answer(got, code)
    return Recorded(
        request=request(sent["method"], sent["url"], _fields(sent), _sent(sent)),
        status=code,
        headers=_typed(answer_headers(_fields(got), body), got),
        body=body,
        when=_when(entry.get("startedDateTime")),
        seconds=max(0.0, float(entry.get("time") or 0) / 1000),
        left_out=split_fields(_fields(got)),
    )


def _sent(sent: dict[str, Any]) -> bytes | None:
    """The body of a request; None where the archive knows of one and does not have it."""
    post = sent.get("postData") or {}
    if post.get("text"):
        if post.get("encoding") == "base64":
            return base64.b64decode(post["text"])
        return _bytes(post["text"], {sent.get("bodySize")})
    return None if (sent.get("bodySize") or 0) > 0 or post.get("params") else b""


def _answer(got: dict[str, Any], code: int) -> bytes:
    content = got.get("content") or {}
    size = content.get("size") or 0
    if "text" not in content:
        if size > 0 and code not in (204, 304):
            raise Unusable("the archive has no body of the answer; save it with content")
        return b""
    if content.get("encoding") == "base64":
        return base64.b64decode(content["text"])
    # By the book `size` is what the decoded body has; mitmproxy gives the coded size and adds `compression`.
    return _bytes(content["text"], {size, size + (content.get("compression") or 0)})


def _bytes(text: str, sizes: set[Any]) -> bytes:
    """UTF-8, or latin-1 where only that has the size the archive tells.

    mitmproxy reads `text/event-stream` without a charset as latin-1, byte by byte.
    """
    data = encoded(text)
    if len(data) not in sizes and len(text) in sizes:
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            pass
    return data


def _fields(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for field in message.get("headers") or ():
        # Slack writes pairs.
        name, value = (field["name"], field["value"]) if isinstance(field, dict) else field[:2]
        yield scalar(name), scalar(value)


def _typed(headers: Headers, got: dict[str, Any]) -> Headers:
    """With the type of the content, where the header was left out of the archive."""
    mime = (got.get("content") or {}).get("mimeType")
    if "content-type" in headers or not isinstance(mime, str) or "/" not in mime or not mime.isprintable():
        return headers
    return Headers([*headers, ("content-type", mime)])


def _when(started: Any) -> float | None:
    try:
        when = datetime.fromisoformat(started)
    except (ValueError, TypeError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
