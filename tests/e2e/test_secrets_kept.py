"""What is redacted appears nowhere else: no file, no log, no report, no list of what is recorded."""

from __future__ import annotations

import base64
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import REDIRECT, ROOT, FakeProviders
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from secret_forms import BARE, FORMS, Form
from secret_places import BODIES
from secret_values import ALNUM, draw
from unit.cassettes.test_leaks import KEY, UNKNOWN
from unit.redact.test_redact import readings
from unit.redact.test_secret_forms import is_left

pytestmark = pytest.mark.slow

WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
CLIENT = (sys.executable, str(ROOT / "tests/support/plain_calls.py"))
URL = "https://api.openai.com/v1/chat/completions"

OWN = draw("the key of the calls", ALNUM, 40)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@functools.cache
def known() -> list[Form]:
    """The forms that are found."""
    return [form for form in FORMS if form.group != BARE and not any(is_left(form, place) for place in BODIES)]


def listed(bodies: list[bytes], file: Path) -> None:
    fields = {"content-type": "application/json", "authorization": "Bearer " + OWN}
    calls = [
        {"method": "POST", "url": URL, "headers": fields, "body": base64.b64encode(body).decode()} for body in bodies
    ]
    file.write_text(json.dumps(calls))


def asked() -> list[bytes]:
    """Each form in what is asked, and in the arguments of a tool."""
    return [BODIES[("request", "arguments")[number % 2]](form.planted) for number, form in enumerate(known())]


def repeated(request: Request) -> Reply:
    """The model says what it was asked."""
    return Reply([BODIES["answer"]((request.body or b"").decode())])


def found_in(text: bytes) -> list[str]:
    """The forms of which a line can be read."""
    read = list(readings(text, 2))
    return [
        form.name for form in known() if any(line.encode() in one for line in form.secret.split("\n") for one in read)
    ]


def test_what_is_found_is_in_no_file_no_log_and_no_report(run: Run, providers: FakeProviders, tmp_path: Path) -> None:
    providers.answer = repeated
    listed(asked(), tmp_path / "calls")
    reports = ("--report", "report.json", "--junit", "report.xml", "-v")
    done = run("record", "tapes", *reports, *WITH_PROVIDER, "--", *CLIENT, "calls")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(known())} stored" in done.stderr
    providers.stop()
    # asked again with another word, so that every call misses and is explained
    listed([body.replace(b"Look", b"See").replace(b'"path"', b'"file"') for body in asked()[:60]], tmp_path / "other")
    missed = run("replay", "tapes", "--report", "miss.json", "--junit", "miss.xml", "-v", "--", *CLIENT, "other")
    assert missed.returncode == 100
    said = [done.stderr, missed.stdout, missed.stderr]
    for command in (["ls", "--json"], ["grep", "e", "--json"], ["grep", "REDACTED"], ["export", "tapes.har"]):
        shown = run(*command, "--store", "cassettes:tapes")
        assert shown.returncode == 0, shown.stderr
        said += [shown.stdout, shown.stderr]
    keys = [json.loads(line)["key"] for line in run("ls", "--json", "--store", "cassettes:tapes").stdout.splitlines()]
    said += [run("show", key, "--store", "cassettes:tapes").stdout for key in keys[:5]]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("calls", "other")]
    assert {"report.json", "report.xml", "miss.json", "miss.xml", "tapes.har"} <= {path.name for path in files}
    for name, text in [("output", one.encode()) for one in said] + [(str(one), one.read_bytes()) for one in files]:
        assert found_in(text) == [], name


def test_a_recording_with_a_secret_that_cannot_be_taken_out_ends_with_100(
    run: Run, providers: FakeProviders, tmp_path: Path
) -> None:
    answer, headers, place = UNKNOWN["a member nobody knows"]
    providers.answer = lambda request: Reply([answer], headers=headers.fields)
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Say it"}]}
    listed([json.dumps(body).encode()], tmp_path / "calls")
    done = run(
        "record", "tapes", "--report", "report.json", "--junit", "report.xml", *WITH_PROVIDER, "--", *CLIENT, "calls"
    )
    assert done.returncode == 100, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("ai-cache: record failed")]
    assert place in line
    assert "groq-key" in line
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 100
    assert place in (tmp_path / "report.xml").read_text()
    assert list((tmp_path / "tapes").rglob("*-*.json")) == []
    for path in (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "calls"):
        assert KEY.encode() not in path.read_bytes()
