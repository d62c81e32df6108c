"""docs/extending.md as it stands: its package is built, installed beside ai-cache, recorded with and replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import forked
from documented import write_files_of
from forked import ADDON
from harness import BIN, REDIRECT, FakeProviders
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from offline import without_network

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Play = Callable[..., Done]
Listed = Callable[[], list[dict[str, str]]]

STORE = ("--store", "cassettes:tapes")
ONLINE = ("--set", f"scripts={REDIRECT}")
HOST = ("--set", "ai_cache_hosts=api.acme.example")
"""What the package says of itself: needed where it is not installed."""
KEY = "acme-" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa"
WEBHOOK = "whk_" + "q7Hf2LmZ9xKt4VwBn8RcYs3G"
SAYS = "Hello world."
LARGE = 300_000
"""Characters of a prompt that is read in a worker process."""
MISSED = 100

CLIENT = """
import json, os, sys, urllib.error, urllib.request
fields = {"content-type": "application/json", "authorization": "Bearer " + os.environ["ACME_API_KEY"]}
for line in sys.argv[1:]:
    wanted = json.loads(line)
    wanted["prompt"] *= wanted.pop("times", 1)
    request = urllib.request.Request("https://api.acme.example/v1/talk", json.dumps(wanted).encode(), fields)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            print(answer.headers["x-ai-cache-status"], json.dumps(answer.read().decode()))
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
"""


def asked(prompt: str, **more: object) -> str:
    return json.dumps({"engine": "acme-1", "prompt": prompt, **more})


STREAM, WHOLE, LONG = asked("a", stream=True), asked("b"), asked("c", stream=True, times=LARGE)


def answer(request: Request) -> Reply:
    """As Acme does; `cut` in a prompt ends the stream before its last event."""
    wanted = json.loads(request.body or b"{}")
    if not wanted.get("stream"):
        said = {"text": SAYS, "why": "done", "spent": {"in": 4, "out": 2}}
        return Reply([json.dumps(said).encode()], headers=(("content-type", "application/json"),))
    events = [f"event: word\ndata: {json.dumps({'text': word})}\n\n".encode() for word in ("Hello ", "world.")]
    if "cut" not in wanted["prompt"]:
        events.append(b'event: fin\ndata: {"why": "done", "spent": {"in": 4, "out": 2}}\n\n')
    return Reply(events, headers=(("content-type", "text/event-stream"),), framing="chunked")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package of the page is installed."""
    folder = tmp_path_factory.mktemp("acme")
    write_files_of("extending.md", folder / "source")
    command = [str(BIN / "uv"), "pip", "install", "--offline", "--no-deps", "--python", sys.executable]
    done = subprocess.run(
        [*command, "--target", str(folder / "installed"), str(folder / "source")],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "UV_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "installed"


@pytest.fixture
def play(installed: Path, environ: dict[str, str], providers: FakeProviders, tmp_path: Path) -> Play:
    """Runs `ai-cache` with the package on the path, or without it."""
    providers.answer = answer
    (tmp_path / "client.py").write_text(CLIENT)

    def play(*arguments: str, plugged: bool = True, offline: bool = False, **more: str) -> Done:
        path = os.pathsep.join([str(ADDON), str(installed)] if plugged else [str(ADDON)])
        command = [str(BIN / "ai-cache"), *arguments]
        return forked.run(
            without_network(*command) if offline else command,
            env=environ | {"PYTHONPATH": path} | more,
            cwd=tmp_path,
            timeout=120,
        )

    return play


@pytest.fixture
def record(play: Play) -> Play:
    """With the key of a developer, which nobody has who replays."""
    client = ("--", sys.executable, "client.py")
    return lambda *lines: play("record", "tapes", *ONLINE, *client, *lines, ACME_API_KEY=KEY)


@pytest.fixture
def replay(play: Play) -> Play:
    def replay(*lines: str, plugged: bool = True) -> Done:
        command = ("replay", "tapes", *(() if plugged else HOST), "--", sys.executable, "client.py", *lines)
        by_hand = {} if plugged else {"ACME_API_KEY": "none"}
        return play(*command, offline=True, plugged=plugged, **by_hand)

    return replay


@pytest.fixture
def listed(play: Play) -> Listed:
    return lambda: [json.loads(row) for row in play("ls", *STORE, "--json").stdout.splitlines()]


def test_calls_of_an_added_protocol_are_recorded_and_replayed_without_the_provider(
    record: Play, replay: Play, providers: FakeProviders
) -> None:
    recorded = record(STREAM, WHOLE)
    assert (recorded.returncode, len(providers.calls)) == (0, 2), recorded.stderr
    providers.stop()
    replayed = replay(STREAM, WHOLE)
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout == recorded.stdout.replace("MISS", "HIT")
    assert replayed.stdout.count("HIT") == 2


def test_ls_and_show_know_what_it_recognised(record: Play, play: Play, listed: Listed) -> None:
    assert record(STREAM).returncode == 0
    (row,) = listed()
    assert (row["protocol"], row["model"]) == ("acme-talk", "acme-1")
    shown = play("show", *STORE, row["key"]).stdout
    assert SAYS in shown
    assert "acme-talk" in shown


def test_a_recording_holds_neither_the_key_nor_a_secret_of_the_added_kind(
    record: Play, replay: Play, tmp_path: Path
) -> None:
    telling = asked(f"Post to {WEBHOOK} with {KEY}.")
    assert record(telling).returncode == 0
    text = "".join(path.read_text() for path in (tmp_path / "tapes").rglob("*.json"))
    assert (WEBHOOK in text, KEY in text) == (False, False)
    assert "Post to REDACTED-acme-webhook with REDACTED-acme-key." in text
    assert replay(telling).stdout.startswith("HIT")


def test_its_last_event_decides_whether_a_stream_is_complete(record: Play, replay: Play) -> None:
    cut = asked("cut", stream=True)
    assert "0 stored" in record(cut).stderr
    assert replay(cut).returncode == MISSED


def test_a_long_prompt_is_read_in_a_worker_which_has_the_plugin_too(record: Play, replay: Play, listed: Listed) -> None:
    assert record(LONG).returncode == 0
    assert [row["protocol"] for row in listed()] == ["acme-talk"]
    assert replay(LONG).stdout.startswith("HIT")


def test_what_does_not_shape_the_answer_does_not_count(record: Play, replay: Play) -> None:
    assert record(asked("a", trace_id="one")).returncode == 0
    assert replay(asked("a", trace_id="two")).stdout.startswith("HIT")


def test_a_miss_is_told_in_the_words_of_the_protocol(record: Play, replay: Play) -> None:
    assert record(WHOLE).returncode == 0
    status, _, body = replay(asked("never asked")).stdout.partition(" ")
    assert status == "424"
    assert "acme-talk" in json.loads(body)["fault"]["message"]


def test_without_the_plugin_its_recordings_stay_readable_and_are_named(record: Play, play: Play) -> None:
    assert record(STREAM).returncode == 0
    listed = play("ls", *STORE, "--json", plugged=False)
    (row,) = map(json.loads, listed.stdout.splitlines())
    assert row["protocol"] == "acme-talk"
    assert "recordings of acme-talk may not answer" in listed.stderr
    shown = play("show", *STORE, row["key"], plugged=False)
    assert (shown.returncode, SAYS in shown.stdout) == (0, True)


def test_without_the_plugin_a_recording_answers_nothing_but_the_same_request(record: Play, replay: Play) -> None:
    traced = asked("a", trace_id="two")
    assert record(asked("a", trace_id="one")).returncode == 0
    assert replay(asked("a", trace_id="one"), plugged=False).stdout.startswith("HIT")
    assert replay(traced, plugged=False).returncode == MISSED
    assert replay(traced).stdout.startswith("HIT")


def test_the_doctor_names_what_is_added(play: Play) -> None:
    said = play("doctor", *STORE, "--port", "0", offline=True).stdout
    assert "acme-ai-cache 1.0 adds acme-talk" in said
    assert "acme-ai-cache 1.0 adds acme\n" in said
