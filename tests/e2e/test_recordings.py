"""A team's test suite: recorded once against the providers, replayed with no network and no key, kept in git."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

import answers
import forked
from harness import BIN, REDIRECT, ROOT, FakeProviders, plain_environ
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from offline import without_network
from unit.redact.test_redact import BY_THEIR_SHAPE, HEX, PLACES, RANDOM, TEXTS, readings

pytestmark = pytest.mark.slow

AI_CACHE = str(BIN / "ai-cache")
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
SUITE = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
TESTS = 13
CALLS = 14
KEYS = {
    "OPENAI_API_KEY": "sk-" + "proj-" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1EvQk",
    "ANTHROPIC_API_KEY": "sk-" + "ant-api03-" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1EvQk-AA",
    "GOOGLE_API_KEY": "AI" + "za" + "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5Mo",
    "AWS_ACCESS_KEY_ID": "AK" + "IA" + "Q3EGPK7V2NXR4M5T",
    "AWS_SECRET_ACCESS_KEY": "q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1Ev",
}
"""What a developer who records has, and nobody who replays."""

Done = subprocess.CompletedProcess[str]


def git(folder: Path, *arguments: str) -> str:
    named = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "core.autocrlf=false")
    done = subprocess.run(["git", *named, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "as it is")


def ai_cache(environ: dict[str, str], folder: Path, *arguments: str, offline: bool = False, **more: str) -> Done:
    """`ai-cache` in a folder. `environ` says which provider there is; keys come with `more`."""
    command = [AI_CACHE, *arguments]
    return forked.run(
        without_network(*command) if offline else command,
        # The plugins of our own tests take most of a second to import.
        env=environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | more,
        cwd=folder,
        timeout=240,
    )


@pytest.fixture
def play(environ: dict[str, str]) -> Callable[..., Done]:
    return partial(ai_cache, environ)


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite as a git repository with its recordings. Its providers are gone."""
    home = tmp_path_factory.mktemp("recorded")
    project = home / "project"
    shutil.copytree(ROOT / "tests" / "support" / "demo_project", project, ignore=shutil.ignore_patterns("__pycache__"))
    git(project, "init", "-q")
    providers = FakeProviders(home / "provider")
    providers.answer = Moody()
    environ = plain_environ(home, **providers.environment(), SSL_CERT_FILE=str(providers.tls.ca))
    done = ai_cache(environ, project, "record", "cassettes", *WITH_PROVIDER, "--", *SUITE, **KEYS)
    providers.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    assert len(providers.calls) == CALLS + 1, "the refused one was asked again"
    commit(project)
    return project


@pytest.fixture
def project(recorded_once: Path, tmp_path: Path) -> Path:
    """As somebody else cloned it."""
    git(tmp_path, "clone", "-q", str(recorded_once), "clone")
    return tmp_path / "clone"


class Moody:
    """Answers end with the last word of what was asked, a die never falls the same way, and the first call to a busy
    model is refused."""

    def __init__(self) -> None:
        self.asked: Counter[bytes] = Counter()

    def __call__(self, request: Request) -> Reply:
        body = request.body or b""
        self.asked[body] += 1
        if b"busy" in body and self.asked[body] == 1:
            refusal = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}'
            return Reply([refusal], 429, headers=(("content-type", "application/json"), ("retry-after-ms", "1")))
        if b'"max_tokens":-1' in body:
            mistake = {"type": "invalid_request_error", "message": "max_tokens: must be greater than 0"}
            return Reply([json.dumps({"type": "error", "error": mistake}).encode()], 400)
        reply = answers.answer(request)
        if reply.framing != "length":
            return reply
        assert isinstance(reply.chunks, list)
        words = re.findall(rb'[\w.?]+(?=")', re.sub(rb'"(?:model|role)":\s*"[^"]*"', b"", body)) or [b"hi"]
        said = [
            chunk.replace(b'"hi"', b'"%s"' % words[-1]).replace(b'"i"', b'"%s"' % words[-1]) for chunk in reply.chunks
        ]
        numbered = [chunk.replace(b'"id": "c"', b'"id": "c%d"' % self.asked[body]) for chunk in said]
        return replace(reply, chunks=numbered)


def assert_unchanged(project: Path) -> None:
    """Nothing that git knows has changed, and nothing is new."""
    assert git(project, "status", "--porcelain", "--untracked-files=all") == ""


# A suite of four SDKs


def test_a_recorded_suite_passes_without_network_providers_and_keys(project: Path, play: Callable[..., Done]) -> None:
    done = play(project, "replay", "cassettes", "--strict-unused", "--", *SUITE, offline=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    assert f"{CALLS} AI calls: {CALLS} HIT; 0 stored" in done.stderr
    assert_unchanged(project)


@pytest.mark.slow
def test_so_it_does_with_two_workers(project: Path, play: Callable[..., Done]) -> None:
    done = play(project, "replay", "cassettes", "--", *SUITE, "-p", "xdist", "-n", "2", offline=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{TESTS} passed" in done.stdout
    assert f"{CALLS} AI calls: {CALLS} HIT; 0 stored" in done.stderr
    assert_unchanged(project)


@pytest.mark.slow
def test_without_recordings_every_test_fails_and_says_why(project: Path, play: Callable[..., Done]) -> None:
    for path in (project / "cassettes").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = play(project, "replay", "cassettes", "--", *SUITE, "--tb=short", offline=True)
    assert done.returncode == 1, "pytest's own exit code"
    assert f"{TESTS} failed" in done.stdout
    failures = re.split(r"^_{3,} .* _{3,}$", done.stdout.partition("short test summary")[0], flags=re.MULTILINE)[1:]
    assert len(failures) == TESTS
    for failure in failures:
        assert "no recorded answer for" in failure
        assert "nothing is recorded at all" in failure
    assert f"replay failed: {TESTS} calls have no recorded answer" in done.stderr


@pytest.mark.slow
def test_recording_again_buys_and_changes_nothing(
    project: Path, providers: FakeProviders, play: Callable[..., Done]
) -> None:
    again = play(project, "record", "cassettes", *WITH_PROVIDER, "--", *SUITE, **KEYS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert providers.tls.connections == 0
    assert_unchanged(project)


@pytest.mark.slow
def test_buying_everything_again_changes_the_same_files(
    project: Path, providers: FakeProviders, play: Callable[..., Done]
) -> None:
    """Errors, too: the one that a test expects is bought again, the 429 that a retry followed is not kept."""
    providers.answer = Moody()
    again = play(project, "record", "--refresh", "cassettes", *WITH_PROVIDER, "--", *SUITE, **KEYS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(providers.calls) == CALLS + 1
    assert f"{CALLS + 1} REFRESH; {CALLS + 1} stored" in again.stderr
    providers.stop()
    assert {line[:3] for line in git(project, "status", "--porcelain").splitlines()} <= {" M "}
    done = play(project, "replay", "cassettes", "--strict-unused", "--", *SUITE, offline=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Secrets


BEARERS = tuple(
    """
    authorization x-api-key api-key x-goog-api-key cookie x-portkey-virtual-key x-auth-token x-litellm-key
    x-functions-key private-token
    """.split()
)
BY_THEIR_HEADER = {f"header {name}": RANDOM[number : number + 20] for number, name in enumerate(BEARERS, 7)}
"""Of no shape that anybody knows: only the name of the field says what they are."""
ALL = {name: secret for name, (_, secret) in TEXTS.items()} | BY_THEIR_HEADER
PATH = "https://api.openai.com/v1/"
TYPES = {"multipart": "multipart/form-data; boundary=x1", "sse": "text/event-stream"} | dict.fromkeys(
    ("eventstream", "bedrock chunks"), "application/vnd.amazon.eventstream"
)
"""What a body of that place says it is; the others are JSON or text."""


def another(name: str, secret: str) -> str:
    """A secret of the same kind that is not the same one: its random part is."""
    if name.startswith(("jwt", "basic-credential")):  # base64 of something random
        head, dot, tail = secret.rpartition(".")
        return head + dot + base64.b64encode(base64.b64decode(tail + "==").swapcase()).decode().rstrip("=")
    for source in (HEX, RANDOM, RANDOM.lower(), "Q3EGPK7V2NXR4M5T"):
        found = SequenceMatcher(None, secret, source, autojunk=False).find_longest_match()
        if found.size > 8:
            part = secret[found.a : found.a + found.size]
            return secret[: found.a] + part[::-1] + secret[found.a + found.size :]
    raise AssertionError(name)


def calls_with(secrets: dict[str, str]) -> list[dict[str, object]]:
    """Each secret in each place of a body, as a credential, in the URL, and in what gateways are told."""
    calls: list[dict[str, object]] = []

    def call(path: str, body: bytes, method: str = "POST", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        calls.append({"method": method, "url": PATH + path, "headers": fields, "body": base64.b64encode(body).decode()})

    for name, (text, _) in TEXTS.items():
        said = text.format(secrets[name])
        for place, planted in PLACES.items():
            path = "chat/completions" if "json" in place else f"files/{quote(place)}"
            call(
                path,
                planted(said),
                content_type=TYPES.get(place, "application/json" if "json" in place else "text/plain"),
            )
        call("responses", gzip.compress(PLACES["json"](said)), content_type="application/json", content_encoding="gzip")
    for header in BEARERS:
        call("chat/completions", PLACES["json"]("hello"), **{header: secrets[f"header {header}"]})
    for name in BY_THEIR_SHAPE:
        secret = secrets[name]
        call(f"files/{secret}", b"{}", "GET", **{"x-portkey-config": json.dumps({"api_key": secret})})
        call(f"files?key={secret}&sig={secret}&alt=sse", b"", "GET", referer=f"https://ada:{secret}@x.example/")
        for header in BEARERS:
            scheme = {"authorization": "Bearer ", "cookie": "sid="}.get(header, "")
            call("chat/completions", PLACES["json"]("hello"), **{header: scheme + secret})
    return calls


def echo(request: Request) -> Reply:
    """The same secrets in the answer: in its body, coded as the request's, and in fields that are kept."""
    coding = request.headers.get("content-encoding")
    fields = [("content-type", request.headers.get("content-type") or "application/json")]
    fields += [("content-encoding", coding)] if coding else []
    said = request.headers.get("authorization").removeprefix("Bearer ")
    fields += [("x-request-id", said), ("location", f"https://x.example/?sig={said}")] if said else []
    return Reply([request.body or b'{"ok":true}'], headers=fields)


@pytest.mark.slow
def test_no_planted_secret_is_in_the_files_and_other_keys_find_the_same_answers(
    play: Callable[..., Done], providers: FakeProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = ALL, {name: another(name, secret) for name, secret in ALL.items()}
    assert len(set(ours.values())) >= 60
    assert not set(ours.values()) & set(theirs.values())
    calls = calls_with(ours)
    (tmp_path / "ours").write_text(json.dumps(calls))
    (tmp_path / "theirs").write_text(json.dumps(calls_with(theirs)))
    client = (sys.executable, str(ROOT / "tests/support/plain_calls.py"))
    providers.answer = echo
    done = play(tmp_path, "record", "tapes", *WITH_PROVIDER, "--", *client, "ours")
    assert done.returncode == 0, done.stderr
    assert f"{len(calls)} stored" in done.stderr, done.stderr
    assert len(providers.calls) == len(calls)
    sent = [answer for _, _, answer in json.loads(done.stdout)]
    assert sent == [call["body"] or base64.b64encode(b'{"ok":true}').decode() for call in calls], "as they were sent"
    providers.stop()

    pieces = sorted({piece for secret in ours.values() for piece in secret.split("\n")})
    (tmp_path / "pieces").write_text("\n".join(pieces) + "\n")
    grep = ["grep", "-rF", "-f", str(tmp_path / "pieces"), str(tmp_path / "tapes")]
    found = subprocess.run(grep, capture_output=True, check=False)
    assert found.returncode == 1, found.stdout[:2000]
    planted = re.compile(b"|".join(re.escape(piece.encode()) for piece in pieces))
    files = [path for path in (tmp_path / "tapes").rglob("*") if path.is_file()]
    for path in files:
        for reading in readings(path.read_bytes(), 3):
            assert planted.search(reading) is None, (path, reading[:300])
    scanned = play(tmp_path, "scan", "tapes")
    assert scanned.returncode == 0, scanned.stdout
    assert "no secrets in" in scanned.stderr

    again = play(tmp_path, "replay", "tapes", "--strict-unused", "--", *client, "theirs", offline=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {(status, cache) for status, cache, _ in json.loads(again.stdout)} == {(200, "HIT")}
    with capsys.disabled():
        kinds = {name.split()[0] for name in ours}
        print(f"\n{len(ours)} secrets of {len(kinds)} kinds in {len(calls)} calls, {len(files)} files")


# A changed prompt in a pull request


CHANGED = 400


def prompts(word: str) -> list[dict[str, object]]:
    """A system prompt that all calls share, with `word` in it, and a question each; half of them are streams."""
    calls = []
    for number in range(CHANGED):
        said = f"You are a {word} assistant of the help desk. Answer in one sentence, and never guess."
        asked = f"Ticket {number}: the printer on floor {number % 7} prints nothing but {'stripes' * (number % 3 + 1)}."
        messages = [{"role": "system", "content": said}, {"role": "user", "content": asked}]
        body = json.dumps({"model": "gpt-5-mini", "messages": messages, "stream": number % 2 == 1}).encode()
        headers = {"content-type": "application/json"}
        body_text = base64.b64encode(body).decode()
        calls.append({"method": "POST", "url": PATH + "chat/completions", "headers": headers, "body": body_text})
    return calls


@pytest.mark.slow
def test_one_word_changed_in_400_prompts_shows_as_400_changed_files(
    play: Callable[..., Done], providers: FakeProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    providers.answer = Moody()
    git(tmp_path, "init", "-q")
    for word in ("helpful", "careful"):
        (tmp_path / "calls").write_text(json.dumps(prompts(word)))
        client = (sys.executable, str(ROOT / "tests/support/plain_calls.py"), "calls")
        done = play(tmp_path, "record", "tapes", *WITH_PROVIDER, "--", *client)
        assert f"{CHANGED} stored" in done.stderr, done.stderr
        if word == "helpful":
            git(tmp_path, "add", "tapes")
            git(tmp_path, "commit", "-q", "-m", "recorded")
    status = Counter(line[:3] for line in git(tmp_path, "status", "--porcelain", "tapes").splitlines())
    git(tmp_path, "add", "tapes")
    lines = git(tmp_path, "diff", "--cached", "--name-status", "-M", "tapes").splitlines()
    changes = Counter(line.split("\t")[0] for line in lines)
    patch = git(tmp_path, "diff", "--cached", "--unified=0", "tapes")
    removed, added = (len(re.findall(rf"^\{sign}[^{sign}]", patch, re.MULTILINE)) for sign in "-+")
    with capsys.disabled():
        print(f"\n{dict(status)} before, {dict(changes)} with -M; {removed} lines removed, {added} added")
    assert status == {" M ": CHANGED}
    assert changes == {"M": CHANGED}
    assert not re.search(r"^[-+].*Ticket", patch, re.MULTILINE), "each file is still of the same question"
    replayed = play(tmp_path, "replay", "tapes", "--strict-unused", "--", *client, offline=True)
    assert replayed.returncode == 0, replayed.stderr
    assert f"{CHANGED} HIT" in replayed.stderr
