"""What is stored comes back as it was, or not at all."""

from __future__ import annotations

import base64
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.entries.entry import BrokenEntry, Entry
from mitmproxy_ai_cache.wire.zstd import ZstdCompressor

texts = st.text(max_size=30)
names = st.from_regex(r"x-[a-z-]{1,20}", fullmatch=True)
wire = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=30)
bodies = st.binary(max_size=300) | st.binary(min_size=1, max_size=20).map(lambda piece: piece * 400)
seconds = st.floats(min_value=0, max_value=1e12)
entries = st.builds(
    Entry,
    key=st.from_regex(r"[0-9a-f]{64}(-[1-9])?", fullmatch=True),
    created=seconds,
    ttl=seconds,
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(names, wire), max_size=4).map(tuple),
    format=st.sampled_from(["json", "sse", "eventstream", "ndjson", "json-array", "raw"]),
    body=bodies,
    request=bodies,
    cacheable=st.booleans(),
    protocol=texts,
    model=texts,
    method=st.sampled_from(["POST", "GET", "DELETE"]),
    url=texts,
    stream=st.booleans(),
    live=st.booleans(),
    namespace=texts,
    issued=texts,
    first_byte=seconds,
    total=seconds,
)
PLAIN = Entry("ab" * 32, 1.5, 60, 200, (("content-type", "application/json"),), "json", b'{"a":1}', b'{"q":1}')
LONG = replace(PLAIN, body=b"data: {}\n\n" * 500, request=b'{"messages":[' + b"1," * 1000 + b"1]}")


@given(entries)
@settings(max_examples=examples(300))
def test_an_entry_comes_back_as_it_was(kept: Entry) -> None:
    assert Entry.unpack(kept.pack_answer(), kept.pack_request()) == kept


@given(entries)
def test_without_its_request_only_the_request_is_missing(kept: Entry) -> None:
    assert Entry.unpack(kept.pack_answer()) == replace(kept, request=b"")


@given(entries)
def test_the_same_entry_packs_to_the_same_bytes(kept: Entry) -> None:
    assert kept.pack_answer() == replace(kept).pack_answer()


@pytest.mark.parametrize("kept", [PLAIN, LONG], ids=["plain", "compressed"])
def test_any_flipped_bit_breaks_an_entry(kept: Entry) -> None:
    answer, request = kept.pack_answer(), kept.pack_request()
    for bit in range(len(answer) * 8):
        with pytest.raises(BrokenEntry):
            Entry.unpack(flipped(answer, bit))
    for bit in range(len(request) * 8):
        with pytest.raises(BrokenEntry):
            Entry.unpack(answer, flipped(request, bit))


@pytest.mark.parametrize("kept", [PLAIN, LONG], ids=["plain", "compressed"])
def test_any_truncation_breaks_an_entry(kept: Entry) -> None:
    answer, request = kept.pack_answer(), kept.pack_request()
    for size in range(len(answer)):
        with pytest.raises(BrokenEntry):
            Entry.unpack(answer[:size])
    for size in range(len(request)):
        with pytest.raises(BrokenEntry):
            Entry.unpack(answer, request[:size])


@given(st.binary(max_size=60))
def test_bytes_after_the_end_break_an_entry(more: bytes) -> None:
    if more:
        with pytest.raises(BrokenEntry):
            Entry.unpack(PLAIN.pack_answer() + more)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def sealed(head: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    """What somebody who can write to a shared store may put there: the checksum is right, the content is not."""
    data = struct.pack(">I", len(head) if size is None else size) + head + body
    return b"AIC2" + struct.pack(">I", zlib.crc32(data)) + data


def test_this_is_how_answers_are_sealed() -> None:
    expected = Entry("k", 1.5, 0, 200, (("a", "b"),), "json", b"{}")
    assert Entry.unpack(sealed(PLAIN_HEAD, b"{}")) == expected


@pytest.mark.parametrize("kept", [PLAIN, LONG], ids=["plain", "compressed"])
def test_threads_pack_and_unpack_at_once(kept: Entry) -> None:
    """What compresses is kept, and is not made for two of them."""
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda _: Entry.unpack(kept.pack_answer(), kept.pack_request()), range(400))
    assert all(entry == kept for entry in found)


PLAIN_HEAD = b'{"key":"k","created":1.5,"ttl":0.0,"status":200,"headers":[["a","b"]],"format":"json","zstd":false}'
_unsized = ZstdCompressor()
UNSIZED_FRAME = _unsized.compress(bytes(1 << 20)) + _unsized.flush()
"""Its size was not known when the frame began."""


def zstd_frame_that_claims(size: int) -> bytes:
    """RFC 8878 section 3.1.1: a single segment with an eight-byte content size, and an empty last block."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\0\0"


@pytest.mark.parametrize(
    "forged",
    [
        sealed(b"1"),
        sealed(b'"text"'),
        sealed(b"null"),
        sealed(b"[]"),
        sealed(b"{}"),
        sealed(b"{not json"),
        sealed(b"{}", size=1 << 31),
        sealed(b'{"zstd":false,"headers":[]}'),
        sealed(b'{"zstd":false,"headers":7,"key":"k","created":1,"ttl":0,"status":200,"format":"json"}'),
        sealed(b'{"zstd":false,"headers":[["a"]],"key":"k","created":1,"ttl":0,"status":200,"format":"json"}'),
        sealed(b'{"zstd":true,"headers":[],"key":"k","created":1,"ttl":0,"status":200,"format":"json"}', b"no zstd"),
        sealed(PLAIN_HEAD.replace(b"1.5", b'"1.5"')),
        sealed(PLAIN_HEAD.replace(b"200", b"true")),
        sealed(PLAIN_HEAD.replace(b"200", b"99")),
        sealed(PLAIN_HEAD.replace(b'"b"', b'"b\\r\\nc: d"')),
        sealed(PLAIN_HEAD.replace(b'"a"', b'"a\\n"')),
        sealed(PLAIN_HEAD.replace(b'"a"', b'"Transfer-Encoding"')),
        sealed(PLAIN_HEAD.replace(b'"b"', b'"\xe5\xbc\xa0"')),
        sealed(PLAIN_HEAD.replace(b"false", b"true"), zstd_frame_that_claims(1 << 62)),
        sealed(PLAIN_HEAD.replace(b"false", b"true"), zstd_frame_that_claims(1 << 30)),
        sealed(PLAIN_HEAD.replace(b"false", b"true"), UNSIZED_FRAME),
    ],
    ids=[
        "number", "text", "null", "list", "empty", "no JSON", "size beyond the end", "members missing",
        "headers that are none", "header without value", "zstd that is none", "text for a number", "true for a number",
        "no status", "a line end in a value", "a line end in a name", "a header that frames", "beyond latin-1",
        "more memory than there is", "a gigabyte in a few bytes", "a frame without its size",
    ],
)  # fmt: skip
def test_what_is_sealed_but_no_entry_is_broken_too(forged: bytes) -> None:
    with pytest.raises(BrokenEntry):
        Entry.unpack(forged)


def test_an_answer_does_not_pass_for_a_request() -> None:
    with pytest.raises(BrokenEntry):
        Entry.unpack(PLAIN.pack_answer(), PLAIN.pack_answer())
    with pytest.raises(BrokenEntry):
        Entry.unpack(PLAIN.pack_request())


PACKED_ANSWER = (
    "QUlDMr71JLYAAAIbeyJrZXkiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJj"
    "ZGVmIiwiY3JlYXRlZCI6MTc2Mzc2NDIyNS4yNSwidHRsIjo2MDQ4MDAuMCwiZ3JhY2UiOjAuMCwic3RhdHVzIjoyMDAsImhlYWRlcnMiOltb"
    "ImNvbnRlbnQtdHlwZSIsInRleHQvZXZlbnQtc3RyZWFtIl0sWyJ4LXJlcXVlc3QtaWQiLCJyZXFfw6kiXV0sImZvcm1hdCI6InNzZSIsInJl"
    "cXVlc3RfaGVhZGVycyI6W10sImNhY2hlYWJsZSI6dHJ1ZSwicHJvdG9jb2wiOiJvcGVuYWktY2hhdCIsIm1vZGVsIjoiZ3B0IiwibWV0aG9k"
    "IjoiUE9TVCIsInVybCI6Imh0dHBzOi8vYXBpLm9wZW5haS5jb20vdjEvY2hhdC9jb21wbGV0aW9ucyIsInN0cmVhbSI6dHJ1ZSwibGl2ZSI6"
    "ZmFsc2UsIm5hbWVzcGFjZSI6Im1haW4iLCJyZWRhY3RlZCI6ZmFsc2UsInJ1biI6IiIsImlzc3VlZCI6InJlc3BfMSIsImlucHV0X3Rva2Vu"
    "cyI6MCwib3V0cHV0X3Rva2VucyI6MCwiZmlyc3RfYnl0ZSI6MC4yNSwidG90YWwiOjEuNSwienN0ZCI6dHJ1ZX0otS/9YK4EDQIAhANkYXRh"
    "OiB7ImNob2ljZXMiOlt7ImRlbHRhIjp7ImNvbnRlbnQiOiJoaSJ9fV19CgpbRE9ORV0KCgEAMNf8FRQ="
)
PACKED_REQUEST = "QUlRMgXsvwMAeyJtb2RlbCI6ImdwdCIsInN0cmVhbSI6dHJ1ZSwibWVzc2FnZXMiOltdfQ=="


def test_entries_stay_readable() -> None:
    """Stores and files in git outlive a release."""
    assert Entry.unpack(base64.b64decode(PACKED_ANSWER), base64.b64decode(PACKED_REQUEST)) == Entry(
        key="0123456789abcdef" * 4,
        created=1763764225.25,
        ttl=604800.0,
        status=200,
        headers=(("content-type", "text/event-stream"), ("x-request-id", "req_\xe9")),
        format="sse",
        body=b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n' * 30 + b"data: [DONE]\n\n",
        request=b'{"model":"gpt","stream":true,"messages":[]}',
        cacheable=True,
        protocol="openai-chat",
        model="gpt",
        method="POST",
        url="https://api.openai.com/v1/chat/completions",
        stream=True,
        live=False,
        namespace="main",
        issued="resp_1",
        first_byte=0.25,
        total=1.5,
    )


def test_an_entry_of_a_later_release_with_members_we_do_not_know_is_read() -> None:
    head = b'{"key":"k","created":1,"ttl":0,"status":200,"headers":[],"format":"json","zstd":false,"later":{"a":[1]}}'
    assert Entry.unpack(sealed(head, b"{}")).body == b"{}"


def test_repeated_bytes_take_little_room() -> None:
    assert len(LONG.pack_answer()) < len(LONG.body) / 5


@pytest.mark.parametrize(("ttl", "until"), [(60, 61.5), (0, float("inf")), (0.25, 1.75)])
def test_an_entry_is_fresh_for_its_ttl_or_never(ttl: float, until: float) -> None:
    assert replace(PLAIN, ttl=ttl).fresh_until == until
