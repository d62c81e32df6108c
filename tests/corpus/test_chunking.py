"""However a stream is cut into chunks and coded, the verdict and the stored bytes are the same."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterator

import brotli
import pytest

from corpus.recorded import Recorded, needs_corpus
from corpus.test_truncation import boundaries, streams, terminal_offset
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.calls.capture import Capture
from mitmproxy_ai_cache.protocols.base import Answer, Ending, Verdict
from mitmproxy_ai_cache.wire import content_coding, zstd

pytestmark = [needs_corpus, pytest.mark.thorough]

LIMIT = 50 << 20


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.compressobj(wbits=31)

    def event(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._inner.flush()


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Compressor(quality=3)

    def event(self, data: bytes) -> bytes:
        return self._inner.process(data) + self._inner.flush()

    def end(self) -> bytes:
        return self._inner.finish()


class _Zstd:
    def __init__(self) -> None:
        self._inner = zstd.ZstdCompressor()

    def event(self, data: bytes) -> bytes:
        return self._inner.compress(data) + self._inner.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._inner.flush()


CODINGS: dict[str, Callable[[], _Gzip | _Brotli | _Zstd]] = {"gzip": _Gzip, "br": _Brotli, "zstd": _Zstd}


def coded(exchange: Recorded, coding: str, upto: int) -> tuple[bytes, bytes]:
    """The events up to an offset, flushed one by one, and the end of the coding."""
    encoder = CODINGS[coding]()
    out, at = b"", 0
    for end in [*(end for end in boundaries(exchange) if end < upto), upto]:
        if end > at:
            out += encoder.event(exchange.response_body[at:end])
            at = end
    return out, encoder.end()


def chunked(body: bytes, way: str, seed: str) -> Iterator[bytes]:
    if way == "whole":
        yield body
    elif way == "bytes":
        yield from (body[i : i + 1] for i in range(len(body)))
    else:
        chance, at = random.Random(seed), 0
        while at < len(body):
            size = chance.randrange(1, 4096)
            yield body[at : at + size]
            at += size


def through(exchange: Recorded, body: bytes, coding: str, way: str, ending: Ending) -> tuple[Verdict, bytes]:
    """Capture, decode, judge: what the proxy does with the chunks."""
    capture = Capture(LIMIT)
    for chunk in chunked(body, way, exchange.id):
        assert capture(chunk) == chunk
    decoded = content_coding.decode(capture.body(), coding, LIMIT)
    if not decoded.complete:
        ending = Ending.ABORTED
    assert exchange.call is not None
    answer = Answer(exchange.status, exchange.content_type, decoded.body, ending)
    return gate.verdict(exchange.call, answer), decoded.body


@pytest.mark.parametrize("coding", ["identity", *CODINGS])
def test_any_chunking_gives_the_same_verdict_and_bytes(coding: str) -> None:
    for exchange in streams():
        body = exchange.response_body
        sent = body if coding == "identity" else b"".join(coded(exchange, coding, len(body)))
        assert exchange.call is not None
        expected = gate.verdict(exchange.call, exchange.answer)
        for way in ("whole", "bytes", "random"):
            verdict, stored = through(exchange, sent, coding, way, Ending.CLEAN)
            assert (verdict, stored) == (expected, body), (exchange.id, way)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coded_stream_that_was_cut_is_judged_by_what_can_be_decoded(coding: str) -> None:
    for exchange in streams():
        terminal = terminal_offset(exchange, boundaries(exchange))
        if exchange.call is None or exchange.call.protocol.name not in ("openai-responses", "anthropic-messages"):
            continue
        complete, _ = coded(exchange, coding, terminal)
        verdict, stored = through(exchange, complete, coding, "random", Ending.ABORTED)
        assert verdict.whole, exchange.id  # the terminal event has passed; the coding's own end is no matter
        assert stored == exchange.response_body[:terminal]
        chance = random.Random(exchange.id)
        before = next((end for end in reversed(boundaries(exchange)) if end < terminal), 0)
        early, _ = coded(exchange, coding, before)
        for cut in [len(early), *(chance.randrange(len(early) + 1) for _ in range(5))]:
            verdict, _ = through(exchange, early[:cut], coding, "random", Ending.ABORTED)
            assert not verdict.whole, (exchange.id, cut)


def test_an_encoder_of_the_standard_library_is_understood_too() -> None:
    for exchange in streams()[:50]:
        verdict, stored = through(exchange, gzip.compress(exchange.response_body), "gzip", "whole", Ending.CLEAN)
        assert verdict.cacheable
        assert stored == exchange.response_body
