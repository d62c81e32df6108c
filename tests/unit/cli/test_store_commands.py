"""`ai-cache ls`, `grep`, `stats`, `export` and `rm`: what people and programs read of a store."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mitmproxy_ai_cache import cli
from mitmproxy_ai_cache.cli import grep, tables
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import key_of
from mitmproxy_ai_cache.interchange.exporting import har, lines
from mitmproxy_ai_cache.stores import for_url

DAY = 86400
ADDON = Path(__file__).resolve().parents[3] / "addon"


class Said(str):
    """What was written to stdout, with what went elsewhere."""

    code: int
    errors: str


Run = Callable[..., Said]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in [name for name in os.environ if name.startswith("AI_CACHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        try:
            code = cli.main(arguments)
        except SystemExit as exit_of_argparse:
            code = int(exit_of_argparse.code or 0)
        output, errors = capfd.readouterr()
        said = Said(output)
        said.code, said.errors = code, errors
        return said

    return run


def made(number: int = 0, question: str = "Why?", answer: str = "Because.", **more: Any) -> Entry:
    """An entry as the proxy keeps it, under the key that its request has."""
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}], "seed": number}
    message = {"role": "assistant", "content": answer}
    body = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    entry = Entry(
        key="",
        created=time.time() - DAY + number,
        ttl=7 * DAY,
        status=200,
        headers=(("content-type", "application/json"), ("x-request-id", f"req_{number}")),
        format="json",
        body=json.dumps(body).encode(),
        request=json.dumps(request).encode(),
        request_headers=(("content-type", "application/json"),),
        protocol="openai-chat",
        model="gpt-4o",
        url="https://api.openai.com/v1/chat/completions",
        run="0123456789ab",
        input_tokens=10,
        output_tokens=5,
        first_byte=0.5,
        total=2.0,
    )
    entry = replace(entry, **more)
    return entry if entry.key else replace(entry, key=key_of(Settings().identity)(entry))


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., str]:
    """Makes a store of entries and gives its URL."""

    def store(*entries: Entry, name: str = "s") -> str:
        url = f"sqlite:///{tmp_path / name}.sqlite3"

        async def fill() -> None:
            opened = for_url(url, 1 << 30)
            await opened.open()
            for number, entry in enumerate(entries):
                assert opened.put(entry)
                if number % 500 == 499:
                    await opened.flushed()
            await opened.close()

        asyncio.run(fill())
        return url

    return store


def objects(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202etxt\r\nnext"


# ls


def test_ls_shows_the_newest_first_with_what_people_look_for(run: Run, store: Callable[..., str]) -> None:
    url = store(made(1, "First?"), made(2, "Second, über Köln?", model="claude-x", ttl=0, stream=True))
    said = run("ls", "--store", url)
    assert said.code == 0
    head, second, first = said.splitlines()
    assert head.split() == "KEY AGE TTL ST PROTOCOL MODEL HOST STREAM TOKENS SIZE QUESTION".split()
    assert re.match(
        r"[0-9a-f]{12}  24 h  +-  200  openai-chat  claude-x  api.openai.com  stream  +15  \d+ B  Second, über", second
    )
    assert first.endswith("First?")
    assert "  6 d  " in first


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.thorough
def test_a_table_fits_its_terminal(run: Run, store: Callable[..., str], monkeypatch: Any, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    url = store(*(made(number, "日本語の質問 " * 20, model="m" * 60) for number in range(3)))
    for line in run("ls", "--store", url).splitlines():
        assert tables.cell_len(line) <= width
        assert re.match(r"KEY|[0-9a-f]{11}", line)


def test_ls_shows_fifty_or_as_many_as_are_asked_for(run: Run, store: Callable[..., str]) -> None:
    url = store(*(made(number) for number in range(60)))
    assert [len(run("ls", *more, "--store", url).splitlines()) for more in ([], ["--limit", "7"], ["--all"])] == [
        51,
        8,
        61,
    ]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_a_list_that_is_cut_says_so_also_to_programs(more: list[str], run: Run, store: Callable[..., str]) -> None:
    url = store(*(made(number) for number in range(60)))
    said = f"ai-cache: 50 of 60 entries in {url}; --all shows all of them\n"
    assert [run("ls", *more, *all, "--store", url).errors for all in ([], ["--all"])] == [said, ""]


CONDITIONS: list[tuple[list[str], list[int]]] = [
    (["--model", "gpt-4o*"], [3, 1]),
    (["--host", "*.azure.com"], [2]),
    (["--namespace", "team"], [3]),
    (["--namespace", ""], [2, 1]),
    (["--run", "aaaaaaaaaaaa"], [1]),
    (["--before", "30d"], [1]),
    (["--after", "30d"], [3, 2]),
    (["--after", "30d", "--contains", "Question 3"], [3]),
    (["--contains", "nowhere"], []),
]


@pytest.mark.parametrize(("conditions", "numbers"), CONDITIONS, ids=str)
@pytest.mark.thorough
def test_conditions_are_those_of_rm(
    conditions: list[str], numbers: list[int], run: Run, store: Callable[..., str]
) -> None:
    url = store(
        made(1, "Question 1", created=time.time() - 40 * DAY, run="aaaaaaaaaaaa"),
        made(2, "Question 2", model="o3", url="https://x.azure.com/v1/chat/completions"),
        made(3, "Question 3", namespace="team"),
    )
    expected = [f"Question {number}" for number in numbers]
    assert [each["question"] for each in objects(run("ls", "--json", *conditions, "--store", url))] == expected
    removed = run("rm", "--dry-run", "--json", *conditions, "--store", url)
    assert json.loads(removed)["removed"] == len(numbers)


def test_ls_json_is_one_object_a_line(run: Run, store: Callable[..., str]) -> None:
    entry = made(1, "Why?", namespace="n")
    (shown,) = objects(run("ls", "--json", "--store", store(entry)))
    assert shown["key"] == entry.key
    assert (shown["created"], shown["expires"]) == (entry.created, entry.created + 7 * DAY)
    assert (shown["status"], shown["host"], shown["namespace"], shown["question"]) == (
        200,
        "api.openai.com",
        "n",
        "Why?",
    )
    assert (shown["input_tokens"], shown["output_tokens"], shown["seconds"]) == (10, 5, 2.0)
    assert shown["size"] == len(entry.request) + len(entry.body)


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["grep", "red"], ["grep", "red", "--json"], ["stats"]])
def test_nothing_a_stranger_chose_acts_on_a_terminal(command: list[str], run: Run, store: Callable[..., str]) -> None:
    url = store(made(1, HOSTILE, HOSTILE, model=f"red{HOSTILE}", url=f"https://h/{HOSTILE}", protocol=HOSTILE))
    said = run(*command, "--store", url)
    assert said.code == 0
    assert [character for character in said + said.errors if not character.isprintable() and character != "\n"] == []


def test_an_empty_store_is_said(run: Run, store: Callable[..., str]) -> None:
    url = store()
    said = run("ls", "--store", url)
    assert (said, said.errors, said.code) == ("", f"ai-cache: 0 of 0 entries in {url}\n", 0)
    assert run("stats", "--store", url).startswith("0 entries in ")


WRONG = [
    (["ls", "--store", "sqlite:////nowhere/at/all"], "nothing is stored at /nowhere/at/all yet"),
    (["ls", "--store", "memory:"], "a store in memory is seen by its own proxy alone"),
    (["ls", "--store", "nonsense"], "ai_cache_store"),
    (["ls", "xyz"], "a KEY is 4 to 64 hex digits"),
    (["ls", "--limit", "0"], "'0' is no number of entries"),
    (["ls", "--before", "soon"], "--before: 'soon' is not a duration"),
    (["ls", "--contains", ""], "--contains is empty"),
    (["grep"], "required: TEXT"),
    (["grep", ""], "--contains is empty"),
    (["stats", "--nonsense"], "--nonsense"),
    (["export", "x.zip"], "Write --format jsonl, har or cassettes"),
    (["rm"], "say what to remove"),
    (["completion", "tcsh"], "invalid choice: 'tcsh'"),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG, ids=str)
def test_what_is_wrong_is_one_line_and_exit_code_2(arguments: list[str], expected: str, run: Run) -> None:
    said = run(*arguments)
    assert (said, said.code) == ("", 2)
    assert said.errors.startswith("ai-cache: ")
    assert expected in said.errors
    assert said.errors.count("\n") == 1


def test_entries_that_cannot_be_read_are_said(run: Run, store: Callable[..., str], monkeypatch: Any) -> None:
    monkeypatch.setenv("AI_CACHE_ENCRYPTION_KEY", "11" * 32)
    said = run("ls", "--store", store(made(1), made(2)))
    assert "2 entries could not be read" in said.errors


@pytest.mark.thorough
def test_who_stops_reading_is_told_of_no_error(store: Callable[..., str]) -> None:
    url = store(*(made(number, "long " * 40) for number in range(1500)))
    for command in (["ls", "--all"], ["ls", "--all", "--json"], ["grep", "long"], ["export", "-"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "mitmproxy_ai_cache.cli", *command, "--store", url],
            env={**os.environ, "PYTHONPATH": str(ADDON)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


# grep


def test_grep_shows_who_said_it_and_the_line_around(run: Run, store: Callable[..., str]) -> None:
    url = store(
        made(1, "first line\nWhere is Köln?\nlast line", "Köln is\non the Rhine"), made(2, "Where is Bonn?", "There.")
    )
    said = run("grep", "Köln", "--store", url)
    head, *found = said.splitlines()
    assert re.fullmatch(r"[0-9a-f]{12}  24 h  gpt-4o  api.openai.com", head)
    assert found == ["  user: Where is Köln?", "  answer: Köln is"]
    assert said.code == 0


def test_grep_finds_nothing_with_exit_code_1(run: Run, store: Callable[..., str]) -> None:
    said = run("grep", "nowhere", "--store", store(made(1)))
    assert (said, said.errors, said.code) == ("", "", 1)


def test_grep_json_and_list(run: Run, store: Callable[..., str]) -> None:
    url = store(made(1, "a\nb needle\nc", "needle needle\nno\nneedle"), made(2))
    (shown,) = objects(run("grep", "needle", "--json", "--store", url))
    assert shown["lines"] == [
        {"where": "user", "text": "b needle"},
        {"where": "answer", "text": "needle needle"},
        {"where": "answer", "text": "needle"},
    ]
    assert len(run("grep", "needle", "-l", "--store", url).splitlines()) == 1
    limited = run("grep", "needle", "--lines", "1", "--store", url).splitlines()
    assert limited[1:] == ["  user: b needle", "  … 2 more"]


MENTIONS: list[tuple[Entry, str, list[tuple[str, str]]]] = [
    (made(1), "/v1/chat", [("url", "https://api.openai.com/v1/chat/completions")]),
    (made(1, "x" * 500 + "needle" + "y" * 500), "needle", [("user", "…" + "x" * 60 + "needle" + "y" * 120 + "…")]),
    (made(1, "one\ntwo\nthree"), "ne\ntwo\nth", [("user", "one\ntwo\nthree")]),
    (made(7), "seed", [("settings", "seed: 7")]),
    (made(1, request=b'not json "x\\u00e9"', body=b""), "xé", [("user", 'not json "xé"')]),
]


@pytest.mark.parametrize(("entry", "text", "expected"), MENTIONS[:4], ids=[text for _, text, _ in MENTIONS[:4]])
def test_a_mention_is_cut_from_where_it_stands(entry: Entry, text: str, expected: list[tuple[str, str]]) -> None:
    assert [(line.where, line.text) for line in grep.lines(entry, text)] == expected


def test_every_entry_that_a_search_takes_has_a_line() -> None:
    for text in ("chatcmpl-1", '"finish_reason": "stop"', "prompt_tokens", "gpt-4o"):
        assert list(grep.lines(made(1), text)), text


# stats


def test_stats_add_up(run: Run, store: Callable[..., str]) -> None:
    entries = [*(made(number) for number in range(5)), made(9, model="o3"), made(10, namespace="n", model="o3")]
    url = store(*entries)
    total = json.loads(run("stats", "--json", "--store", url))
    assert total["entries"] == 7
    assert total["size"] == sum(len(entry.request) + len(entry.body) for entry in entries)
    assert (total["input_tokens"], total["output_tokens"], total["seconds"]) == (70, 35, 14.0)
    assert [(group["model"], group["entries"], group["tokens"]) for group in total["groups"]] == [
        ("gpt-4o", 5, 75),
        ("o3", 2, 30),
    ]
    assert sum(group["size"] for group in total["groups"]) == total["size"]
    assert json.loads(run("stats", "--json", "--namespace", "n", "--store", url))["entries"] == 1
    said = run("stats", "--store", url)
    assert said.startswith("7 entries in ")
    assert "105 tokens" in said


# export


@pytest.mark.parametrize("target", ["out.jsonl", "out.har", "-"])
@pytest.mark.thorough
def test_what_is_exported_comes_back_under_the_same_keys(
    target: str, run: Run, store: Callable[..., str], tmp_path: Path
) -> None:
    first = made(1, "Köln \U0001f600 \x00\u2028?")
    again = replace(first, key=first.key + "-2", created=first.created + 5, body=first.body.replace(b"Bec", b"2ec"))
    entries = [again, first, made(2, namespace="" if target == "out.har" else "team/x"), made(3, stream=False)]
    said = run("export", target, "--store", store(*entries))
    assert said.code == 0
    if target == "-":
        (tmp_path / "out.jsonl").write_text(said, "utf-8")
        target = "out.jsonl"
    else:
        assert said == ""
        assert "4 entries of" in said.errors
    assert "another key" not in said.errors
    copy = f"sqlite:///{tmp_path / 'copy'}"
    assert "imported 4 of 4" in run("import", target, "--store", copy)
    back = {each["key"]: each for each in objects(run("ls", "--json", "--all", "--store", copy))}
    assert back.keys() == {entry.key for entry in entries}
    if target == "out.jsonl":
        assert sorted(run("export", "-", "--store", copy).splitlines()) == sorted(
            (tmp_path / target).read_text("utf-8").splitlines()
        )


def test_cassettes_are_a_store_with_the_same_keys(run: Run, store: Callable[..., str], tmp_path: Path) -> None:
    entries = [made(1), made(2, namespace="a"), made(3)]
    said = run("export", "recordings/", "--store", store(*entries))
    assert (said.code, "3 entries of" in said.errors) == (0, True)
    listed = objects(run("ls", "--json", "--store", f"cassettes:{tmp_path}/recordings"))
    assert {each["key"] for each in listed} == {entry.key for entry in entries}


def test_an_export_replaces_no_file_unasked_and_is_its_owners_alone(
    run: Run, store: Callable[..., str], tmp_path: Path
) -> None:
    url = store(made(1))
    (tmp_path / "x.har").write_text("mine")
    assert "is there already" in run("export", "x.har", "--store", url).errors
    assert (tmp_path / "x.har").read_text() == "mine"
    assert run("export", "x.har", "--force", "--store", url).code == 0
    assert (tmp_path / "x.har").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".x*")] == []


def test_an_export_into_no_directory_says_so(run: Run, store: Callable[..., str], tmp_path: Path) -> None:
    said = run("export", "nowhere/x.jsonl", "--store", store(made()))
    assert (said, said.code, said.errors) == ("", 2, f"ai-cache: there is no directory {tmp_path}/nowhere\n")


def test_keys_that_will_differ_are_said(run: Run, store: Callable[..., str]) -> None:
    said = run("export", "x.har", "--store", store(made(1, key="ab" * 32), made(2)))
    assert "1 of them will have another key" in said.errors


def test_a_damaged_line_of_an_export_is_skipped_and_said(run: Run, store: Callable[..., str], tmp_path: Path) -> None:
    good = lines.encode(made(1))
    bad = [
        good[: len(good) // 2] + b"\n",
        good.replace(b'"status":200', b'"status":"x"'),
        good.replace(b'entry":1', b'entry":9'),
        good.replace(b'"content-type"', b'"a\\r\\nb: c"'),
    ]
    (tmp_path / "x.jsonl").write_bytes(good + b"".join(bad))
    said = run("import", "x.jsonl", "--store", f"sqlite:///{tmp_path / 'copy'}")
    assert said.startswith("ai-cache: imported 1 of 5 exchanges")
    assert "newer version" in said


def test_a_har_says_what_the_standard_asks_for() -> None:
    shown = json.loads(har.beginning() + har.encode(made(1, body=b"\xff\x00", first_byte=0.5, total=2.0)) + har.END)
    (entry,) = shown["log"]["entries"]
    assert shown["log"]["version"] == "1.2"
    assert entry["response"]["content"] == {
        "size": 2,
        "mimeType": "application/json",
        "text": "/wA=",
        "encoding": "base64",
    }
    assert entry["time"] == sum(entry["timings"].values()) == 2000
    assert entry["request"]["postData"]["mimeType"] == "application/json"


# rm


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=str)
def test_rm_leaves_alone_what_is_no_store(dry: list[str], run: Run, tmp_path: Path) -> None:
    """Only a proxy, which must start whatever is there, sets such a file aside."""
    notes = tmp_path / "notes.txt"
    notes.write_text("keep me")
    for path in (notes, tmp_path / "nothing"):
        said = run("rm", "--all", *dry, "--store", f"sqlite:///{path}")
        assert (said, said.code, said.errors.count("\n")) == ("", 2, 1)
    assert notes.read_text() == "keep me"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_a_dry_run_writes_nothing(run: Run, store: Callable[..., str], tmp_path: Path) -> None:
    url = store(made())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "1 entry would be removed" in run("rm", "--all", "--dry-run", "--store", url)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_key_may_be_typed_in_capitals(run: Run, store: Callable[..., str]) -> None:
    entry = made()
    url = store(entry)
    assert run("show", entry.key[:12].upper(), "--store", url).code == 0


def test_rm_json_names_the_keys(run: Run, store: Callable[..., str]) -> None:
    entries = [made(number) for number in range(15)]
    url = store(*entries)
    said = json.loads(run("rm", "--all", "--json", "--store", url))
    assert (said["removed"], said["failed"], said["dry_run"]) == (15, 0, False)
    assert set(said["keys"]) == {entry.key for entry in entries}
    assert objects(run("ls", "--json", "--store", url)) == []


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_the_commands(shell: str, run: Run) -> None:
    said = run("completion", shell)
    assert said.code == 0
    for word in ("grep", "stats", "export", "dry-run", "store"):
        assert word in said


def test_bash_completes_with_the_script(run: Run, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(run("completion", "bash"))
    code = """
        source ./script
        COMP_WORDS=(ai-cache ls --mo); COMP_CWORD=2
        $(complete -p ai-cache | sed 's/.*-F \\([^ ]*\\).*/\\1/') ai-cache --mo ls
        echo "${COMPREPLY[@]}"
    """
    said = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert (said.stdout, said.stderr) == ("--model\n", "")
