"""A cloned repository with each setting: the start stops, or one line says what was ignored. Real proxies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from harness import BIN, REDIRECT, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.cli.project import SAFE
from mitmproxy_ai_cache.configuration.options import LIST, OPTIONS
from mitmproxy_ai_cache.wire.messages import Request

OPENAI = "https://api.openai.com/v1/chat/completions"
CURL = ("curl", "-sS", OPENAI, "-H", "content-type: application/json", "-d", '{"model":"m","messages":[]}')
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
UNSAFE = [name for option in OPTIONS if (name := option.name.removeprefix("ai_cache_")) not in SAFE]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _answers(providers: FakeProviders) -> None:
    """Each answer says which one it is."""

    def answer(request: Request) -> Reply:
        content = f"bought {len(providers.calls)}"
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        return Reply([json.dumps({"choices": [choice]}).encode()])

    providers.answer = answer


class Listener:
    """A port of somebody else. Nothing of ours may connect to it."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.connections += 1


@pytest.fixture
def stranger() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.socket.close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture
def run(environ: dict[str, str], repository: Path) -> Run:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return forked.run([str(BIN / "ai-cache"), *arguments], env=environ | more, timeout=90, cwd=repository)

    return run


def write(folder: Path, **settings: Any) -> None:
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (folder / "ai-cache.toml").write_text(text)


def hostile(name: str, port: int) -> Any:
    """A value that would do harm."""
    harm: dict[str, Any] = {
        "store": f"redis://127.0.0.1:{port}",
        "mode": "off",
        "dashboard": f"127.0.0.1:{port + 1 if port < 65535 else port - 1}",
        "encryption_key": "00" * 32,
        "bypass_on": ["content-type=*"],
        "max_size": "1",
        "max_body": "1",
        "fail_mode": "error",
        "websocket": "pass",
    }
    if name in harm:
        return harm[name]
    option = next(option for option in OPTIONS if option.name == f"ai_cache_{name}")
    if option.type is LIST:
        return ["*=x"] if name == "alias" else ["*"]
    if option.type is bool:
        return not option.default
    return option.default or ("x" if option.type is str else 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNSAFE)
def test_a_hostile_setting_stops_the_start_or_is_ignored_and_named(
    run: Run, repository: Path, providers: FakeProviders, stranger: Listener, tmp_path: Path, name: str
) -> None:
    write(repository, **{name: hostile(name, stranger.port)})
    for command in ("run", "record", "replay"):
        stopped = run(command, *WITH_PROVIDER, "--", "touch", "started")
        assert stopped.returncode == 125
        assert stopped.stderr.count("\n") == 1
        assert f"need your trust: {name}; read the file, then run: ai-cache trust;" in stopped.stderr
        assert "--ignore-project" in stopped.stderr
    served = run("serve", "--port", "0", *WITH_PROVIDER)
    assert (served.returncode, f"need your trust: {name};" in served.stderr) == (125, True)
    assert os.listdir(repository) == ["ai-cache.toml"]

    on = run("run", "--ignore-project", *WITH_PROVIDER, "--", *CURL)
    assert (on.returncode, "bought 1" in on.stdout) == (0, True), on.stderr
    first = on.stderr.splitlines()[0]
    assert first == f"ai-cache: ignored settings of {repository / 'ai-cache.toml'}: {name} (--ignore-project)"
    again = run("run", "--ignore-project", *WITH_PROVIDER, "--", *CURL)
    assert ("bought 1" in again.stdout, "1 HIT" in again.stderr) == (True, True), "as without the file"
    assert (len(providers.calls), stranger.connections) == (1, 0)
    assert "status page" not in on.stderr
    assert os.listdir(repository) == ["ai-cache.toml"]


@pytest.mark.slow
def test_the_commands_that_look_into_a_store_connect_to_none_of_a_repository(
    run: Run, repository: Path, stranger: Listener, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "x.json").write_text("precious")
    for store in (f"redis://127.0.0.1:{stranger.port}", f"cassettes:{mine}", f"sqlite:///{mine}/x.json"):
        write(repository, store=store)
        for command in (
            ["ls"], ["show", "abcd"], ["grep", "x"], ["stats"], ["rm", "--all"], ["export", "x.jsonl"],
            ["import", "ai-cache.toml"], ["prune", "--max-age", "1s"], ["prune", "--", "true"], ["diff"],
            ["explain", "ai-cache.toml"],
        ):  # fmt: skip
            done = run(*command)
            assert done.returncode in (2, 125), command
            assert "need your trust: store;" in done.stderr or command[0] == "explain", command
        assert "need your trust: store;" in run("doctor").stdout
    assert stranger.connections == 0
    assert [(file.name, file.read_text()) for file in mine.iterdir()] == [("x.json", "precious")]


@pytest.mark.slow
def test_answers_that_a_repository_brings_do_not_answer_in_run_and_serve_without_trust(
    run: Run, repository: Path, providers: FakeProviders, environ: dict[str, str], tmp_path: Path
) -> None:
    write(repository, store="sqlite:///planted.db")
    planted = run("run", "--trust=all", *WITH_PROVIDER, "--", *CURL)
    assert "bought 1" in planted.stdout
    twice = ("sh", "-c", " ".join(f"'{word}'" for word in CURL) + "; " + " ".join(f"'{word}'" for word in CURL))
    untrusted = run("run", *WITH_PROVIDER, "--", *twice)
    assert untrusted.stdout.count("bought 2") == 2, "what this run keeps answers this run"
    assert untrusted.stderr.splitlines()[0] == (
        f"ai-cache: settings from {repository / 'ai-cache.toml'}: store; answers that were in this store before do not "
        "count until you run: ai-cache trust"
    )
    served = Process(
        [
            str(BIN / "ai-cache"),
            "serve",
            "--port",
            "0",
            *WITH_PROVIDER,
            "--store",
            f"sqlite:///{repository}/planted.db",
        ],
        environ,
        tmp_path / "data" / "ai-cache" / "ca",
    ).start()
    served.stop()
    assert "bought 3" in run("run", *WITH_PROVIDER, "--", *CURL).stdout
    assert run("trust").returncode == 0
    answered = run("run", *WITH_PROVIDER, "--", *CURL)
    assert ("bought 3" in answered.stdout, "1 HIT" in answered.stderr) == (True, True)
    assert len(providers.calls) == 3


@pytest.mark.slow
def test_cassettes_of_a_repository_answer_in_replay_and_after_trust_in_run(
    run: Run, repository: Path, providers: FakeProviders
) -> None:
    write(repository, store="cassettes:tapes", ttl="1h")
    assert run("record", *WITH_PROVIDER, "--", *CURL).returncode == 0
    replayed = run("replay", "--", *CURL)
    assert (replayed.returncode, "bought 1" in replayed.stdout) == (0, True)
    file = repository / "ai-cache.toml"
    assert replayed.stderr.splitlines()[0] == f"ai-cache: settings from {file}: store, ttl"
    for ci in ("", "true"):
        stopped = run("run", *WITH_PROVIDER, "--", *CURL, CI=ci)
        assert (stopped.returncode, stopped.stdout) == (125, "")
        assert "do not answer in run without trust" in stopped.stderr
    ignored = run("run", "--ignore-project", *WITH_PROVIDER, "--", *CURL, CI="true")
    assert (ignored.stdout, ignored.returncode) == ("", 125), "a replay was meant, and your own store is empty"
    assert run("trust").returncode == 0
    answered = run("run", *WITH_PROVIDER, "--", *CURL)
    assert "bought 1" in answered.stdout
    assert "which you trust: store, ttl" in answered.stderr.splitlines()[0]
    assert len(providers.calls) == 1


@pytest.fixture
def run_pytest(environ: dict[str, str], repository: Path, tmp_path: Path) -> Run:
    """pytest in the repository with the plugin, whose proxy reaches the fake provider."""
    script = tmp_path / "ai-cache"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = serve ]; then shift; set -- serve --set "scripts={REDIRECT}" "$@"; fi\n'
        f'exec "{BIN / "ai-cache"}" "$@"\n'
    )
    script.chmod(0o755)
    test = f"import subprocess\n\ndef test_it():\n    assert 'bought' in subprocess.check_output({CURL!r}, text=True)\n"
    (repository / "test_it.py").write_text(test)
    (repository / "pytest.ini").write_text("[pytest]\n")

    def run_pytest(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "pytest_ai_cache.plugin", "-p", "no:cacheprovider", *arguments],
            env={**environ, "AI_CACHE_COMMAND": str(script), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **more},
            capture_output=True,
            text=True,
            timeout=120,
            cwd=repository,
            check=False,
        )

    return run_pytest


@pytest.mark.slow
def test_the_plugin_stops_or_says_what_it_ignored(
    run: Run, run_pytest: Run, repository: Path, providers: FakeProviders, stranger: Listener
) -> None:
    port = stranger.port + 1 if stranger.port < 65535 else stranger.port - 1
    write(repository, store="cassettes:tapes", samples=1, dashboard=f"127.0.0.1:{port}")
    stopped = run_pytest()
    assert stopped.returncode == 4
    assert "need your trust: dashboard; read the file, then run: ai-cache trust;" in stopped.stderr
    assert "--ignore-project" in stopped.stderr
    assert not providers.calls
    for flag in ("--ignore-project", "--ai-cache-ignore-project"):
        on = run_pytest(flag)
        assert on.returncode == 0, on.stdout
        told = "store, samples; ignored settings: dashboard (--ignore-project)"
        assert f"ai-cache: settings from {repository / 'ai-cache.toml'}: {told}\n" in on.stdout
    assert len(providers.calls) == 1, "its recordings answer"
    assert run_pytest("--ai-cache=replay", AI_CACHE_TRUST="0" * 64).returncode == 4
    printed = run("trust", "--print").stdout.strip()
    assert run_pytest("--ai-cache=replay", AI_CACHE_TRUST=printed).returncode == 0
