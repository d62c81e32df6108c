"""Recordings of other tools: what is read of them, and what of that gets into a store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import io
import json
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy import io as flow_io
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.test import tflow
from ruamel.yaml import YAML

from hypothesis_profile import examples
from mitmproxy_ai_cache.cli import main
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.interchange.importing import FORMS, BrokenRecording, NotARecording, Recorded, Skipped, read
from mitmproxy_ai_cache.interchange.importing.exchanges import answer_headers
from mitmproxy_ai_cache.interchange.importing.taking import Taken, Taker, settings_for
from mitmproxy_ai_cache.stores import for_url
from mitmproxy_ai_cache.wire import zstd

OPENAI = "https://api.openai.com/v1/chat/completions"
ANSWER = '{"choices":[{"index":0,"message":{"content":"grüße 😀"},"finish_reason":"stop"}]}'
CHAT = '{"model":"m","messages":[{"role":"user","content":"grüße"}]}'
JSON = {"content-type": ["application/json"]}

WRITTEN_BY_VCRPY = r"""interactions:
- request:
    body: "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\xE9llo
      'x' \\n y\"}]}"
    headers:
      authorization:
      - Bearer sk-real
      content-length:
      - '70'
      content-type:
      - application/json
      host:
      - api.openai.com
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body:
      string: !!binary |
        H4sIANI4AmsC/6tWSs7Iz0xOLVayUoiuVkrLzMsszogvSk0szs8DCikVl+QXKOkoKJWAOOlFh/cc
        np+qVBtbCwBE6ZUsOAAAAA==
    headers:
      content-encoding:
      - gzip
      content-type:
      - application/json
      x-request-id:
      - 12345e67
    status:
      code: 200
      message: OK
version: 1
"""


def all_of(path: Path) -> list[Recorded | Skipped]:
    return list(read(path))


def only(path: Path) -> Recorded:
    (found,) = read(path)
    assert isinstance(found, Recorded), found
    return found


def interaction(
    body: Any = ANSWER, request: Any = CHAT, status: int = 200, url: str = OPENAI, **headers: str
) -> dict[str, Any]:
    fields = JSON | {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {
        "request": {"method": "POST", "uri": url, "body": request, "headers": {"Content-Type": ["application/json"]}},
        "response": {"status": {"code": status, "message": ""}, "headers": fields, "body": {"string": body}},
    }


def cassette(path: Path, *interactions: dict[str, Any]) -> Path:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    with path.open("wb") as file:
        yaml.dump({"interactions": list(interactions), "version": 1}, file)
    return path


def archive(path: Path, *entries: dict[str, Any], creator: str = "Firefox") -> Path:
    log = {"version": "1.2", "creator": {"name": creator}, "entries": list(entries), "comment": "mine"}
    path.write_text(json.dumps({"log": log}))
    return path


def har_entry(content: dict[str, Any], **more: Any) -> dict[str, Any]:
    headers = [{"name": "content-type", "value": "application/json"}, {"name": ":authority", "value": "x"}]
    return {
        "startedDateTime": "2026-03-01T10:00:00.000Z",
        "time": 1500,
        "request": {
            "method": "POST",
            "url": OPENAI,
            "headers": headers,
            "postData": {"mimeType": "application/json", "text": CHAT},
        },
        "response": {"status": 200, "headers": headers, "content": content},
        "comment": "",
        **more,
    }


def take(path: Path, **options: str) -> list[Taken]:
    async def take() -> list[Taken]:
        taker = Taker(settings_for({f"ai_cache_{name}": value for name, value in options.items()}))
        return [await taker.take(item) for item in read(path) if isinstance(item, Recorded)]

    return asyncio.run(take())


# vcrpy


def test_a_cassette_as_vcrpy_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(WRITTEN_BY_VCRPY)
    found = only(file)
    assert json.loads(found.request.body or b"")["messages"][0]["content"] == "héllo 'x' \n y"
    assert (found.request.method, found.request.url) == ("POST", OPENAI)
    assert found.request.headers.get("host") == "api.openai.com"
    assert "content-length" not in found.request.headers
    assert json.loads(gzip.decompress(found.body))["choices"][0]["t"] == "grüße"
    assert found.headers.get("x-request-id") == "12345e67"  # YAML 1.2 would make it infinity


@pytest.mark.parametrize(
    "text", ["1e3", "0o17", "yes", "on", "12_3", "2026-01-01", "1:30", "null", "~", "0x1F", "a: b"]
)
def test_no_body_turns_into_something_else_than_its_text(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    plain = text if text not in ("null", "~", "a: b") else f"'{text}'"
    file.write_text(
        f"interactions:\n- request: {{method: POST, uri: '{OPENAI}', body: {plain}}}\n"
        f"  response: {{status: {{code: 200}}, body: {{string: {plain}}}}}\n"
    )
    found = only(file)
    assert (found.request.body, found.body) == (text.encode(), text.encode())


@pytest.mark.parametrize(
    ("response", "body"),
    [
        ({"status": {"code": 200}, "body": {"string": None}}, b""),
        ({"status": {"code": 200}, "body": "as older ones write it"}, b"as older ones write it"),
        ({"status": {"code": 200}, "body": {"base64_string": "aGk="}}, b"hi"),
        ({"status_code": 200, "content": "vcrpy 4 below httpx"}, b"vcrpy 4 below httpx"),
    ],
)
def test_every_form_of_a_body_is_read(response: dict[str, Any], body: bytes, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    request = {"method": "POST", "uri": OPENAI, "body": None, "headers": {}}
    file.write_text(json.dumps({"interactions": [{"request": request, "response": response}]}))
    assert only(file).body == body


def test_surrogate_pairs_become_their_character_and_python_2_strings_are_text(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        f"interactions:\n- request: {{method: POST, uri: !!python/unicode '{OPENAI}', body: \"\\uD83D\\uDE00\"}}\n"
        "  response: {status: {code: 200}, body: {string: !!python/str 'hi'}}\n"
    )
    found = only(file)
    assert (found.request.body, found.body) == ("😀".encode(), b"hi")


def test_a_cassette_of_rubys_vcr_says_when(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text(
        "---\nhttp_interactions:\n- request:\n    method: post\n"
        f"    uri: {OPENAI}\n    body:\n      encoding: UTF-8\n      string: '{{}}'\n    headers: {{}}\n"
        "  response:\n    status:\n      code: 200\n      message: OK\n    headers: {}\n"
        "    body:\n      encoding: ASCII-8BIT\n      string: !binary |-\n        aGk=\n"
        "  recorded_at: Sun, 01 Mar 2026 10:00:00 GMT\nrecorded_with: VCR 6.1.0\n"
    )
    found = only(file)
    assert (found.request.method, found.body, found.when) == ("POST", b"hi", 1772359200.0)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"request": {}, "response": {}},
        {"request": None, "response": None},
        interaction(url="not a url"),
        interaction(url="https://"),
        interaction(url="https://[::1"),
        interaction(url="ftp://x/"),
        interaction(status=0),
        interaction(status="oops"),  # type: ignore[arg-type]
        interaction(body=["no", "body"]),
        7,
    ],
)
def test_an_exchange_that_makes_no_sense_is_skipped_and_the_next_is_read(broken: Any, tmp_path: Path) -> None:
    skipped, read_next = all_of(cassette(tmp_path / "c.yaml", broken, interaction()))
    assert isinstance(skipped, Skipped)
    assert isinstance(read_next, Recorded)


def test_a_yaml_file_can_make_no_python_object_and_says_that_it_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("interactions:\n- !!python/object/apply:os.system ['echo oops']\n")
    with pytest.raises(BrokenRecording, match="could not determine a constructor"):
        all_of(file)


def test_a_header_cannot_become_two(tmp_path: Path) -> None:
    found = only(cassette(tmp_path / "c.yaml", interaction(x_request_id="a\r\nset-cookie: b")))
    assert list(found.headers.names()) == ["content-type"]


# Content codings

CODED = {
    "gzip": gzip.compress(ANSWER.encode()),
    "br": brotli.compress(ANSWER.encode()),
    "zstd": zstd.compress(ANSWER.encode()),
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("said", [True, False])
def test_a_coded_body_is_known_with_and_without_its_header(coding: str, said: bool, tmp_path: Path) -> None:
    headers = {"content_encoding": coding} if said else {}
    file = cassette(tmp_path / "c.yaml", interaction(CODED[coding], **headers))
    assert only(file).headers.get("content-encoding") == coding
    (taken,) = take(file)
    assert taken.entry is not None
    assert taken.entry.body == ANSWER.encode()


@pytest.mark.parametrize("coding", [*CODED, "deflate", "gzip, br", "made-up"])
def test_a_body_that_was_decoded_loses_the_header_that_remained(coding: str, tmp_path: Path) -> None:
    file = cassette(tmp_path / "c.yaml", interaction(ANSWER, content_encoding=coding))
    assert "content-encoding" not in only(file).headers
    (taken,) = take(file)
    assert taken.entry is not None


def test_a_coded_body_that_was_cut_is_not_kept(tmp_path: Path) -> None:
    file = cassette(tmp_path / "c.yaml", interaction(CODED["gzip"][:-12], content_encoding="gzip"))
    assert [taken.reason for taken in take(file)] == ["not complete: truncated"]


@given(st.text(min_size=4), st.sampled_from(["", "gzip", "br", "deflate", "zstd"]))
def test_text_is_never_taken_for_a_coding(text: str, said: str) -> None:
    """Of no more than a letter or two: `;` and `\\x06` are empty Brotli streams."""
    body = text.encode()
    fields = [("content-type", "application/json"), ("content-encoding", said)]
    headers = answer_headers(fields, body)
    if b"\0" not in body and body:
        assert headers.get("content-encoding") == ""


# HAR


def test_an_archive_of_a_browser(tmp_path: Path) -> None:
    found = only(archive(tmp_path / "x", har_entry({"size": 9, "mimeType": "application/json", "text": ANSWER})))
    assert (found.request.url, found.request.body, found.body) == (OPENAI, CHAT.encode(), ANSWER.encode())
    assert (found.when, found.seconds) == (1772359200.0, 1.5)
    assert list(found.request.headers.names()) == ["host", "content-type"]


def test_base64_of_charles_and_the_byte_order_mark_of_fiddler_are_read(tmp_path: Path) -> None:
    text = base64.b64encode(ANSWER.encode()).decode()
    file = archive(tmp_path / "x", har_entry({"size": 9, "text": text, "encoding": "base64"}))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert only(file).body == ANSWER.encode()


def test_a_type_that_only_the_content_names_counts(tmp_path: Path) -> None:
    entry = har_entry({"mimeType": "text/event-stream", "text": "data: [DONE]\n\n"})
    entry["response"]["headers"] = []
    assert only(archive(tmp_path / "x", entry)).headers.get("content-type") == "text/event-stream"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 0}, "no answer"),
        ({"content": {"size": 5}}, "the archive has no body of the answer; save it with content"),
        ({"content": {"size": 5, "text": "x", "encoding": "base64"}}, "no exchange of a kind that is known"),
    ],
)
def test_what_an_archive_does_not_have_is_said(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    entry = har_entry({"text": ANSWER})
    entry["response"] |= change
    assert all_of(archive(tmp_path / "x", entry)) == [Skipped(reason)]


def test_a_request_whose_body_the_archive_lacks_gets_no_key(tmp_path: Path) -> None:
    entry = har_entry({"text": ANSWER})
    entry["request"] |= {"bodySize": 100, "postData": {}}
    assert [taken.reason for taken in take(archive(tmp_path / "x", entry))] == ["cannot be cached: request-streamed"]


def flow(body: bytes = ANSWER.encode(), content_type: str = "application/json", request: str = CHAT) -> http.HTTPFlow:
    made = tflow.tflow()
    made.request = http.Request.make("POST", OPENAI, request, {"content-type": "application/json"})
    made.request.timestamp_start, made.request.timestamp_end = 1000.0, 1000.5
    made.response = http.Response.make(200, body, {"content-type": content_type})
    made.response.timestamp_start, made.response.timestamp_end = 1001.0, 1002.0
    return made


STREAM = 'data: {"choices":[{"index":0,"delta":{"content":"ü😀"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'.encode()


def test_an_archive_of_mitmproxy_is_read_byte_for_byte(tmp_path: Path) -> None:
    """It writes text/event-stream without a charset as latin-1, and the coded size where the decoded belongs."""
    flows = [flow(), flow(STREAM, "text/event-stream"), flow(STREAM, "text/event-stream; charset=utf-8")]
    assert flows[1].response is not None
    flows[1].response.encode("gzip")
    file = tmp_path / "mitmproxy.har"
    SaveHar().export_har(flows, str(file))
    found = [item for item in all_of(file) if isinstance(item, Recorded)]
    assert [item.body for item in found] == [ANSWER.encode(), STREAM, STREAM]
    assert all("content-encoding" not in item.headers for item in found)


# Flow files


def flow_file(path: Path, *flows: Any) -> Path:
    with path.open("wb") as file:
        writer = flow_io.FlowWriter(file)
        for each in flows:
            writer.add(each)
    return path


def test_a_flow_file(tmp_path: Path) -> None:
    unanswered, transparent, failed = flow(), flow(), flow(STREAM[:-20], "text/event-stream")
    unanswered.response = None
    transparent.request.host = "10.1.2.3"
    transparent.request.host_header = "api.openai.com"
    failed.error = tflow.terr("reset")
    file = flow_file(
        tmp_path / "x.yaml", flow(), unanswered, tflow.ttcpflow(), tflow.twebsocketflow(), transparent, failed
    )
    found = all_of(file)
    assert found[1:4] == [Skipped("no answer"), Skipped("no HTTP"), Skipped("a WebSocket")]
    whole, other, cut = (item for item in found if isinstance(item, Recorded))
    assert (whole.request.url, whole.body, whole.when, whole.seconds) == (OPENAI, ANSWER.encode(), 1000.0, 2.0)
    assert other.request == whole.request
    assert [bool(taken.entry) for taken in take(file)] == [True, True, False]
    assert cut.ending == "aborted"


def test_a_flow_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    file = flow_file(tmp_path / "x", flow(), flow())
    file.write_bytes(file.read_bytes()[:-30])
    recordings = read(file)
    assert isinstance(next(recordings), Recorded)
    with pytest.raises(BrokenRecording):
        next(recordings)


@pytest.mark.parametrize("data", [b"hello", b"{}", b"[]", b"\xff", b"a: b\n", b"import os\n", b'{"log": 1}'])
def test_a_file_of_another_kind_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.har"
    file.write_bytes(data)
    with pytest.raises(NotARecording):
        all_of(file)


@settings(max_examples=examples(200))
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"interactions:\n", b"{", b"123:4:"]))
def test_no_file_makes_an_importer_stumble(data: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(start + data)
    with contextlib.suppress(NotARecording, BrokenRecording):
        all_of(file)


# Into entries


def test_a_key_is_the_one_a_live_call_gets_and_no_credential_is_kept(tmp_path: Path) -> None:
    recorded = interaction(request='{"messages": [{"content": "grüße", "role": "user"}], "model": "m"}')
    recorded["request"]["headers"] |= {"Authorization": ["Bearer sk-real"], "Cookie": ["a=sk-real"]}
    recorded["request"]["uri"] += "?key=sk-real"
    recorded["response"]["headers"] |= {"Set-Cookie": ["sk-real"], "x-request-id": ["req_1"]}
    (first,) = take(cassette(tmp_path / "a.yaml", recorded))
    (second,) = take(cassette(tmp_path / "b.yaml", interaction()))
    assert first.entry is not None
    assert second.entry is not None
    assert first.entry.key == second.entry.key
    assert b"sk-real" not in first.entry.pack_answer() + first.entry.pack_request()
    assert dict(first.entry.headers)["x-request-id"] == "req_1"


def suffixes(taken: list[Taken]) -> list[str]:
    return [item.entry.key[64:] if item.entry else item.reason for item in taken]


def test_identical_requests_are_numbered_in_their_order(tmp_path: Path) -> None:
    other = interaction(request='{"model":"other","messages":[]}')
    taken = take(cassette(tmp_path / "c.yaml", interaction(), other, interaction(), interaction()), samples="1")
    assert suffixes(taken) == ["", "", "-2", "-3"]


def test_an_answer_that_is_asked_again_after_is_replaced_as_in_record_mode(tmp_path: Path) -> None:
    limited, failed = interaction("{}", status=429), interaction("{}", status=500)
    taken = take(cassette(tmp_path / "c.yaml", limited, interaction(), failed, interaction()))
    assert suffixes(taken) == ["", "", "-2", "-2"]
    assert [item.replaces for item in taken] == [False, True, False, True]


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        (interaction(url="https://pypi.org/simple"), "not an AI call: pypi.org"),
        (interaction(url="https://api.anthropic.com/api/hello"), "not an AI call: api.anthropic.com"),
        (interaction(ANSWER[:-5]), "not complete: malformed"),
        (interaction(request='{"model":"m","model":"n"}'), "cannot be cached: duplicate-members"),
        (interaction(STREAM[:-20].decode(), content_type="text/event-stream"), "not complete: truncated"),
        (interaction("x" * (11 << 20)), "not complete: too-large"),
    ],
)
def test_what_is_not_imported_has_a_reason(recorded: dict[str, Any], reason: str, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"version": 1, "interactions": [recorded]}))
    assert [taken.reason for taken in take(file)] == [reason]


def test_errors_and_other_methods_are_imported_as_record_mode_keeps_them(tmp_path: Path) -> None:
    refused = interaction('{"error":{"message":"no"}}', status=401)
    listed = interaction('{"data":[]}', url="https://api.openai.com/v1/models")
    listed["request"] |= {"method": "GET", "body": None}
    entries = [taken.entry for taken in take(cassette(tmp_path / "c.yaml", refused, listed))]
    assert [(entry.status, entry.cacheable, entry.ttl) for entry in entries if entry] == [
        (401, False, 0),
        (200, False, 0),
    ]


# The command


def kept(store: Path) -> list[Entry]:
    async def keys() -> list[Entry]:
        import sqlite3

        opened = for_url(f"sqlite:///{store}", 1 << 30)
        await opened.open()
        rows = sqlite3.connect(store).execute("SELECT key FROM entry ORDER BY id").fetchall()
        found = [await opened.get(key) for (key,) in rows]
        await opened.close()
        return [entry for entry in found if entry]

    return asyncio.run(keys())


def test_the_command_imports_a_directory_and_says_what_it_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cassettes" / "deep"
    folder.mkdir(parents=True)
    (folder / "test_x.py").write_text("import os\n")
    (folder / ".hidden").write_text("interactions: [")
    cassette(folder / "a", interaction(), interaction(url="https://pypi.org/"), interaction(ANSWER[:-5]))
    flow_file(folder / "b", flow())
    archive(folder / "c", har_entry({"text": ANSWER}))
    store = tmp_path / "s.sqlite3"
    assert main(["import", "cassettes", "--store", f"sqlite:///{store}", "--namespace", "n"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"ai-cache: imported 3 of 5 exchanges into sqlite:///{store}",
        "  not an AI call: pypi.org: 1 (cassettes/deep/a#2)",
        "  not complete: malformed: 1 (cassettes/deep/a#3)",
        "  files that are no recordings: 1",
    ]
    assert said.err == ""
    entries = kept(store)
    assert [entry.key[64:] for entry in entries] == ["", "-2", "-3"]
    assert [entry.created for entry in entries[1:]] == [1000.0, 1772359200.0]
    assert {entry.namespace for entry in entries} == {"n"}


def test_a_file_of_no_known_kind_is_one_line_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no").write_text("hello")
    (tmp_path / "broken").write_text("interactions: [")
    good = cassette(tmp_path / "good", interaction())
    files = [str(tmp_path / name) for name in ("no", "missing", "broken")]
    store = tmp_path / "s.sqlite3"
    assert main(["import", *files, str(good), "--store", f"sqlite:///{store}"]) == 125
    said = capsys.readouterr()
    first, second, third = said.err.splitlines()
    assert first.endswith("/no: is not " + FORMS)
    assert second.endswith("/missing: No such file or directory")
    assert "/broken: the YAML cannot be read" in third
    assert "imported 1 of 1 exchange into" in said.out
    assert len(kept(store)) == 1


def test_an_import_into_memory_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "x", "--store", "memory:"]) == 125
    assert "write --store sqlite:///PATH" in capsys.readouterr().err


@pytest.mark.thorough
def test_more_than_the_queue_of_a_store_holds_is_imported(tmp_path: Path) -> None:
    many = [interaction(request=json.dumps({"model": str(i), "messages": []})) for i in range(1500)]
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"interactions": many}))
    store = tmp_path / "s.sqlite3"
    assert main(["import", str(file), "--store", f"sqlite:///{store}"]) == 0
    assert len(kept(store)) == 1500


def test_a_person_who_waits_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from mitmproxy_ai_cache.cli import import_

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, now = Terminal(), [100.0]
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(import_.time, "monotonic", lambda: now[0])
    progress = import_._Progress(200)
    progress.file_done(50, 3)
    assert screen.getvalue() == ""
    now[0] += 1.5
    progress.file_done(50, 7)
    assert "[###############...............]  50%, 7 exchanges" in screen.getvalue()
    progress.clear()
    assert screen.getvalue().endswith("\r\x1b[K")
