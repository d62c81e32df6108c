"""The pytest plugin: real pytest runs in a project of their own, with the openai SDK, on the fake provider."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import forked
from asking import outward_address
from harness import BIN, REDIRECT, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = pytest.mark.slow

Result = subprocess.CompletedProcess[str]
Pytest = Callable[..., Result]

CALLS = """
import json, urllib.request

def ask(text):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    url = "https://api.openai.com/v1/chat/completions"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]

def ask_by_sdk(text):
    import openai
    messages = [{"role": "user", "content": text}]
    answer = openai.OpenAI(max_retries=0).chat.completions.create(model="m", messages=messages)
    return answer.choices[0].message.content
"""


@pytest.fixture(autouse=True)
def _counting(providers: FakeProviders) -> None:
    """Every answer is another one, and says what was asked."""

    def answer(request: Request) -> Reply:
        asked = json.loads(request.body or b"{}")["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{asked}! ({len(providers.calls)})"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Reply([json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()])

    providers.answer = answer


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "tests").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = ignore\n")
    (folder / "calls.py").write_text(CALLS)
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """An `ai-cache` whose proxy reaches the fake provider."""
    script = tmp_path / "ai-cache"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = serve ]; then shift; set -- serve --set "scripts={REDIRECT}" "$@"; fi\n'
        f'exec "{BIN / "ai-cache"}" "$@"\n'
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def run_pytest(environ: dict[str, str], project: Path, command: Path) -> Pytest:
    def run_pytest(*arguments: str, before: tuple[str, ...] = (), **more: str) -> Result:
        variables = {**environ, "AI_CACHE_COMMAND": str(command), "OPENAI_API_KEY": "sk-real", **more}
        variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # importing what our own tests have takes most of a second
        plugins = ("-p", "xdist", "-p", "pytest_ai_cache.plugin", "-p", "no:cacheprovider")
        started = [*before, sys.executable, "-m", "pytest", *plugins]
        return subprocess.run(
            [*started, *arguments], env=variables, capture_output=True, text=True, timeout=120, cwd=project, check=False
        )

    return run_pytest


def write(project: Path, text: str, name: str = "tests/test_a.py") -> None:
    (project / name).write_text(text)


def curl(*arguments: str) -> Result:
    return subprocess.run(["curl", "-s", *arguments], capture_output=True, text=True, check=False)


def counted(done: Result) -> str:
    """The plugin's own line of the summary."""
    found = re.findall(r"^ai-cache: (\d.*), cassettes at", done.stdout, re.MULTILINE)
    assert len(found) == 1, done.stdout + done.stderr
    return str(found[0])


TWO_TESTS = """
from calls import ask

def test_one():
    assert ask("one").startswith("one!")

def test_same_call_twice():
    first, second = ask("same"), ask("same")
    assert first != second
"""


def test_a_run_records_and_the_next_replays_offline_without_keys(
    run_pytest: Pytest, project: Path, providers: FakeProviders
) -> None:
    write(project, TWO_TESTS.replace("import ask", "import ask_by_sdk as ask"))
    recorded = run_pytest()
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    assert counted(recorded) == "0 HIT, 3 MISS, 3 stored"
    files = sorted(str(path.relative_to(project / "cassettes")) for path in project.glob("cassettes/tests/**/*.json"))
    assert [file.rpartition("/")[0] for file in files] == [
        "tests/test_a/test_one",
        "tests/test_a/test_same_call_twice",
        "tests/test_a/test_same_call_twice",
    ]
    providers.stop()
    replayed = run_pytest("--ai-cache=replay", OPENAI_API_KEY="")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert counted(replayed) == "3 HIT, 0 MISS"
    in_ci = run_pytest("-k", "one", CI="true")
    assert "ai-cache: replay, cassettes at" in in_ci.stdout
    assert counted(in_ci) == "1 HIT, 0 MISS"


def test_a_miss_fails_the_test_that_made_it_even_if_it_swallowed_the_error(run_pytest: Pytest, project: Path) -> None:
    write(project, TWO_TESTS)
    assert run_pytest().returncode == 0
    write(
        project,
        """
import pytest
from calls import ask

def test_one():
    try:
        ask("another one")
    except Exception:
        pass

def test_same_call_twice():
    ask("same")

def test_error_is_shown():
    ask("new")

@pytest.mark.xfail
def test_expected():
    ask("never")

def test_skipped():
    try:
        ask("x")
    except Exception:
        pytest.skip("no matter")

@pytest.fixture
def asked():
    try:
        ask("in setup")
    except Exception:
        pass

def test_setup(asked):
    pass
""",
    )
    done = run_pytest("--ai-cache=replay")
    assert "3 failed, 1 passed, 1 skipped, 1 xfailed" in done.stdout, done.stdout + done.stderr
    shown = done.stdout.partition("= FAILURES =")[2].partition("test_error_is_shown")[0]
    assert 'pytest --ai-cache=record "tests/test_a.py::test_one"' in shown
    assert "another one" in shown, "the explanation says what changed"
    assert "FAILED tests/test_a.py::test_one" in done.stdout
    assert "FAILED tests/test_a.py::test_setup" in done.stdout


def test_four_workers_keep_their_scopes_apart(run_pytest: Pytest, project: Path, providers: FakeProviders) -> None:
    write(
        project,
        """
import threading, pytest
from calls import ask

@pytest.mark.parametrize("number", range(8))
def test_many(number):
    said = []
    threads = [threading.Thread(target=lambda: said.append(ask("hello"))) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(said) == 3
    assert ask(f"number {number}").startswith(f"number {number}!")
""",
    )
    recorded = run_pytest("-n", "4")
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    assert counted(recorded) == "0 HIT, 32 MISS, 32 stored"
    for number in range(8):
        assert len(list(project.glob(f"cassettes/tests/test_a/test_many-{number}/*.json"))) == 4
    providers.forget()
    replayed = run_pytest("-n", "4", "--ai-cache=replay")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert counted(replayed) == "32 HIT, 0 MISS"
    alone = run_pytest("--ai-cache=replay", "-k", "many and 3")
    assert counted(alone) == "4 HIT, 0 MISS"
    assert providers.calls == []
    write(project, "from calls import ask\ndef test_new():\n    ask('new')\n", "tests/test_b.py")
    missed = run_pytest("-n", "2", "--ai-cache=replay", "tests/test_b.py")
    assert "1 failed" in missed.stdout, missed.stdout
    assert 'pytest --ai-cache=record "tests/test_b.py::test_new"' in missed.stdout


def test_async_tests_and_subprocesses_are_recorded_in_their_tests_scope(run_pytest: Pytest, project: Path) -> None:
    write(
        project,
        """
import subprocess, sys
import anyio, openai, pytest

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_async():
    said = []
    async def ask(text):
        async with openai.AsyncOpenAI(max_retries=0) as client:
            messages = [{"role": "user", "content": text}]
            answer = await client.chat.completions.create(model="m", messages=messages)
            said.append(answer.choices[0].message.content)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "a")
        group.start_soon(ask, "b")
    assert len(said) == 2

def test_subprocess():
    done = subprocess.run([sys.executable, "-c", "from calls import ask_by_sdk; print(ask_by_sdk('child'))"], text=True,
                          capture_output=True)
    assert done.stdout.startswith("child!"), done.stderr
""",
    )
    for mode, expected in (("record", "0 HIT, 3 MISS, 3 stored"), ("replay", "3 HIT, 0 MISS")):
        done = run_pytest(f"--ai-cache={mode}", "-p", "anyio")
        assert done.returncode == 0, done.stdout + done.stderr
        assert counted(done) == expected
    assert len(list(project.glob("cassettes/tests/test_a/test_subprocess/*.json"))) == 1


def test_a_passed_test_drops_what_it_asks_no_more_and_a_failed_one_nothing(run_pytest: Pytest, project: Path) -> None:
    write(project, "from calls import ask\ndef test():\n    ask('one'); ask('two')\n")
    run_pytest()
    recorded = sorted(project.glob("cassettes/tests/test_a/test/*.json"))
    assert len(recorded) == 2
    write(project, "from calls import ask\ndef test():\n    ask('one')\n    assert False\n")
    run_pytest()
    assert sorted(project.glob("cassettes/tests/test_a/test/*.json")) == recorded
    write(project, "from calls import ask\ndef test():\n    ask('one')\n")
    run_pytest()
    assert len(list(project.glob("cassettes/tests/test_a/test/*.json"))) == 1


def test_markers_share_a_scope_or_turn_the_proxy_off(run_pytest: Pytest, project: Path) -> None:
    write(
        project,
        """
import os, pytest
from calls import ask

@pytest.mark.ai_cache("shared")
@pytest.mark.parametrize("number", [1, 2])
def test_shared(number, ai_cache):
    ask("hi")
    assert ai_cache.counters["statuses"] == ({"MISS": 1} if number == 1 else {"HIT": 1})

@pytest.mark.ai_cache(mode="off")
def test_off():
    assert "AI_CACHE_PROXY" not in os.environ
    assert "HTTPS_PROXY" not in os.environ

def test_on(ai_cache):
    assert os.environ["HTTPS_PROXY"] == ai_cache.url
    assert ai_cache.base_url("https://api.openai.com/v1") == ai_cache.url + "/https://api.openai.com/v1"
    assert ai_cache.counters["calls"] == 0

@pytest.mark.ai_cache(mode="live")
def test_wrong():
    pass
""",
    )
    done = run_pytest()
    assert "4 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert 'write @pytest.mark.ai_cache("scope") or @pytest.mark.ai_cache(mode="off")' in done.stdout
    assert len(list(project.glob("cassettes/shared/*.json"))) == 1


def test_a_shared_scope_keeps_what_one_of_its_tests_does_not_ask_for(run_pytest: Pytest, project: Path) -> None:
    text = """
import pytest
from calls import ask

pytestmark = pytest.mark.ai_cache("shared")

def test_one():
    ask("a question")

def test_two():
    ask("something else entirely, and at length")
"""
    write(project, text)
    run_pytest()
    write(project, text.replace("a question", "xyz"))
    assert counted(run_pytest("-k", "one")) == "0 HIT, 1 MISS, 1 stored"
    assert counted(run_pytest("--ai-cache=replay")) == "2 HIT, 0 MISS"


def test_a_test_that_runs_again_begins_its_sequences_anew(run_pytest: Pytest, project: Path) -> None:
    write(project, TWO_TESTS)
    run_pytest()
    write(
        project,
        """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
""",
        "conftest.py",
    )
    done = run_pytest("--ai-cache=replay", "-s")
    assert counted(done) == "6 HIT, 0 MISS"
    assert "4 passed" in done.stdout, done.stdout


def test_the_environment_is_as_before_and_off_does_nothing(run_pytest: Pytest, project: Path) -> None:
    write(
        project,
        """
import os, sys, pytest

def variables():
    return {name: value for name, value in os.environ.items() if name != "PYTEST_VERSION"}

before = variables()
for mode in ("off", "replay", "record"):
    seen = {}
    class Look:
        def pytest_sessionstart(self):
            seen.update(os.environ)
    pytest.main(["-q", "-p", "pytest_ai_cache.plugin", f"--ai-cache={mode}", "nothing"], plugins=[Look()])
    assert variables() == before, mode
    assert ("AI_CACHE_PROXY" in seen) == (mode != "off"), mode
    assert (seen["OPENAI_API_KEY"] == "sk-real") == (mode != "replay"), mode
print("as before")
""",
        "look.py",
    )
    (project / "nothing").mkdir()
    done = run_pytest(before=(sys.executable, "look.py"))
    assert "as before" in done.stdout, done.stdout + done.stderr


def test_inside_a_run_of_ai_cache_its_proxy_is_used(run_pytest: Pytest, project: Path, environ: dict[str, str]) -> None:
    write(project, TWO_TESTS)
    outer = (str(BIN / "ai-cache"), "record", "--set", f"scripts={REDIRECT}", "recordings", "--")
    done = run_pytest(before=outer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counted(done) == "0 HIT, 3 MISS, 3 stored"
    assert len(list(project.glob("recordings/tests/test_a/*/*.json"))) == 3
    in_workers = run_pytest("-n", "2", before=outer)
    assert counted(in_workers) == "3 HIT, 0 MISS"
    contradicted = run_pytest("--ai-cache=replay", before=outer)
    assert "is in mode record; leave out --ai-cache=replay, or the proxy" in contradicted.stderr


def test_what_is_wrong_is_said_in_a_line(run_pytest: Pytest, project: Path) -> None:
    write(project, TWO_TESTS)
    nothing = run_pytest("--ai-cache=replay", "-k", "one")
    assert "ai-cache: there are no recordings at cassettes" in nothing.stdout
    assert "1 failed" in nothing.stdout
    for arguments, more, expected in (
        (("--ai-cache=replay", "--ai-cache-dir=gone"), {}, f"there is no directory {project / 'gone'}"),
        ((), {"AI_CACHE_COMMAND": "/nowhere/ai-cache"}, "uv tool install mitmproxy-ai-cache"),
        ((), {"AI_CACHE_URL": "http://127.0.0.1:9"}, "no ai-cache answers at http://127.0.0.1:9"),
    ):
        done = run_pytest(*arguments, **more)
        assert done.returncode == 4, done.stdout + done.stderr
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_the_proxy_ends_with_a_pytest_that_is_killed(run_pytest: Pytest, project: Path) -> None:
    write(
        project,
        """
import os, signal

def test(ai_cache):
    print(ai_cache.url, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    done = run_pytest("-s")
    url = re.search(r"http://127\.0\.0\.1:\d+", done.stdout.partition("test_a.py")[2])
    assert url, done.stdout + done.stderr
    for _ in range(600):
        if curl(url[0]).returncode == 7:
            return
        time.sleep(0.1)
    pytest.fail(f"the proxy at {url[0]} is still there")


def test_other_plugins_may_be_missing(run_pytest: Pytest, project: Path) -> None:
    write(project, TWO_TESTS)
    done = run_pytest("-p", "no:xdist", "-p", "no:terminal", "-p", "no:capture", "-p", "no:skipping")
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(project / "cassettes/tests/test_a")


def test_a_proxy_that_runs_already_gets_a_listener_for_the_run(
    run_pytest: Pytest, project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    served = Process(
        [str(BIN / "ai-cache"), "serve", "--port", "0", "--mode", "record", "--set", f"scripts={REDIRECT}"],
        {**environ, "AI_CACHE_STORE": f"cassettes:{tmp_path / 'here'}"},
        tmp_path / "data" / "ai-cache" / "ca",
    ).start()
    try:
        text = TWO_TESTS + "\ndef test_url(ai_cache):\n    print('at', ai_cache.url)\n"
        write(project, text)
        done = run_pytest("-s", AI_CACHE_URL=served.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^ai-cache: 0 HIT, 3 MISS, 3 stored, cassettes at", done.stdout, re.MULTILINE)
        own = re.search(r"at (http://127\.0\.0\.1:\d+)", done.stdout)
        assert own
        assert own[1] != served.url
        assert curl(f"{own[1]}/healthz").returncode == 7, "the listener is closed with the run"
        assert "credential" not in "\n".join(served.lines)
        wrong = curl("-d", '{"namespace": "a"}', f"{served.url}/ai-cache/scope")
        assert "X-AI-Cache: 1" in json.loads(wrong.stdout)["error"], "what a web page could send"
    finally:
        served.stop()


def test_a_proxy_that_others_reach_takes_the_password_of_the_url(
    run_pytest: Pytest, project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    address = outward_address()
    served = Process(
        [str(BIN / "ai-cache"), "serve", "--host", "0.0.0.0", "--port", "0", "--mode", "record", "--set",
         f"scripts={REDIRECT}"],
        {**environ, "AI_CACHE_STORE": f"cassettes:{tmp_path / 'here'}", "AI_CACHE_DASHBOARD_PASSWORD": "pass word"},
        tmp_path / "data" / "ai-cache" / "ca",
    ).start()  # fmt: skip
    try:
        write(project, TWO_TESTS + "\ndef test_url(ai_cache):\n    print('at', ai_cache.url)\n")
        done = run_pytest("-s", AI_CACHE_URL=f"http://:pass%20word@{address}:{served.port}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^ai-cache: 0 HIT, 3 MISS, 3 stored, cassettes at", done.stdout, re.MULTILINE)
        assert f"at http://{address}:" in done.stdout
        refused = run_pytest(AI_CACHE_URL=f"http://:wrong@{address}:{served.port}")
        assert refused.returncode == 4
        assert "takes the password of the proxy" in refused.stderr
        assert "wrong" not in refused.stderr
        variables = forked.run(
            [str(BIN / "ai-cache"), "env", "--json"],
            env={**environ, "AI_CACHE_URL": f"http://:pass%20word@{address}:{served.port}"},
            timeout=60,
            cwd=tmp_path,
        )
        assert json.loads(variables.stdout)["HTTPS_PROXY"] == f"http://{address}:{served.port}"
        assert "pass" not in variables.stdout
    finally:
        served.stop()


def test_models_on_this_machine_are_recorded_with_the_option(run_pytest: Pytest, project: Path) -> None:
    text = "def test_hosts(ai_cache):\n    import os; print('proxy', os.environ['HTTP_PROXY'] == ai_cache.url)\n"
    write(project, text)
    done = run_pytest("-s", "--ai-cache=record", "--ai-cache-local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proxy True" in done.stdout
