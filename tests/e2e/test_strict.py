"""A replay fails closed: whatever is wrong with the recordings, nothing leaves the machine and the run fails."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import answers
import forked
from harness import BIN, REDIRECT, ROOT, FakeProviders
from offline import counting_packets, packets

pytestmark = pytest.mark.slow

AI_CACHE = str(BIN / "ai-cache")
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
CLIENT = (sys.executable, str(ROOT / "tests/support/plain_calls.py"))
HOSTS = ("https://api.openai.com/v1/chat/completions", "https://api.anthropic.com/v1/messages")
MISSED = 100
NEVER_STARTED = 125
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root without its right to read what nobody may read."""

Done = subprocess.CompletedProcess[str]


def call(url: str, body: str = "", method: str = "POST") -> dict[str, object]:
    return {"method": method, "url": url, "headers": {}, "body": base64.b64encode(body.encode()).decode()}


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What the client sends: four AI calls, one page of an AI host, one of a host that is none."""
    bodies = [{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]} for text in ("a", "b")]
    listed = [call(url, json.dumps(body)) for url in HOSTS for body in bodies]
    listed += [call("https://api.openai.com/v1/models", method="GET"), call("https://example.com/", method="GET")]
    (tmp_path / "calls").write_text(json.dumps(listed))
    return tmp_path / "calls"


@pytest.fixture
def recorded(environ: dict[str, str], providers: FakeProviders, calls: Path, tmp_path: Path) -> Path:
    """The calls are recorded, each once; the provider goes on listening for connections that must not come."""
    providers.answer = answers.answer
    command = [AI_CACHE, "record", "tapes", *WITH_PROVIDER, "--", *CLIENT, str(calls)]
    done = run_in(tmp_path, environ, command)
    assert done.returncode == 0, done.stderr
    assert "5 stored" in done.stderr
    providers.forget()
    providers.tls.connections = providers.plain.connections = 0
    return tmp_path / "tapes"


def emptied(tapes: Path) -> None:
    shutil.rmtree(tapes)
    tapes.mkdir()


def damaged(tapes: Path) -> None:
    for path in cassettes(tapes):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])


def of_another_world(tapes: Path) -> None:
    """Whole, and no cassettes: with the right name, and JSON."""
    for path in cassettes(tapes):
        path.write_text('{"version": 1, "interactions": [{"request": 5}]}')


def forbidden(tapes: Path) -> None:
    for path in cassettes(tapes):
        path.chmod(0)


def locked(tapes: Path) -> None:
    tapes.chmod(0)


def gone(tapes: Path) -> None:
    shutil.rmtree(tapes)


def no_directory(tapes: Path) -> None:
    shutil.rmtree(tapes)
    tapes.write_text("recordings")


def cassettes(tapes: Path) -> list[Path]:
    found = [path for path in tapes.rglob("*.json") if path.is_file()]
    assert len(found) == 5
    return found


def intact(tapes: Path) -> None:
    cassettes(tapes)


TWICE = 'python3 - "$1" <<< "import json,sys; p=sys.argv[1]; c=json.load(open(p)); json.dump(c+c,open(p,\'w\'))"'
CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str, int, str]] = {
    "empty": (emptied, (), "", MISSED, "5 calls have no recorded answer"),
    "exhausted": (intact, ("--set", "ai_cache_repeat=error"), TWICE, MISSED, "5 calls have no recorded answer"),
    "damaged": (damaged, (), "", MISSED, "cannot be read"),
    "of another world": (of_another_world, (), "", MISSED, "cannot be read"),
    "forbidden": (forbidden, (), "", MISSED, "cannot be read"),
    "removed meanwhile": (intact, (), "rm -rf tapes", MISSED, "5 calls have no recorded answer"),
    "locked meanwhile": (intact, (), "chmod 000 tapes", MISSED, "5 calls have no recorded answer"),
    "damaged meanwhile": (intact, (), "for f in tapes/*/*.json; do echo x > $f; done", MISSED, "5 calls have no"),
    "locked": (locked, (), "", NEVER_STARTED, "cannot read tapes"),
    "gone": (gone, (), "", NEVER_STARTED, "there are no recordings at tapes"),
    "no directory": (no_directory, (), "", NEVER_STARTED, "there are no recordings at tapes"),
}
"""What is wrong: before the run, with these options, by a command of the run; its exit code, and what it says."""


def command_of(case: str, calls: Path, tapes: Path) -> list[str]:
    spoil, options, meanwhile, _, _ = CASES[case]
    spoil(tapes)
    script = f'{meanwhile or ":"}; {" ".join(CLIENT)} "$1"; echo started'
    replay = (AI_CACHE, "replay", "tapes", *options, *WITH_PROVIDER)
    return [*AS_ANYBODY, *replay, "--", "bash", "-c", script, "x", str(calls)]


def run_in(folder: Path, environ: dict[str, str], command: list[str]) -> Done:
    return forked.run(command, env=environ, cwd=folder, timeout=90)


def assert_failed_closed(case: str, done: Done) -> None:
    *_, code, said = CASES[case]
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert ("started" in done.stdout) is (code == MISSED)
    if code == MISSED:
        results = json.loads(done.stdout.splitlines()[0])
        hits = [answer for answer in results if answer[1] == "HIT"]
        assert len(hits) == (5 if case == "exhausted" else 0)
        assert {status for status, cache, _ in results if cache != "HIT"} == {424}


needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")


@needs_setpriv
@pytest.mark.parametrize("case", CASES)
def test_no_provider_is_connected_to_and_the_run_fails(
    case: str, environ: dict[str, str], providers: FakeProviders, calls: Path, recorded: Path, tmp_path: Path
) -> None:
    """The provider stands ready under every name."""
    done = run_in(tmp_path, environ, command_of(case, calls, recorded))
    assert_failed_closed(case, done)
    assert (providers.tls.connections, providers.plain.connections) == (0, 0)
    assert providers.calls == []


@pytest.mark.slow
@needs_setpriv
@pytest.mark.parametrize("case", CASES)
def test_no_packet_leaves_the_machine(
    case: str, environ: dict[str, str], calls: Path, recorded: Path, tmp_path: Path
) -> None:
    """Every address of the world has a route, and what is sent there is counted: look-ups of names, too."""
    counts = tmp_path / "counts"
    done = run_in(tmp_path, environ, counting_packets(counts, *command_of(case, calls, recorded)))
    assert_failed_closed(case, done)
    assert packets(counts) == 0
    assert (packets(counts, "lo") > 0) is (CASES[case][3] == MISSED), "between client and proxy"


@pytest.mark.parametrize(("mode", "leave"), [("record", True), ("replay", False)])
def test_packets_that_leave_are_counted(mode: str, leave: bool, environ: dict[str, str], tmp_path: Path) -> None:
    """The measure itself: the same call to an address that nobody has."""
    listed = [call("https://203.0.113.9/v1/chat/completions", '{"model":"m","messages":[]}')]
    (tmp_path / "calls").write_text(json.dumps(listed))
    (tmp_path / "tapes").mkdir()
    client = ("timeout", "-s", "KILL", "3", *CLIENT, "calls")
    counts = tmp_path / "counts"
    run_in(tmp_path, environ, counting_packets(counts, AI_CACHE, mode, "tapes", "--", *client))
    assert (packets(counts) > 0) is leave
