"""Files given to `ai-cache import` that are hostile or broken: one line each, none hangs, the others are imported."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import re
import resource
import socket
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import brotli
import pytest

from mitmproxy_ai_cache.cli import main
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.interchange import importing
from mitmproxy_ai_cache.interchange.exporting import lines
from mitmproxy_ai_cache.stores import for_url
from mitmproxy_ai_cache.wire import zstd
from unit.entries.test_entry import PLAIN
from unit.interchange.test_importing import ANSWER, archive, cassette, flow, flow_file, har_entry, interaction

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
VCR = b"interactions:\n"
EXPORTED = lines.encode(replace(PLAIN, protocol="openai-chat", url="https://api.openai.com/v1/chat/completions"))


def laughs(levels: int) -> bytes:
    """Each level names the one before ten times."""
    rows = [b"l0: &l0 [x]"]
    rows += [b"l%d: &l%d [%s]" % (n, n, b",".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, levels)]
    return b"\n".join(rows) + b"\n"


def merges(levels: int) -> bytes:
    rows = [b"l0: &l0 {a: b}"]
    rows += [b"l%d: &l%d {<<: [%s]}" % (n, n, b",".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, levels)]
    return b"\n".join(rows) + b"\n"


BOMB_AS_A_HEADER = b"""- request: {method: POST, uri: 'https://api.openai.com/v1/chat/completions', body: ''}
  response: {status: {code: 200}, headers: {x-a: [*l11]}, body: {string: ''}}
"""

FILES: dict[str, tuple[str, bytes, str]] = {
    "a pointer of Git LFS": ("x.yaml", LFS, "git lfs pull"),
    "a pointer in place of an archive": ("x.har", LFS, "git lfs pull"),
    "a pointer without a known name": ("x", LFS, "git lfs pull"),
    "empty": ("x.yaml", b"", "it is empty; restore it from git"),
    "a byte order mark alone": ("x.har", b"\xef\xbb\xbf\n", "it is empty"),
    "NUL bytes": ("x.har", bytes(10_000), "NUL bytes"),
    "UTF-16": ("x.har", '{"log":{"entries":[]}}'.encode("utf-16"), "UTF-16; save it as UTF-8"),
    "UTF-32": ("x.har", '{"log":{"entries":[]}}'.encode("utf-32"), "UTF-32; save it as UTF-8"),
    "gzip": ("x.har", gzip.compress(b"{}"), "gunzip"),
    "zstd": ("x.har", zstd.compress(b"{}"), "unzstd"),
    "a zip archive": ("x.har", b"PK\x03\x04rest", "unzip"),
    "a conflict in YAML": (
        "x.yaml",
        VCR + b"<<<<<<< HEAD\n- a: b\n=======\n>>>>>>> x\n",
        r"conflict \(line 2\); resolve",
    ),
    "a conflict at the start": ("x.yaml", b"<<<<<<< HEAD\n" + VCR + b"=======\n>>>>>>> x\n", r"conflict \(line 1\)"),
    "a conflict within a quoted text": (
        "x.yaml",
        VCR + b'- request: "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> x\nd"\n',
        r"conflict \(line 3\)",
    ),
    "a conflict in JSON": ("x.har", b'{"log": {\n<<<<<<< HEAD\n"a": 1\n=======\n>>>>>>> x\n}}', r"conflict \(line 2\)"),
    "a conflict in an export": ("x.jsonl", EXPORTED + b"<<<<<<< HEAD\n", r"conflict \(line 2\)"),
    "half a JSON": ("x.har", b'{"log": {"entries": [\n{"req', r"JSON cannot be read.*line 2.*restore it"),
    "half a YAML": ("x.yaml", VCR + b"- request: {body: 'a", r"YAML cannot be read.*line \d.*record it again"),
    "JSON 100,000 deep": ("x.json", b'{"a":' * 100_000, "JSON cannot be read"),
    "YAML 100,000 deep": ("x.yaml", VCR + b"- " + b"[" * 100_000, "YAML cannot be read"),
    "YAML that is no UTF-8": ("x.yaml", VCR + b"- request: \xff\xfe\n", "YAML cannot be read"),
    "aliases that double": ("x.yaml", laughs(30) + VCR + b"- *l29\n", "aliases stand for too many"),
    "a header of aliases": ("x.yaml", laughs(12) + VCR + BOMB_AS_A_HEADER, "aliases stand for too many"),
    "an alias of itself": ("x.yaml", b"a: &a [*a]\n" + VCR + b"- *a\n", "for themselves"),
    "an alias that is not there": ("x.yaml", VCR + b"- *nothing\n", "YAML cannot be read"),
    "a tag that makes an object": ("x.yaml", VCR + b"- !!python/object/apply:os.system ['x']\n", "YAML cannot be read"),
    "a flow that lies about its length": ("x.flow", b"999999999999:4:type;4:http;", "flow file cannot be read on"),
    "a flow that is no flow": ("x.flow", b"12:4:type;1:x;,}", "flow file cannot be read on"),
    "a flow 20,000 deep": ("x.flow", b"", "flow file cannot be read on"),
}


def _deep_flow() -> bytes:
    data = b"0:]"
    for _ in range(20_000):
        data = b"%d:%s]" % (len(data), data)
    return b"%d:1:a,%s}" % (len(data) + 4, data)


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], str]]:
    """Exit code, lines of stderr and stdout of an import into a store in `tmp_path`."""

    def imported(*paths: Path) -> tuple[int, list[str], str]:
        code = main(["import", *map(str, paths), "--store", f"sqlite:///{tmp_path / 's.sqlite3'}"])
        said = capsys.readouterr()
        return code, said.err.splitlines(), said.out

    return imported


Imported = Callable[..., tuple[int, list[str], str]]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.thorough if "100,000" in kind else ()) for kind in FILES]
)
@pytest.mark.thorough
def test_a_broken_file_is_one_line_that_says_what_to_do(kind: str, tmp_path: Path, imported: Imported) -> None:
    name, data, says = FILES[kind]
    bad, good = tmp_path / name, cassette(tmp_path / "good.yaml", interaction())
    bad.write_bytes(data or (_deep_flow() if "deep" in kind else b""))
    code, errors, out = imported(bad, good)
    (line,) = errors
    assert line.startswith(f"ai-cache: {bad}: ")
    assert re.search(says, line), line
    before = 1 if "export" in kind else 0
    assert f"imported {before + 1} of {before + 1} exchange" in out
    assert code == 125


def fifo(path: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        there = os.getcwd()
        os.chdir(path.parent)
        listener.bind(path.name)
        os.chdir(there)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def sparse_archive(path: Path) -> None:
    path.write_bytes(b'{"log": ')
    os.truncate(path, 1 << 40)


def sparse_export(path: Path) -> None:
    path.write_bytes(EXPORTED)
    os.truncate(path, 1 << 40)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (fifo, "it is a pipe, not a file; write"),
    "a socket": (socket_file, "it is a socket, not a file; name a file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file; name a file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "leads back to itself; remove it"),
    "a link to nowhere": (lambda path: path.symlink_to("/no/such"), "No such file"),
    "a sparse file": (sparse, "NUL bytes"),
    "a sparse archive": (sparse_archive, "longer than.*split it"),
}


@pytest.mark.parametrize("inside", [False, True], ids=["named", "in a directory"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_hangs_nothing(kind: str, inside: bool, tmp_path: Path, imported: Imported) -> None:
    make, says = ODD[kind]
    folder = tmp_path / "recordings"
    folder.mkdir()
    odd = folder / "odd.yaml"
    make(odd)
    good = cassette(folder / "good.yaml", interaction())
    code, (line,), out = imported(*([folder] if inside else [odd, good]))
    assert line.startswith(f"ai-cache: {odd}: ")
    assert re.search(says, line), line
    assert "imported 1 of 1 exchange" in out
    assert code == 125


def test_a_line_without_an_end_is_not_read_to_it(
    tmp_path: Path, imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_LONGEST", 1 << 20)
    sparse_export(tmp_path / "x.jsonl")
    code, (line,), out = imported(tmp_path / "x.jsonl")
    assert line.endswith("line 2 is longer than 1 MiB; export it again")
    assert "imported 1 of 1" in out
    assert code == 125


def test_a_device_is_named(imported: Imported) -> None:
    _, (line,), _ = imported(Path("/dev/zero"))
    assert line == "ai-cache: /dev/zero: it is a device, not a file; name a file"


def kept(tmp_path: Path) -> list[Entry]:
    async def entries() -> list[Entry]:
        store = for_url(f"sqlite:///{tmp_path / 's.sqlite3'}", 1 << 30)
        await store.open()
        found = [entry async for entry in store.entries()]
        await store.close()
        return found

    return asyncio.run(entries())


def with_header(name: str, value: str, path: Path, form: str) -> Path:
    """One exchange in this form, with this field in its answer."""
    if form == "vcrpy":
        one = interaction()
        one["response"]["headers"] = {"content-type": ["application/json"], name: [value]}
        return cassette(path, one)
    if form == "HAR":
        fields = [{"name": "content-type", "value": "application/json"}, {"name": name, "value": value}]
        return archive(path, har_entry({}, response={"status": 200, "headers": fields, "content": {"text": ANSWER}}))
    recorded = flow()
    recorded.response.headers.fields += ((name.encode(), value.encode()),)
    return flow_file(path, recorded)


@pytest.mark.parametrize("form", ["vcrpy", "HAR", "flow"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-request-id", "a\r\nset-cookie: b"),
        ("x-request-id", "a\rb"),
        ("openai-model", "a\nb"),
        ("x-a\r\nx-b", "1"),
        ("x-request-id", "a\0b"),
        ("x-request-id\n", "a"),
    ],
)
@pytest.mark.thorough
def test_a_field_that_would_be_two_lines_is_left_out_and_named(
    form: str, name: str, value: str, tmp_path: Path, imported: Imported
) -> None:
    file = with_header(name, value, tmp_path / "x", form)
    code, errors, out = imported(file)
    assert code == 0, errors
    assert re.search(rf"header field .* left out: it has a line end or a NUL: 1 \({re.escape(str(file))}#1\)", out), out
    (entry,) = kept(tmp_path)
    assert [each for each, _ in entry.headers] == ["content-type"]


@pytest.mark.parametrize("form", ["vcrpy", "HAR", "flow"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-length", "5"),
        ("content-length", "-1"),
        ("transfer-encoding", "chunked"),
        ("content-encoding", "gzip"),
        ("connection", "close"),
        (":status", "200"),
        ("upgrade", "h2c"),
        ("content-encoding", "rot13"),
    ],
)
@pytest.mark.thorough
def test_a_field_that_lies_about_the_body_is_not_kept(
    form: str, name: str, value: str, tmp_path: Path, imported: Imported
) -> None:
    assert imported(with_header(name, value, tmp_path / "x", form))[0] == 0
    (entry,) = kept(tmp_path)
    assert [each for each, _ in entry.headers] == ["content-type"]
    assert entry.body == ANSWER.encode()


@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 199, 600, 999, -200, 10**40])
@pytest.mark.parametrize("form", ["vcrpy", "HAR"])
@pytest.mark.thorough
def test_a_status_that_no_answer_has_is_not_imported(
    status: int, form: str, tmp_path: Path, imported: Imported
) -> None:
    content = {"status": status, "headers": [], "content": {"text": ANSWER}}
    file = (
        cassette(tmp_path / "x", interaction(status=status))
        if form == "vcrpy"
        else archive(tmp_path / "x", har_entry({}, response=content))
    )
    _, _, out = imported(file)
    assert "imported 0 of 1" in out
    assert f"({file}#1)" in out
    if 0 < status < 1000:
        assert f"status {status} is no answer" in out
    assert kept(tmp_path) == []


LINES: dict[str, dict[str, Any]] = {
    "a line end in a value": {"headers": [["x-request-id", "a\r\nb: c"]]},
    "a NUL in a value": {"headers": [["x-request-id", "a\0"]]},
    "a line end in a name": {"headers": [["x-a\nb", "a"]]},
    "a pseudo-header": {"headers": [[":status", "200"]]},
    "a length": {"headers": [["Content-Length", "5"]]},
    "status 101": {"status": 101},
    "status 199": {"status": 199},
    "status 600": {"status": 600},
    "a key that is none": {"key": "a\r\nb"},
    "a key that is a path": {"key": "../" * 20},
    "a status that is a text": {"status": "200"},
    "a body that is none": {"response": {"base64": "!"}},
    "a body of a list": {"response": [1]},
    "a version of the future": {"ai_cache_entry": 2},
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.thorough
def test_a_line_of_an_export_that_was_tampered_with_is_skipped_and_named(
    kind: str, tmp_path: Path, imported: Imported
) -> None:
    file = tmp_path / "x.jsonl"
    spoiled = json.dumps(json.loads(EXPORTED) | LINES[kind], separators=(",", ":")).encode() + b"\n"
    file.write_bytes(EXPORTED + spoiled)
    code, _, out = imported(file)
    assert code == 0
    assert f"({file}#2)" in out
    assert "imported 1 of 2" in out
    assert len(kept(tmp_path)) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("gzip", lambda data: gzip.compress(data, 9)),
        ("deflate", lambda data: zlib.compress(data, 9)),
        ("br", lambda data: brotli.compress(data, quality=3)),
        ("zstd", zstd.compress),
    ],
)
def test_a_bomb_fills_no_memory(
    coding: str, bomb: Callable[[bytes], bytes], tmp_path: Path, imported: Imported
) -> None:
    packed = bomb(bytes(1 << 29))
    body = {"text": base64.b64encode(packed).decode(), "encoding": "base64"}
    fields = [{"name": "content-type", "value": "application/json"}, {"name": "content-encoding", "value": coding}]
    file = archive(tmp_path / "x", har_entry({}, response={"status": 200, "headers": fields, "content": body}))
    del packed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, _, out = imported(file)
    assert "imported 0 of 1" in out
    assert f"({file}#1)" in out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


def test_merge_keys_double_nothing(tmp_path: Path, imported: Imported) -> None:
    (tmp_path / "x.yaml").write_bytes(merges(30) + VCR + b"- *l29\n")
    code, (line,), _ = imported(tmp_path / "x.yaml")
    assert "too many values" in line
    assert code == 125


def test_aliases_as_vcrpy_writes_them_are_read(tmp_path: Path, imported: Imported) -> None:
    shared = interaction()
    cassette(tmp_path / "x.yaml", shared, shared)
    assert b"*id" in (tmp_path / "x.yaml").read_bytes()
    assert "imported 2 of 2" in imported(tmp_path / "x.yaml")[2]
