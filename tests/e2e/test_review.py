"""`ai-cache explain`, `diff` and `prune` on real recordings in a real git repository."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

import forked
from harness import BIN, ROOT, plain_environ
from mitmproxy_ai_cache import cli
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.configuration.store_of import store_of
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import key_of

pytestmark = pytest.mark.slow

OPENAI = "https://api.openai.com/v1/chat/completions"
DAY = 86400
NOW = time.time()
SYSTEM = "You are a careful assistant. " * 200
Done = subprocess.CompletedProcess[str]


def body(prompt: str, system: str = "", **members: Any) -> bytes:
    messages = [{"role": "system", "content": system}] if system else []
    return json.dumps(
        {"model": "gpt-4o", "messages": [*messages, {"role": "user", "content": prompt}], **members}
    ).encode()


def answer(text: str, **members: Any) -> bytes:
    return json.dumps(
        {"id": f"c-{text}", "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}], **members}
    ).encode()


def recording(prompt: str, said: str = "Hi", system: str = "", namespace: str = "", age: float = 0) -> Entry:
    return Entry(
        key="",
        created=NOW - age,
        ttl=0,
        status=200,
        headers=(("content-type", "application/json"),),
        format="json",
        body=answer(said),
        request=body(prompt, system),
        request_headers=(("content-type", "application/json"),),
        protocol="openai-chat",
        model="gpt-4o",
        url=OPENAI,
        namespace=namespace,
    )


def record(folder: Path, *entries: Entry) -> None:
    settings = Settings.parse({"ai_cache_store": f"cassettes:{folder}", "ai_cache_mode": "record"}, {})

    async def run() -> None:
        store = store_of(settings)
        await store.open()
        for entry in entries:
            assert store.put(replace(entry, key=key_of(settings.identity)(entry)))
        await store.close()

    asyncio.run(run())


def files(folder: Path) -> list[str]:
    """What git would see, without the two files that the store writes for git."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not Path(path).name.startswith("."))


@dataclass
class Project:
    """A directory of a user, in it `cassettes`."""

    root: Path
    home: Path

    @property
    def cassettes(self) -> Path:
        return self.root / "cassettes"

    @property
    def environ(self) -> dict[str, str]:
        names = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return plain_environ(self.home, PYTHONPATH=str(ROOT / "addon"), **names)

    def process(self, *arguments: str | Path) -> Done:
        """`ai-cache` as a user runs it."""
        return forked.run([str(BIN / "ai-cache"), *map(str, arguments)], env=self.environ, cwd=self.root, timeout=90)

    def ai_cache(self, *arguments: str | Path, cwd: Path | None = None) -> Done:
        """The same without a process of its own, which takes a second."""
        out, err = io.StringIO(), io.StringIO()
        words = [str(argument) for argument in arguments]
        with (
            mock.patch.dict(os.environ, self.environ, clear=True),
            contextlib.chdir(cwd or self.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main(words)
        return Done(words, code, out.getvalue(), err.getvalue())

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], env=self.environ, cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        if not (self.root / ".git").is_dir():
            self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root, tmp_path)


def one_line(done: Done) -> str:
    """What a user reads who did something wrong."""
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("ai-cache: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("ai-cache: ").rstrip("\n")


# explain


def as_har(*bodies: bytes) -> bytes:
    sent = [{"method": "POST", "url": OPENAI, "headers": [], "postData": {"text": each.decode()}} for each in bodies]
    got = {"status": 200, "headers": [], "content": {"text": answer("x").decode(), "mimeType": "application/json"}}
    return json.dumps({"log": {"entries": [{"request": each, "response": got} for each in sent]}}).encode()


def as_vcrpy(*bodies: bytes) -> bytes:
    got = {"status": {"code": 200}, "headers": {}, "body": {"string": answer("x").decode()}}
    sent = [{"method": "POST", "uri": OPENAI, "headers": {}, "body": each.decode()} for each in bodies]
    return json.dumps({"version": 1, "interactions": [{"request": each, "response": got} for each in sent]}).encode()


def as_flows(*bodies: bytes) -> bytes:
    file = io.BytesIO()
    for each in bodies:
        flow = tflow.tflow(resp=http.Response.make(200, answer("x"), {"content-type": "application/json"}))
        flow.request = http.Request.make("POST", OPENAI, each, {"content-type": "application/json"})
        FlowWriter(file).add(flow)
    return file.getvalue()


@pytest.mark.parametrize("form", [as_har, as_vcrpy, as_flows], ids=lambda form: form.__name__)
def test_each_request_of_a_file_is_recorded_or_explained(form: Callable[..., bytes], project: Project) -> None:
    record(project.cassettes, recording("Where is Paris?"), recording("Where is Rome?"))
    asked = project.root / "asked"
    asked.write_bytes(form(body("Where is Rome?"), body("Where is Bonn?")))
    done = project.process("explain", "asked")
    assert (done.returncode, done.stderr) == (1, "")
    first, second, why, *_, verdict = done.stdout.splitlines()
    assert re.fullmatch(
        r"recorded  [0-9a-f]{12}  #1 openai-chat gpt-4o  cassettes/default/openai-chat-gpt-4o-t1-2\.json", first
    )
    assert re.fullmatch(r"missing   [0-9a-f]{12}  #2 openai-chat gpt-4o", second)
    assert "  no recorded answer; nearest is openai-chat gpt-4o #" in why
    assert re.search(r'messages\[0\]\.content differs: recorded "Where is \[\w+\]\?", sent "Where is \[Bonn\]\?"', why)
    assert verdict == "1 of 2 AI calls are recorded in cassettes:cassettes"
    asked.write_bytes(form(body("Where is Rome?")))
    assert project.ai_cache("explain", "asked").returncode == 0


def test_a_body_is_explained_with_its_url_and_headers(project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    (project.root / "body.json").write_bytes(body("Hello"))
    assert project.ai_cache("explain", "body.json", "--url", OPENAI).returncode == 0
    other = project.ai_cache("explain", "body.json", "--url", OPENAI, "--header", "OpenAI-Beta: x=1")
    assert other.returncode == 1
    assert 'headers.openai-beta was added: "x=1"' in other.stdout
    azure = "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"
    assert "host differs" in project.ai_cache("explain", "body.json", "--url", azure).stdout


def test_a_cassette_is_asked_in_its_namespace_with_its_parts_wherever_it_lies(project: Project) -> None:
    record(project.cassettes, recording("Hello", system=SYSTEM, namespace="tests/test_a.py::test_x"))
    record(project.root / "other", recording("Hello", system=SYSTEM, namespace="tests/test_a.py::test_x"))
    (file,) = (path for path in files(project.root / "other") if not path.startswith("parts/"))
    assert files(project.root / "other") != [file], "there are parts"
    done = project.ai_cache("explain", f"other/{file}")
    assert (done.returncode, f"cassettes/{file}" in done.stdout) == (0, True)
    elsewhere = project.ai_cache("explain", f"other/{file}", "--namespace", "n")
    assert elsewhere.returncode == 1
    assert 'recorded in namespace "tests/test_a.py::test_x", not in "n"' in elsewhere.stdout


def test_the_configured_store_comes_before_the_directory_and_any_store_will_do(project: Project) -> None:
    (project.root / "asked.har").write_bytes(as_har(body("Hello")))
    store = f"sqlite:///{project.home / 'own.sqlite3'}"
    assert project.ai_cache("import", "asked.har", "--store", store).returncode == 0
    record(project.cassettes, recording("Something else"))
    (project.root / "ai-cache.toml").write_text(f'store = "{store}"\n')
    untrusted = project.ai_cache("explain", "asked.har")
    assert (untrusted.returncode, "need your trust: store;" in untrusted.stderr) == (125, True)
    done = project.ai_cache("explain", "asked.har", "--trust=all")
    assert (done.returncode, store in done.stdout) == (0, True)
    other = project.ai_cache("explain", "asked.har", "--trust=all", "--store", "cassettes:cassettes")
    assert other.returncode == 1


def test_a_report_is_told_as_its_run_explained_it(project: Project) -> None:
    miss = {"call": "ai-cache: MISS 0123 openai-chat gpt-4o", "explanation": ["no recorded answer; \x1b[31mred"]}
    (project.root / "report.json").write_text(json.dumps({"calls": 1, "misses": [miss]}))
    done = project.ai_cache("explain", "report.json")
    assert done.returncode == 1
    assert done.stdout == (
        "missing   MISS 0123 openai-chat gpt-4o\n  no recorded answer; \\x1b[31mred\n1 miss in this run\n"
    )
    (project.root / "report.json").write_text('{"misses": []}')
    assert project.ai_cache("explain", "report.json").returncode == 0


def test_explaining_changes_no_file_and_other_requests_are_left_out(project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    before = {path: (project.cassettes / path).stat().st_mtime_ns for path in files(project.cassettes)}
    archive = json.loads(as_har(body("Hello"), b"{}"))
    archive["log"]["entries"][1]["request"]["url"] = "https://example.com/\u202e"
    (project.root / "asked.har").write_text(json.dumps(archive))
    done = project.ai_cache("explain", "asked.har")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out  no AI call: example.com\n" in done.stdout
    assert {path: (project.cassettes / path).stat().st_mtime_ns for path in files(project.cassettes)} == before


UNEXPLAINABLE = {
    "a body alone": (["body.json"], "for the body of a request add --url URL"),
    "no file": (["none.json"], "none.json cannot be read: No such file or directory"),
    "no URL": (["body.json", "--url", "x"], "--url is 'x'; write for example https://"),
    "no header": (["body.json", "--url", OPENAI, "--header", "x"], "--header is 'x'; write NAME:VALUE"),
    "a method without a URL": (["body.json", "--method", "GET"], "add --url URL"),
    "no store": (["body.json", "--url", OPENAI, "--store", "cassettes:none"], "there is no directory none"),
    "no AI call": (["body.json", "--url", "https://example.com/x"], "has no AI call in it"),
    "half a HAR": (["half.json"], "half.json: the JSON cannot be read"),
}


@pytest.mark.parametrize("wrong", UNEXPLAINABLE)
def test_what_cannot_be_explained_is_one_line(wrong: str, project: Project) -> None:
    (project.root / "body.json").write_bytes(body("Hello"))
    (project.root / "half.json").write_bytes(as_har(body("Hello"))[:-5])
    record(project.cassettes, recording("Hello"))
    arguments, expected = UNEXPLAINABLE[wrong]
    done = project.ai_cache("explain", *arguments)
    assert done.returncode == 125
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


# diff


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture
def changed(project: Project) -> Project:
    """One of each kind since the last commit."""
    record(
        project.cassettes,
        recording("Where is Paris?", "In France.\nOn the Seine."),
        recording("Where is Rome?", "In Italy."),
        recording("Hello", "Hi", namespace="tests/test_a.py::test_x"),
    )
    project.commit()
    names = [project.cassettes / "default" / f"openai-chat-gpt-4o-t1-{number}.json" for number in (1, 2)]
    edit(names[0], ("Where is Paris", "Where is Paris, Texas"), ("On the Seine.", "Far away."), (": 200", ": 201"))
    names[1].unlink()
    record(project.cassettes, recording("New", "Yes", namespace="tests/test_a.py::test_y"))
    return project


def test_a_diff_says_what_was_asked_and_answered_otherwise(changed: Project) -> None:
    done = changed.process("diff")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
default
  changed    openai-chat-gpt-4o-t1-1.json  openai-chat gpt-4o
      request messages[0].content: "Where is [Paris]?" -> "Where is [Paris, Texas]?"
      status: 200 -> 201
    @@ -1,4 +1,4 @@
     text:
       In France.
    -  On the Seine.
    +  Far away.
     stop: stop
  removed    openai-chat-gpt-4o-t1-2.json  openai-chat gpt-4o
tests/test_a/test_y
  added      openai-chat-gpt-4o-t1-1.json  openai-chat gpt-4o
    +text: Yes
    +stop: stop
recordings: 1 changed, 1 added, 1 removed
"""
    )


def test_a_diff_has_one_line_a_file_or_is_json(changed: Project) -> None:
    assert changed.ai_cache("diff", "--stat").stdout.splitlines() == [
        "changed    default/openai-chat-gpt-4o-t1-1.json              request 1, status 200 -> 201, answer +1 -1",
        "removed    default/openai-chat-gpt-4o-t1-2.json",
        "added      tests/test_a/test_y/openai-chat-gpt-4o-t1-1.json  answer +2 -0",
        "recordings: 1 changed, 1 added, 1 removed",
    ]
    document = json.loads(changed.ai_cache("diff", "HEAD", "cassettes", "--json").stdout)
    first = document["recordings"][0]
    assert [one["status"] for one in document["recordings"]] == ["changed", "removed", "added"]
    assert first["request"][0]["path"] == "messages[0].content"
    assert first["fields"] == [{"name": "status", "before": "200", "after": "201"}]
    assert "+  Far away." in first["answer"]


def test_two_revisions_are_compared_from_below_whatever_the_working_tree_has(changed: Project) -> None:
    changed.commit()
    below = changed.root / "some" / "where"
    below.mkdir(parents=True)
    shutil.rmtree(changed.cassettes)
    for revisions in ("HEAD~1..HEAD", "HEAD~1..", "HEAD~1...main"):
        said = changed.ai_cache("diff", revisions, "../../cassettes", "--stat", cwd=below)
        assert said.stdout.endswith("recordings: 1 changed, 1 added, 1 removed\n"), said.stderr
    back = changed.ai_cache("diff", "HEAD..HEAD~1", changed.cassettes, "--stat", cwd=below)
    assert "status 201 -> 200" in back.stdout
    now = changed.ai_cache("diff", "HEAD", "../../cassettes", "--stat", cwd=below)
    assert now.stdout.endswith("recordings: 3 removed\n")


def test_parts_are_those_of_their_revision(project: Project) -> None:
    record(project.cassettes, recording("Hello", system=SYSTEM))
    project.commit()
    shutil.rmtree(project.cassettes)
    record(project.cassettes, recording("Hello", system=SYSTEM + "Be brief."))
    done = project.ai_cache("diff")
    assert re.search(r"request messages\[0\]\.content: .* -> .*Be brief", done.stdout)
    assert done.stdout.endswith("recordings: 1 changed; parts: 1 added, 1 removed\n")
    project.commit()
    shutil.rmtree(project.cassettes)
    assert project.ai_cache("diff", "HEAD~1..HEAD").stdout == done.stdout


def test_what_was_bought_again_and_says_the_same_is_no_news(project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    project.commit()
    (file,) = files(project.cassettes)
    edit(project.cassettes / file, ('"c-Hi"', '"c-other"'), ('"date": "2', '"date": "3'))
    done = project.ai_cache("diff")
    assert "      recorded anew; request and answer say the same\n" in done.stdout
    assert done.stdout.endswith("recordings: 1 changed (1 of them says the same)\n")
    edit(
        project.cassettes / file,
        ('"model": "gpt-4o",\n      "messages"', '"user": "u", "model": "gpt-4o",\n      "messages"'),
    )
    assert "request differs only in what does not count for its key" in project.ai_cache("diff").stdout


def test_a_merge_that_is_not_done_and_odd_names_are_told(project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    project.commit()
    (file,) = files(project.cassettes)
    odd = project.cassettes / "default" / "b \u00e9\x1b[31m.json"
    shutil.copy(project.cassettes / file, odd)
    with (project.cassettes / file).open("a") as cassette:
        cassette.write("<<<<<<< HEAD\n")
    (project.cassettes / "notes.txt").write_text("mine")
    done = project.ai_cache("diff")
    assert "      now: it has the marks of a merge conflict (line " in done.stdout
    assert "  added      b \u00e9\\x1b[31m.json  openai-chat gpt-4o\n" in done.stdout
    assert done.stdout.endswith("recordings: 1 added, 1 unreadable\n")


def test_a_file_that_was_only_touched_is_no_change(project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    project.commit()
    (file,) = files(project.cassettes)
    os.utime(project.cassettes / file, (1, 1))
    assert project.ai_cache("diff").stdout == "recordings: no changes\n"


UNKNOWN = {
    "a revision": (["nope"], "there is no revision 'nope' in this repository"),
    "one of two": (["HEAD..nope"], "there is no revision 'nope' in this repository"),
    "both": (["a...b"], "there is no revision 'a' in this repository"),
    "a directory as a revision": (["cassettes"], "for that directory write ai-cache diff HEAD cassettes"),
    "a directory": (["HEAD", "none"], "there are no recordings at none, neither now nor then"),
    "a repository": (["HEAD", "/"], "/ is in no git repository"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_git_does_not_know_is_one_line(what: str, project: Project) -> None:
    record(project.cassettes, recording("Hello"))
    project.commit()
    arguments, expected = UNKNOWN[what]
    assert expected in one_line(project.ai_cache("diff", *arguments))


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals(more: dict[str, str], coloured: bool, changed: Project) -> None:
    ours, theirs = pty.openpty()
    environ = changed.environ | {"TERM": "xterm"} | more
    command = [str(BIN / "ai-cache"), "diff"]
    with forked.popen(command, env=environ, cwd=changed.root, stdout=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:
            pass  # the other end is closed
        assert process.wait(60) == 0
    os.close(ours)
    assert (b"\x1b[32m+  Far away.\x1b[m" in said) == coloured
    assert (b"\x1b" in said) == coloured
    assert b"Far away." in said


def test_a_reader_who_has_enough_is_no_error(changed: Project) -> None:
    with forked.popen(
        [str(BIN / "ai-cache"), "diff"],
        env=changed.environ,
        cwd=changed.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


# prune


def asking(*prompts: str, code: int = 0) -> list[str]:
    """A command that asks for these, and ends with `code`."""
    lines = [f"curl -sSf {OPENAI} -H content-type:application/json -d '{body(prompt).decode()}'" for prompt in prompts]
    return ["--", "sh", "-c", " && ".join([*lines, f"exit {code}"])]


def test_what_a_command_does_not_ask_for_is_removed_and_nothing_else(project: Project) -> None:
    record(
        project.cassettes,
        recording("Keep"),
        recording("Drop", namespace="tests/test_gone.py::test_x"),
        recording("Drop, too", system=SYSTEM),
    )
    (project.cassettes / "README.md").write_text("mine")
    everything = files(project.cassettes)
    assert len(everything) == 5
    dry = project.process("prune", "--dry-run", *asking("Keep"))
    assert (dry.returncode, files(project.cassettes)) == (0, everything)
    assert dry.stdout.splitlines()[-1] == "2 recordings and 1 part would be removed, 1 recording left"
    done = project.process("prune", "cassettes", *asking("Keep"))
    assert done.returncode == 0, done.stderr
    said = done.stdout[done.stdout.index("cassettes/") :].splitlines()
    assert said == [
        "cassettes/default/openai-chat-gpt-4o-t1-2.json  not used",
        "cassettes/tests/test_gone/test_x/openai-chat-gpt-4o-t1-1.json  not used",
        "2 recordings and 1 part removed, 1 recording left",
    ]
    assert files(project.cassettes) == ["README.md", "default/openai-chat-gpt-4o-t1-1.json"]
    assert not (project.cassettes / "tests").exists()


KEPT = {
    "it fails": (asking("Keep", code=3), 3, "sh ended with exit code 3"),
    "an answer is missing": (
        [*asking("Keep")[:-1], asking("Other")[-1].replace("-sSf", "-sS")],
        100,
        "1 call has no recorded answer",
    ),
    "it asks for nothing": (["--", "true"], 100, "0 hits, at least 1 expected"),
    "it is not there": (["--", "no-such-command"], 127, "no-such-command: command not found"),
}


@pytest.mark.parametrize("why", KEPT)
def test_nothing_is_removed_after_a_command_when(why: str, project: Project) -> None:
    record(project.cassettes, recording("Keep"), recording("Drop", age=40 * DAY))
    command, code, expected = KEPT[why]
    done = project.process("prune", "--max-age", "30d", *command)
    assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
    assert "ai-cache: nothing is removed\n" in done.stderr
    assert len(files(project.cassettes)) == 2


def test_what_is_too_old_is_removed_and_what_cannot_be_read_stays(project: Project) -> None:
    old = (recording("Old", system=SYSTEM, age=40 * DAY), recording("Unread", system=SYSTEM, age=40 * DAY))
    record(project.cassettes, recording("New"), *old)
    broken = project.cassettes / "default" / "openai-chat-gpt-4o-t1-3.json"
    with broken.open("a") as file:
        file.write("<<<<<<< HEAD\n")
    (project.cassettes / "package.json").write_text("{}")
    done = project.ai_cache("prune", "--max-age", "30d")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "cassettes/default/openai-chat-gpt-4o-t1-2.json  40 d old",
        "1 recording and 0 parts removed, 1 recording left",
    ]
    left = files(project.cassettes)
    assert left[:3] == [f"default/openai-chat-gpt-4o-t1-{number}.json" for number in (1, 3)] + ["package.json"]
    assert len(left) == 4, "what cannot be read still names its part"


def test_age_counts_on_top_of_a_command(project: Project) -> None:
    record(project.cassettes, recording("Keep"), recording("Old", age=40 * DAY))
    done = project.process("prune", "--max-age", "30d", *asking("Keep", "Old"))
    assert done.stdout.splitlines()[-1] == "1 recording and 0 parts removed, 1 recording left"
    assert files(project.cassettes) == ["default/openai-chat-gpt-4o-t1-1.json"]


def test_parts_that_nothing_names_go_without_being_asked(project: Project) -> None:
    record(project.cassettes, recording("Keep"), recording("By hand", system=SYSTEM))
    (project.cassettes / "default" / "openai-chat-gpt-4o-t1-2.json").unlink()
    (project.cassettes / "parts" / "mine.txt").write_text("no part of ours")
    done = project.ai_cache("prune")
    assert (done.returncode, done.stdout) == (0, "0 recordings and 1 part removed, 1 recording left\n")
    assert "--max-age AGE or -- COMMAND" in done.stderr
    assert files(project.cassettes) == ["default/openai-chat-gpt-4o-t1-1.json", "parts/mine.txt"]


def test_what_a_recording_that_goes_on_has_used_stays(project: Project) -> None:
    record(project.cassettes, recording("Old", age=40 * DAY))
    (project.cassettes / ".used-1-aa").write_text("default/openai-chat-gpt-4o-t1-1.json\n")
    done = project.ai_cache("prune", "--max-age", "30d")
    assert "1 recording is left because another run uses it" in done.stderr
    assert len(files(project.cassettes)) == 1


UNPRUNABLE = {
    "no directory": (["none", "--max-age", "1d"], "none"),
    "no recordings": (["src", "--max-age", "1d"], "there are no recordings at src"),
    "another store": (["--store", "sqlite:///x.sqlite3", "--max-age", "1d"], "prune looks at cassettes"),
    "two places": (["src", "--store", "cassettes:src"], "write one of them"),
}


@pytest.mark.parametrize("wrong", UNPRUNABLE)
def test_where_nothing_can_be_pruned_one_line_says_so_and_nothing_is_made(wrong: str, project: Project) -> None:
    (project.root / "src").mkdir()
    (project.root / "src" / "code.py").write_text("")
    arguments, expected = UNPRUNABLE[wrong]
    assert expected in one_line(project.ai_cache("prune", *arguments))
    assert [path.name for path in (project.root / "src").iterdir()] == ["code.py"]
    assert not (project.root / "none").exists()
