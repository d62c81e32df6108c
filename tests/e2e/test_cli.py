"""The command line, as a user meets it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import forked
from harness import BIN, REDIRECT, ROOT, Client, FakeProviders, Process
from mitmproxy_ai_cache.cli import COMMANDS
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.cli.options import markdown

AI_CACHE = str(BIN / "ai-cache")
OPENAI = "https://api.openai.com/v1/chat/completions"
CHAT = '{"model":"m","messages":[]}'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    providers.answer = lambda request: Reply([ANSWER])


def curl(*more: str) -> tuple[str, ...]:
    return ("curl", "-sS", *more, OPENAI, "-H", "content-type: application/json", "-d", CHAT)


WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")


def test_run_caches_what_the_command_asks(run: Run, providers: FakeProviders, environ: dict[str, str]) -> None:
    first = forked.run([AI_CACHE, "run", *WITH_PROVIDER, "--", *curl()], anew=True, env=environ, timeout=90)
    assert (first.returncode, first.stdout) == (0, ANSWER.decode()), first.stderr
    assert "1 AI call: 1 MISS; 1 stored" in first.stderr
    second = run("run", *WITH_PROVIDER, "-v", "--", *curl("-i"))
    assert "x-ai-cache-status: HIT" in second.stdout
    assert re.search(r"ai-cache: HIT [0-9a-f]{12} openai-chat m whole api.openai.com", second.stderr)
    assert "1 AI call: 1 HIT; 0 stored" in second.stderr
    assert len(providers.calls) == 1


@pytest.mark.thorough
def test_the_first_line_says_mode_store_and_entries(run: Run, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/s.sqlite3"
    run("run", *WITH_PROVIDER, "--store", store, "--", *curl())
    again = run("run", "--store", store, "--mode", "read-only", "--", "true")
    assert again.stderr.splitlines()[0] == f"ai-cache: mode read-only, store {store}, 1 entry"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["true"], 0),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -15 $$"], 143),
    ],
)
def test_run_returns_the_exit_code_of_the_command(command: list[str], code: int, run: Run) -> None:
    assert run("run", "--store", "memory:", "--", *command).returncode == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "no command; write ai-cache run -- COMMAND"),
        (["run", "--mode", "bad", "--", "true"], "invalid choice: 'bad'"),
        (["run", "--store", "x:", "--", "true"], "write sqlite:///PATH"),
        (["run", "--set", "nonsense=1", "--", "true"], "there is no option 'nonsense'"),
        (["run", "--set", "ai_cache_tll=1h", "--", "true"], "did you mean ai_cache_ttl"),
        (["run", "--set", "ai_cache_samples=x", "--", "true"], "write a whole number"),
        (["run", "--port", "x", "--", "true"], "write a number from 0 to 65535"),
    ],
)
@pytest.mark.thorough
def test_a_wrong_call_starts_nothing_and_says_what_to_write(arguments: list[str], says: str, run: Run) -> None:
    done = run(*arguments)
    assert done.returncode == 125
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_mistyped_variable_is_warned_of_at_the_start(log_format: str, run: Run) -> None:
    done = run("run", "-q", "--store", "memory:", "--log-format", log_format, "--", "true", AI_CACHE_TLL="1h")
    assert done.returncode == 0
    assert "the variable AI_CACHE_TLL does nothing; did you mean AI_CACHE_TTL?" in done.stderr.splitlines()[0]


@pytest.mark.thorough
def test_a_taken_port_is_said(run: Run) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 125
    assert "--port 0 takes a free port" in done.stderr


def test_the_private_key_is_readable_by_its_owner_only(run: Run, tmp_path: Path) -> None:
    run("run", "--store", "memory:", "--", "true", XDG_DATA_HOME=str(tmp_path / "new"))
    folder = tmp_path / "new" / "ai-cache" / "ca"
    assert stat.S_IMODE((folder / "mitmproxy-ca.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_bundle_holds_the_roots_the_environment_already_named(run: Run, providers: FakeProviders) -> None:
    shown = run("run", "--store", "memory:", "--", "sh", "-c", 'cat "$SSL_CERT_FILE" "$REQUESTS_CA_BUNDLE"').stdout
    assert providers.tls.ca.read_text().strip() in shown


@pytest.mark.thorough
def test_control_c_reaches_the_command_once_and_leaves_no_process(environ: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(
        "import signal,sys,time\ncount=[]\nsignal.signal(signal.SIGINT, lambda *a: count.append(1))\n"
        "print('ready', flush=True)\n"
        "while not count: time.sleep(0.01)\n"
        "time.sleep(0.5); print('interrupts', len(count), flush=True); sys.exit(3)"
    )
    process = forked.popen(
        [AI_CACHE, "run", "--store", "memory:", "--", sys.executable, str(script)],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (3, "interrupts 1\n"), errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.thorough
def test_serve_runs_until_it_is_told_to_stop(environ: dict[str, str], tmp_path: Path) -> None:
    arguments = [AI_CACHE, "serve", "--port", "0", *WITH_PROVIDER]
    served = Process(arguments, environ, tmp_path / "data" / "ai-cache" / "ca", anew=True).start()
    client = Client(served.port, served.ca)
    assert [client.request(OPENAI, CHAT.encode()).cache for _ in range(2)] == ["MISS", "HIT"]
    client.close()
    assert served.stop(signal.SIGINT) == 0
    served.wait_for(re.compile("2 AI calls: 1 HIT, 1 MISS; 1 stored"))


def test_a_stream_that_the_end_cuts_is_counted(
    environ: dict[str, str], tmp_path: Path, providers: FakeProviders
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
        await asyncio.sleep(600)

    providers.answer = lambda request: Reply(
        chunks(), headers=(("content-type", "text/event-stream"),), framing="chunked"
    )
    arguments = [AI_CACHE, "serve", "--port", "0", *WITH_PROVIDER]
    served = Process(arguments, environ, tmp_path / "data" / "ai-cache" / "ca").start()
    body = b'{"model":"m","messages":[],"stream":true}'
    command = ["curl", "-sN", "-x", served.url, "--cacert", str(served.ca), OPENAI, "-d", body.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as client:
        assert client.stdout is not None
        assert client.stdout.readline()
        assert served.stop(signal.SIGINT) == 0
    served.wait_for(re.compile("MISS .*not stored: truncated"))
    served.wait_for(re.compile("1 AI call: 1 MISS; 0 stored"))


def test_where_nothing_can_be_recorded_nothing_is_bought(run: Run, tmp_path: Path, providers: FakeProviders) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("record", "file/below", *WITH_PROVIDER, "--", *curl())
    assert (done.returncode, done.stdout, len(providers.calls)) == (125, "", 0)
    assert done.stderr == "ai-cache: no recordings can be made at file/below: Not a directory\n"


def test_a_recording_that_cannot_be_written_fails_its_run(run: Run, tmp_path: Path) -> None:
    command = f"rm -r tapes; touch tapes; {shlex.join(curl())}"
    done = run("record", "tapes", *WITH_PROVIDER, "--", "sh", "-c", command)
    assert (done.returncode, '"hi"' in done.stdout) == (100, True)
    assert "1 AI call: 1 MISS; 0 stored" in done.stderr
    assert "record failed: 1 answer could not be written" in done.stderr


def test_settings_come_from_flag_then_environment_then_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ai-cache.toml").write_text(
        'ttl = "3d"\nsamples = 4\nstore = "sqlite:///here.sqlite3"\nignore = ["a.b"]\n'
    )
    shown = run("config", "--set", "ai_cache_samples=2", AI_CACHE_TTL="5d").stdout
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert re.search(r"\b2 +--set$", lines["ai_cache_samples"])
    assert re.search(r"\b5d +environment AI_CACHE_TTL$", lines["ai_cache_ttl"])
    assert f"sqlite:///{tmp_path}/here.sqlite3" in lines["ai_cache_store"]
    assert lines["ai_cache_ignore"].endswith("ai-cache.toml")
    assert lines["ai_cache_mode"].endswith("default")
    (tmp_path / "ai-cache.toml").write_text("tll = 1\n")
    assert "there is no setting 'tll'" in run("config").stderr


@pytest.mark.thorough
def test_the_demo_ends_with_every_second_call_a_hit(run: Run) -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("MISS") == done.stdout.count("HIT") == 4
    assert "8 calls, 4 of them reached the provider" in done.stdout


def test_the_readme_has_the_options_as_they_are() -> None:
    assert markdown() in (ROOT / "README.md").read_text("utf-8"), "run: ai-cache options --markdown"


@pytest.mark.thorough
def test_every_command_explains_itself(environ: dict[str, str]) -> None:
    for command in COMMANDS:
        done = forked.run([AI_CACHE, command, "--help"], anew=True, env=environ, timeout=90)
        assert done.stdout.startswith(f"usage: ai-cache {command}"), done.stderr


@pytest.mark.thorough
def test_commands_that_need_no_proxy_do_not_wait_for_mitmproxy(environ: dict[str, str]) -> None:
    code = "import sys; from mitmproxy_ai_cache.cli import rm, explain, diff, scan; print('mitmproxy' in sys.modules)"
    done = forked.run([sys.executable, "-c", code], env=environ, timeout=90)
    assert done.stdout == "False\n", done.stderr


def test_what_a_command_lists(run: Run) -> None:
    assert "claude-code@1" in run("profiles").stdout
    assert Path(run("addon-path").stdout.strip()).name == "mitm.py"
