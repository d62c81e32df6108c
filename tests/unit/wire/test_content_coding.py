"""Content codings are undone exactly, as far as a cut body goes, and never beyond the limit."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from functools import cache

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.wire.content_coding import Decoded, TooLarge, UnknownCoding, decode
from mitmproxy_ai_cache.wire.zstd import ZstdCompressor
from mitmproxy_ai_cache.wire.zstd import compress as zstd

PLENTY = 16 << 20
Encoder = Callable[[bytes], bytes]


def deflate(body: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    encoder = zlib.compressobj(wbits=wbits)
    return encoder.compress(body) + encoder.flush()


def raw_deflate(body: bytes) -> bytes:
    """What some servers send as `deflate`: without the zlib header."""
    return deflate(body, -zlib.MAX_WBITS)


def in_pieces(encode: Encoder, body: bytes) -> bytes:
    """Several members or frames in a row."""
    pieces = [body[start : start + 5000] for start in range(0, len(body), 5000)] or [b""]
    return b"".join(map(encode, pieces))


CODINGS: dict[str, tuple[str, Encoder]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip members": ("gzip", lambda body: in_pieces(gzip.compress, body)),
    "deflate": ("deflate", deflate),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd),
    "zstd frames": ("zstd", lambda body: in_pieces(zstd, body)),
}
every_coding = pytest.mark.parametrize(("name", "encode"), CODINGS.values(), ids=CODINGS.keys())


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def event(number: int) -> bytes:
    return b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % (number * 7919)


EVENTS = b"".join(map(event, range(300)))


@every_coding
@pytest.mark.parametrize("body", [b"", b"x", b"{}", EVENTS, noise(300_000)], ids=["0", "1", "2", "events", "noise"])
def test_a_coding_is_undone(name: str, encode: Encoder, body: bytes) -> None:
    assert decode(encode(body), name, PLENTY) == Decoded(body, True)


@every_coding
@given(body=st.binary(max_size=300) | st.binary(min_size=1, max_size=30).map(lambda piece: piece * 300))
@settings(max_examples=examples(40))
def test_any_body_comes_back_through_any_coding(name: str, encode: Encoder, body: bytes) -> None:
    assert decode(encode(body), name, PLENTY) == Decoded(body, True)


@pytest.mark.parametrize("name", ["", "identity", "identity, identity", " , "])
def test_without_a_coding_a_body_is_itself(name: str) -> None:
    assert decode(EVENTS, name, PLENTY) == Decoded(EVENTS, True)


@pytest.mark.parametrize("name", ["GZIP", " gzip ", "identity, gzip", "gzip,identity", "gzip,"])
def test_a_coding_is_named_in_any_case_and_among_identities(name: str) -> None:
    assert decode(gzip.compress(EVENTS), name, PLENTY) == Decoded(EVENTS, True)


@pytest.mark.parametrize("outer", CODINGS)
@pytest.mark.parametrize("inner", ["gzip", "raw deflate", "br", "zstd"])
def test_stacked_codings_are_undone_last_first(inner: str, outer: str) -> None:
    (first, encode_first), (second, encode_second) = CODINGS[inner], CODINGS[outer]
    coded = encode_second(encode_first(EVENTS))
    assert decode(coded, f"{first}, {second}", PLENTY) == Decoded(EVENTS, True)


@pytest.mark.parametrize("name", ["compress", "gzip, compress", "compress, gzip", "gz", "*", "utf-8", "x" * 1000])
def test_an_unknown_coding_is_named(name: str) -> None:
    with pytest.raises(UnknownCoding):
        decode(gzip.compress(b"{}"), name, PLENTY)


# Bodies that were cut


def cuts(coded: bytes) -> Iterable[bytes]:
    steps = {*range(min(40, len(coded))), *range(0, len(coded), 97), *range(len(coded) - 30, len(coded))}
    return (coded[:size] for size in sorted(steps) if 0 <= size < len(coded))


@every_coding
def test_a_cut_body_decodes_to_a_beginning_of_itself(name: str, encode: Encoder) -> None:
    for cut in cuts(encode(EVENTS)):
        assert EVENTS.startswith(decode(cut, name, PLENTY).body)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br", "zstd"])
def test_a_cut_body_is_never_called_complete(coding: str) -> None:
    name, encode = CODINGS[coding]
    assert [len(cut) for cut in cuts(encode(EVENTS)) if decode(cut, name, PLENTY).complete] == []


@pytest.mark.parametrize("coding", ["gzip members", "zstd frames"])
def test_a_body_cut_within_a_later_member_is_not_complete(coding: str) -> None:
    name, encode = CODINGS[coding]
    coded = encode(EVENTS)
    last = len(encode(EVENTS[: len(EVENTS) // 5000 * 5000]))
    for size in range(last + 1, len(coded)):
        assert not decode(coded[:size], name, PLENTY).complete


def test_a_cut_below_another_coding_is_not_complete() -> None:
    for inner, outer in (("gzip", "br"), ("br", "gzip"), ("gzip", "zstd")):
        cut = CODINGS[outer][1](CODINGS[inner][1](EVENTS)[:-3])
        assert not decode(cut, f"{inner}, {outer}", PLENTY).complete


def flushing(coding: str) -> tuple[Encoder, Callable[[], bytes]]:
    if coding == "br":
        compressor = brotli.Compressor()
        return compressor.process, compressor.flush
    if coding == "zstd":
        frame = ZstdCompressor()
        return frame.compress, lambda: frame.flush(ZstdCompressor.FLUSH_BLOCK)
    wbits = {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding]
    encoder = zlib.compressobj(wbits=wbits)
    return encoder.compress, lambda: encoder.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br", "zstd"])
def test_every_event_that_was_flushed_before_the_cut_is_there(coding: str) -> None:
    compress, flush = flushing(coding)
    coded, sent = b"", b""
    for number in range(300):
        coded += compress(event(number)) + flush()
        sent += event(number)
        if number % 10 == 9:
            assert decode(coded, CODINGS[coding][0], PLENTY).body == sent


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_changed_bit_never_passes_for_a_complete_body(coding: str) -> None:
    name, encode = CODINGS[coding]
    coded = encode(EVENTS)
    chance = random.Random(5)
    for _ in range(300):
        changed = bytearray(coded)
        changed[chance.randrange(len(coded))] ^= 1 << chance.randrange(8)
        decoded = decode(bytes(changed), name, PLENTY)
        assert not decoded.complete or decoded.body == EVENTS


@every_coding
@given(garbage=st.binary(min_size=1, max_size=200))
@settings(max_examples=examples(40))
def test_garbage_never_raises_anything_but_the_two_errors(name: str, encode: Encoder, garbage: bytes) -> None:
    decode(garbage, name, PLENTY)
    decode(encode(b"{}") + garbage, name, PLENTY)


# Limits


@every_coding
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_body_may_fill_the_limit_to_the_byte(name: str, encode: Encoder, size: int) -> None:
    body = noise(size)
    assert decode(encode(body), name, size).body == body
    with pytest.raises(TooLarge):
        decode(encode(body), name, size - 1)


@every_coding
def test_a_stream_of_chunks_that_resemble_each_other_is_no_bomb(name: str, encode: Encoder) -> None:
    body = b"".join(event(number % 50) for number in range(2000))
    assert decode(encode(body), name, PLENTY).body == body


def zeros(encoder: Callable[[bytes], bytes], end: Callable[[], bytes], before: bytes, pieces: int) -> bytes:
    piece = bytes(1 << 20)
    return encoder(before) + b"".join(encoder(piece) for _ in range(pieces)) + end()


@cache
def bomb(coding: str, before: bytes) -> bytes:
    """A hundred MiB of zeros and more after `before`, in some kB."""
    if coding == "br":
        compressor = brotli.Compressor(quality=5)
        return zeros(compressor.process, compressor.finish, before, 192)
    if coding == "zstd":
        frame = ZstdCompressor()
        return zeros(frame.compress, frame.flush, before, 192)
    encoder = zlib.compressobj(level=6, wbits={"gzip": 31, "deflate": 15, "raw deflate": -15}[coding])
    return zeros(encoder.compress, encoder.flush, before, 96)


@pytest.mark.thorough
@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br", "zstd"])
@pytest.mark.parametrize("before", [b"", noise(2 << 20)], ids=["bare", "behind 2 MiB of noise"])
def test_a_bomb_is_refused_before_it_is_unpacked(coding: str, before: bytes) -> None:
    coded = bomb(coding, before)
    limit = 10 << 20
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decode(coded, CODINGS[coding][0], limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * limit


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.thorough
def test_a_bomb_inside_another_coding_is_refused_too(coding: str) -> None:
    with pytest.raises(TooLarge):
        decode(gzip.compress(bomb(coding, b"")), f"{CODINGS[coding][0]}, gzip", 10 << 20)
