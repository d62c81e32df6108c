"""`ai-cache scan`: what it prints, what it never prints, and its exit codes."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from mitmproxy_ai_cache.cli import main
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import for_url

# Put together here, so that no scanner of a git host takes this file for a leak.
KEY = "gs" + "k_" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1EvQkNzhW0CbDrJ"
SEALED = "Ab/" + "AK" + "IAQ3EGPK7V2NXR4M5T/cd"
HOOKS = Path(__file__).resolve().parents[3] / ".pre-commit-hooks.yaml"


def scan(*arguments: object) -> int:
    return main(["scan", *map(str, arguments)])


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "cassettes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.json").write_text('{"messages": []}\n')
    (folder / "deep" / "b.json").write_text('{\n  "text":\n  "' + KEY + '"\n}\n')
    return folder


def test_a_secret_is_named_by_file_line_and_kind_and_never_shown(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(recordings) == 1
    out, err = capsys.readouterr()
    assert out == f"{recordings}/deep/b.json:3: groq-key  gsk_****\n"
    assert KEY not in out + err


def test_json_is_one_object_a_line(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan("--json", recordings) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "file": f"{recordings}/deep/b.json",
        "line": 3,
        "kind": "groq-key",
        "shown": "gsk_****",
        "signed": False,
    }


def test_clean_files_are_0_and_nothing_on_stdout(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan(recordings / "a.json") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "ai-cache: no secrets in 1 file\n"


def test_what_stands_in_a_signed_field_is_said_and_does_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"signature": SEALED}))
    assert scan(file) == 0
    assert "aws-key-id  AKIA****  (in a signed field" in capsys.readouterr().out


def test_folders_of_tools_and_links_are_left_out(recordings: Path) -> None:
    (recordings / "deep" / "b.json").rename(recordings.parent / "b.json")
    (recordings / "link.json").symlink_to(recordings.parent / "b.json")
    (recordings / ".git").mkdir()
    (recordings / ".git" / "b.json").write_text(KEY)
    assert scan(recordings) == 0
    assert scan(recordings.parent / "b.json") == 1


def test_a_file_name_cannot_act_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a\x1b[2J.json").write_text(KEY)
    assert scan(tmp_path) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_pattern_of_the_user_is_one_more_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("ask EMP-123456")
    assert scan(tmp_path) == 0
    assert scan("--redact", "employee=EMP-[0-9]{6}", tmp_path) == 1
    assert "a.txt:1: employee  ****" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "write ai-cache scan PATH... or --store URL"),
        (["--store", "memory:", "."], "write ai-cache scan PATH... or --store URL"),
        (["no-such-file"], "there is no no-such-file"),
        (["--redact", "x=(", "."], "write NAME=REGEX"),
        (["--store", "nonsense:"], "write sqlite:///PATH"),
    ],
)
def test_wrong_usage_is_125_and_says_what_to_write(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(*arguments) == 125
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ai-cache: ")
    assert said in err


def entry(key: str, **more: object) -> Entry:
    fields = {"created": 1.0, "ttl": 0.0, "status": 200, "headers": (), "format": "json", "body": b"{}"}
    return Entry(key=key, **(fields | more))  # type: ignore[arg-type]


def test_the_entries_of_a_store_are_looked_into_part_by_part(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = for_url("memory:", 1 << 20)
    hidden = KEY.encode()
    kept = [
        entry("a" * 64),
        entry("b" * 64, request=hidden),
        entry("c" * 64, body=hidden),
        entry("d" * 64, url=f"https://h/{KEY}"),
        entry("e" * 64, headers=(("location", f"/x?k={KEY}"),)),
    ]
    asyncio.run(filled(store, kept))
    monkeypatch.setattr("mitmproxy_ai_cache.cli.scan.store_of", lambda *_, **__: store)
    assert scan("--store", "memory:") == 1
    out = capsys.readouterr().out
    assert re.findall(r"^(\w{12}) (.*): groq-key  gsk_\*{4}$", out, re.MULTILINE) == [
        ("b" * 12, "request body"),
        ("c" * 12, "answer body"),
        ("d" * 12, "url"),
        ("e" * 12, "answer headers"),
    ]
    assert KEY not in out


async def filled(store: object, entries: list[Entry]) -> None:
    await store.open()  # type: ignore[attr-defined]
    for one in entries:
        store.put(one)  # type: ignore[attr-defined]


def test_a_database_is_pointed_to_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cache.sqlite3").write_bytes(b"SQLite format 3\x00" + bytes(100))
    assert scan(tmp_path) == 0
    assert f"--store sqlite:///{tmp_path}/cache.sqlite3" in capsys.readouterr().err


def test_the_hook_of_pre_commit_names_the_command() -> None:
    text = HOOKS.read_text()
    assert "id: ai-cache-scan" in text
    assert "entry: ai-cache scan" in text
    pattern = re.search(r"files: (.*)", text)
    assert pattern
    assert re.search(pattern[1], "tests/cassettes/a/b.json")
    assert not re.search(pattern[1], "src/a.json")


def test_our_own_tests_trip_no_scanner() -> None:
    here = Path(__file__).parents[1]
    assert scan(__file__, here / "redact" / "test_redact.py", here.parent / "corpus" / "test_secrets.py") == 0
