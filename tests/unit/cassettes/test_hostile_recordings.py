"""Files in a directory of cassettes that no recording left there: each is named with what to do, the others answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.calls import replay
from mitmproxy_ai_cache.cassettes import file, parts
from mitmproxy_ai_cache.cassettes.file import BrokenCassette
from mitmproxy_ai_cache.entries.entry import BrokenEntry, Entry
from mitmproxy_ai_cache.proxy import bridge
from unit.cassettes.test_cassette_file import PLAIN
from unit.entries.test_entry import sealed
from unit.stores.test_cassette_store import opened, recorded, recording

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        there = os.getcwd()
        os.chdir(path.parent)  # a socket's path has at most 107 bytes
        listener.bind(path.name)
        os.chdir(there)


def link_to(target: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return link


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    os.truncate(path, 1 << 40)


def of_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def response(**members: Any) -> Callable[[Path], None]:
    """The response with these members."""

    def edit(path: Path) -> None:
        document = json.loads(path.read_text())
        document["response"] |= members
        path.write_text(json.dumps(document, indent=2))

    return edit


def header(name: str, value: str) -> Callable[[Path], None]:
    return response(headers={"content-type": "application/json", name: value})


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (fifo, "pipe.*name that"),
    "a socket": (socket_file, "socket.*name a file"),
    "a link to a device": (link_to("/dev/zero"), "symbolic link.*put the file"),
    "a link out of the directory": (link_to("/etc/passwd"), "symbolic link.*put the file"),
    "a link to nowhere": (link_to("/no/such/file"), "symbolic link.*put the file"),
    "a link to itself": (loop, "symbolic link"),
    "a sparse file of 1 TiB": (sparse, "longer than.*split"),
    "a pointer of Git LFS": (of_bytes(lambda data: LFS), "git lfs pull"),
    "a pointer of Git LFS from Windows": (of_bytes(lambda data: LFS.replace(b"\n", b"\r\n")), "git lfs pull"),
    "a pointer of git-annex": (of_bytes(lambda data: b"/annex/objects/SHA256E-s1--a.json\n"), "git annex get"),
    "encrypted": (of_bytes(lambda data: b"\0GITCRYPT\0" + data), "git-crypt unlock"),
    "empty": (of_bytes(lambda data: b""), "empty; restore it from git"),
    "white space": (of_bytes(lambda data: b"\r\n \n"), "empty; restore it from git"),
    "NUL bytes": (of_bytes(lambda data: bytes(len(data))), "NUL.*restore it from git"),
    "a merge conflict": (
        of_bytes(lambda data: data.replace(b'  "date"', b'<<<<<<< HEAD\n  "date": 1,\n=======\n>>>>>>> b\n  "date"')),
        r"merge conflict \(line \d+\); resolve",
    ),
    "half a file": (of_bytes(lambda data: data[: len(data) // 2]), r"no JSON \(.*line \d+.*restore it from git"),
    "UTF-16": (of_bytes(lambda data: data.decode().encode("utf-16")), "UTF-16; save it as UTF-8"),
    "latin-1": (of_bytes(lambda data: data.replace(b"gpt-4o", b"gpt-\xe9")), r"no UTF-8 \(line \d+\)"),
    "arrays 100,000 deep": (of_bytes(lambda data: b"[" * 100_000), "no JSON.*restore it"),
    "objects 100,000 deep": (of_bytes(lambda data: b'{"a":' * 100_000), "no JSON.*restore it"),
    "compressed": (of_bytes(lambda data: b"\x1f\x8b\x08" + data), "gunzip"),
    "status 101": (response(status=101), r"status is 101 \(line \d+\)"),
    "status 103": (response(status=103), "status is 103"),
    "status 0": (response(status=0), "status is 0"),
    "status 600": (response(status=600), "status is 600"),
    "status 10**17": (response(status=10**17), "status is 1000"),
    "a negative status": (response(status=-200), "status is -200"),
    "a status that is a text": (response(status="200"), "no cassette.*restore it"),
    "a line end in a value": (header("x-request-id", "a\r\nset-cookie: b=c"), r"x-request-id' \(line \d+\).*remove"),
    "a line feed in a value": (header("x-request-id", "a\nb"), "x-request-id.*remove"),
    "a carriage return in a value": (header("x-request-id", "a\rb"), "x-request-id.*remove"),
    "a NUL in a value": (header("x-request-id", "a\0b"), "x-request-id.*remove"),
    "a character beyond latin-1": (header("x-request-id", "\u560a\u560d"), "x-request-id.*remove"),
    "a line end in a name": (header("x-a\r\nx-b", "1"), "no name of a header field"),
    "a NUL in a name": (header("x-a\0", "1"), "no name of a header field"),
    "a pseudo-header": (header(":status", "200"), "no name of a header field"),
    "no name": (header("", "200"), "no name of a header field"),
    "a name with a space": (header("x a", "200"), "no name of a header field"),
    "a length that lies": (header("content-length", "5"), "content-length.*contradict the body; remove"),
    "a length in other letters": (header("Content-LENGTH", "5"), "contradict the body; remove"),
    "chunks that are none": (header("transfer-encoding", "chunked"), "contradict the body; remove"),
    "a coding that is none": (header("content-encoding", "gzip"), "contradict the body; remove"),
    "an upgrade": (header("upgrade", "h2c"), "contradict the body; remove"),
    "headers that are a text": (response(headers="x-a: 1"), "no cassette.*restore it"),
    "tokens below zero": (response(tokens={"input": -5}), "below zero"),
    "half a pair of surrogates": (
        of_bytes(lambda data: data.replace(b'"model": "gpt-4o"', b'"model": "\\ud800"', 1)),
        "no cassette",
    ),
    "another tool's file": (of_bytes(lambda data: b'{"name": "app"}'), "no version.*move it elsewhere"),
}


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.thorough
def test_a_spoiled_recording_is_named_and_the_others_answer(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, says = SPOILED[kind]

    async def work() -> None:
        good, bad = recording("Hello"), recording("Something else entirely to say")
        await recorded(tmp_path, good)
        (kept,) = (tmp_path / "default").iterdir()
        await recorded(tmp_path, bad)
        (spoiled,) = {*(tmp_path / "default").iterdir()} - {kept}
        spoil(spoiled)
        caplog.clear()
        async with opened(tmp_path, writable=False) as store:
            assert await store.get(good.key) is not None
            assert await store.get(bad.key) is None
            ((path, reason),) = store.problems.items()
        assert path == f"default/{spoiled.name}"
        assert "\n" not in reason
        assert re.search(says, reason), reason
        (line,) = [record.getMessage() for record in caplog.records]
        assert str(spoiled) in line

    asyncio.run(asyncio.wait_for(work(), 30))


def test_an_index_notes_and_parts_that_are_pipes_hang_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        entry = recording("Hello", system="A long prompt. " * 1000)
        await recorded(tmp_path, entry)
        (tmp_path / ".index").unlink()
        os.mkfifo(tmp_path / ".index")
        os.mkfifo(tmp_path / ".used-1-a")
        async with opened(tmp_path) as store:
            assert await store.get(entry.key) is not None
            await store.settle()
        (part,) = (tmp_path / "parts").iterdir()
        fifo(part)
        (tmp_path / ".index").unlink()
        os.mkfifo(tmp_path / ".index")
        async with opened(tmp_path, writable=False) as store:
            assert await store.get(entry.key) is None
            (reason,) = store.problems.values()
            assert "pipe" in reason

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_name_that_is_no_utf_8_does_not_keep_the_others_from_answering(tmp_path: Path) -> None:
    async def work() -> None:
        good = recording("Hello")
        await recorded(tmp_path, good)
        (kept,) = (tmp_path / "default").iterdir()
        shutil.copy(kept, os.fsencode(tmp_path / "default") + b"/b\xff\n.json")
        async with opened(tmp_path, writable=False) as store:
            assert await store.get(good.key) is not None

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_part_that_is_named_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LARGEST", 100_000)
    document = json.loads(file.encode(PLAIN)[0])
    name = "text-" + "0" * 16 + ".txt"
    document["response"] |= {"encoding": "json", "body": [{"$part": name}] * 50}
    with pytest.raises(BrokenCassette, match="its parts make more"):
        file.decode(json.dumps(document), {name: "a" * 10_000}.__getitem__)


FIELD = st.tuples(
    st.text(st.sampled_from("aB-: \r\n\0\x7f\u0100\xe9") | st.characters(), max_size=12)
    | st.sampled_from(["content-length", "Transfer-Encoding", "content-encoding", ":status", "x-a"]),
    st.text(st.sampled_from("aB-: \r\n\0\x7f\u0100\xe9") | st.characters(), max_size=12),
)


@given(st.lists(FIELD, max_size=3), st.integers(-1, 700) | st.integers())
def test_no_recording_splits_or_frames_an_answer(fields: list[tuple[str, str]], status: int) -> None:
    """Whatever a cassette or an entry of a server says: what is read can be put on the wire as one whole answer."""
    document = json.loads(file.encode(PLAIN)[0])
    document["response"] |= {"status": status, "headers": [list(field) for field in fields]}
    head = {"key": "ab" * 32, "created": 1.0, "ttl": 0.0, "status": status, "headers": fields, "format": "raw"}
    for read in (
        lambda: file.decode(json.dumps(document), {}.__getitem__).entry,
        lambda: Entry.unpack(sealed(json.dumps({**head, "zstd": False}).encode(), b"hi")),
    ):
        try:
            entry = read()
        except (BrokenCassette, BrokenEntry):
            continue
        assert 200 <= entry.status <= 599
        answer = bridge.response_to(replay.response(entry), "POST")
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in answer.headers.fields)
        assert lines.count(b"\n") == lines.count(b"\r") == len(fields) + 1
        assert b"\0" not in lines
        lengths = [value for name, value in answer.headers.fields if name.lower() == b"content-length"]
        assert lengths == [b"%d" % len(entry.body)]
        assert not {"transfer-encoding", "content-encoding"} & {name.lower() for name in answer.headers}
