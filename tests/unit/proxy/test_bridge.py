"""What a request and a response are in mitmproxy, and where its log is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from mitmproxy.log import LegacyLogEvents

from mitmproxy_ai_cache.proxy import bridge
from mitmproxy_ai_cache.wire.messages import Headers, Response


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("length", [[], [("Content-Length", "7")], [("transfer-encoding", "chunked")]])
def test_an_answer_says_its_length_once(method: str, length: list[tuple[str, str]]) -> None:
    sent = bridge.response_to(Response(203, Headers([("x-a", "\xe9"), *length, ("x-b", "\u20ac")]), b"body"), method)
    body = b"" if method == "HEAD" else b"body"
    fields = ((b"x-a", b"\xe9"), (b"x-b", b"?"), (b"content-length", b"%d" % len(body)))
    assert (sent.status_code, sent.reason, sent.raw_content, sent.headers.fields) == (
        203, "Non-Authoritative Information", body, fields,
    )  # fmt: skip
    assert not sent.stream


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, logger.handlers = logger.handlers, []
    yield logger
    logger.handlers = handlers


def test_lines_that_only_the_deprecated_event_would_tell_of_are_read_by_nobody(root: logging.Logger) -> None:
    quiet, loud = logging.NullHandler(logging.ERROR), logging.NullHandler(logging.INFO)
    legacy = LegacyLogEvents.__new__(LegacyLogEvents)
    logging.Handler.__init__(legacy)
    root.handlers = [legacy, quiet]
    assert bridge.level_read() == logging.ERROR
    root.handlers = [legacy, quiet, loud]
    assert bridge.level_read() == logging.INFO
    root.handlers = [legacy, quiet, logging.NullHandler()]  # somebody's own, which reads everything
    assert bridge.level_read() == logging.NOTSET
