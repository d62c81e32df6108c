"""`ai-cache init KIND`, run in projects of its kind: each test has recordings of its own, and replays offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness import ADDON, BIN, REDIRECT, FakeProviders
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = pytest.mark.slow

AI_CACHE = str(BIN / "ai-cache")
Result = subprocess.CompletedProcess[str]
Call = Callable[..., Result]

ASK = """
async function ask(text) {
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: text }] });
  const headers = { "Content-Type": "application/json" };
  const url = "https://api.openai.com/v1/chat/completions";
  const input = text === "by request" ? [new Request(url, { method: "POST", headers, body })] :
    [url, { method: "POST", headers, body }];
  const answer = await fetch(...input);
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).choices[0].message.content;
}
"""

JS_TESTS = """
const said = async (name, text) => console.log(`SAID ${name} ${await ask(text)}`);
test("one", () => said("one", "same"));
test("two", () => said("two", "same"));
describe("in a suite", () => {
  test("one", () => said("suite", "same"));
  test("größe ☃", () => said("snow", "by request"));
});
"""

GO_TESTS = """package shop

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func ask(t *testing.T, text string) {
	body := `{"model":"m","messages":[{"role":"user","content":"` + text + `"}]}`
	url := "https://api.openai.com/v1/chat/completions"
	answer, err := aiCacheClient(t).Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 {
		t.Fatalf("%s: %s", answer.Status, said)
	}
	fmt.Printf("SAID %s %s\\n", t.Name(), said)
}

func TestOne(t *testing.T) { t.Parallel(); ask(t, "same") }
func TestTwo(t *testing.T) { t.Parallel(); ask(t, "same") }
func TestOuter(t *testing.T) { t.Run("inner", func(t *testing.T) { ask(t, "same") }) }
"""


@pytest.fixture(autouse=True)
def _counting(providers: FakeProviders) -> None:
    """Every answer is another one."""

    def answer(request: Request) -> Reply:
        asked = json.loads(request.body or b"{}")["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{asked}-{len(providers.calls)}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Reply([json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()])

    providers.answer = answer


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def call(environ: dict[str, str], project: Path) -> Call:
    def call(*command: str, **more: str) -> Result:
        """`more`: variables by name. A record reaches the fake provider."""
        started = [AI_CACHE, *command]
        if command[0] == "record":
            started[2:2] = ["--set", f"scripts={REDIRECT}"]
        variables = {**environ, **more}
        return subprocess.run(
            started, env=variables, cwd=project, capture_output=True, text=True, timeout=300, check=False
        )

    return call


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"NOT TESTED: there is no {name} on this machine, so what ai-cache init writes for it was not run")
    return found


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npm")
    command = [tool("npm"), "install", "--prefix", str(folder), "--prefer-offline", "--no-audit", "vitest", "jest"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: npm cannot install vitest and jest here: {done.stderr[-300:]}")
    return folder / "node_modules"


def said(done: Result) -> list[str]:
    """What the tests were answered, in an order that does not depend on theirs."""
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    return sorted(line[line.index("SAID ") :] for line in lines if "SAID " in line)


def records_and_replays(call: Call, providers: FakeProviders, *command: str, calls: int, **more: str) -> list[str]:
    """The answers of a recording, which a replay gives again without the provider."""
    recorded = said(call("record", "--", *command, **more))
    assert len(recorded) == len(providers.calls) == calls
    assert len({line.rpartition("-")[2] for line in recorded}) == calls, recorded
    replayed = call("replay", "--strict-unused", "--", *command, CI="1", **more)
    assert said(replayed) == recorded
    assert len(providers.calls) == calls
    assert f"{calls} HIT" in replayed.stderr
    return recorded


RUNNERS = {
    "vitest": ("import { describe, test } from 'vitest';", ".test.mjs", ("vitest", "run", "--reporter=verbose")),
    "jest": ("", ".test.js", ("jest",)),
    "node": (
        "import { describe, test } from 'node:test';",
        ".test.mjs",
        ("node", "--import", "./ai-cache.setup.mjs", "--test"),
    ),
}


@pytest.mark.parametrize("kind", RUNNERS)
def test_each_test_in_javascript_has_recordings_of_its_own(
    kind: str, call: Call, project: Path, providers: FakeProviders, request: pytest.FixtureRequest
) -> None:
    head, ending, command = RUNNERS[kind]
    tool("node")
    path = os.environ["PATH"]
    if kind != "node":
        modules = request.getfixturevalue("node_modules")
        (project / "node_modules").symlink_to(modules)
        path = f"{modules / '.bin'}{os.pathsep}{path}"
    assert call("init", kind).returncode == 0
    for name in ("a", "b"):
        (project / f"{name}{ending}").write_text(head + ASK + JS_TESTS)
    recorded = records_and_replays(call, providers, *command, calls=8, PATH=path)
    assert sum("SAID one same-" in line for line in recorded) == 2
    scopes = {str(path.parent.relative_to(project / "cassettes")) for path in project.glob("cassettes/**/*.json")}
    assert len({scope for scope in scopes if "test" in scope}) == 8, scopes
    assert not [one for one in providers.calls if one.headers.get("x-ai-cache-namespace")]
    (project / f"a{ending}").write_text((project / f"a{ending}").read_text().replace('"same"', '"changed"', 1))
    missed = call("replay", "--", *command, CI="1", PATH=path)
    assert missed.returncode != 0
    assert 'sent "changed"' in missed.stdout + missed.stderr


def test_each_test_in_go_has_recordings_of_its_own(call: Call, project: Path, providers: FakeProviders) -> None:
    go = tool("go")
    (project / "go.mod").write_text("module example.com/shop\n\ngo 1.22\n")
    (project / "shop_test.go").write_text(GO_TESTS)
    assert call("init", "go").returncode == 0
    assert (project / "aicache_test.go").read_text().startswith("package shop\n")
    cache = {"GOCACHE": str(project.parent / "gocache"), "GOPATH": str(project.parent / "gopath")}
    more = {**cache, "GOTOOLCHAIN": "local", "PATH": os.environ["PATH"]}
    records_and_replays(call, providers, go, "test", "-v", "./...", calls=3, **more)
    assert not [one for one in providers.calls if one.headers.get("x-ai-cache-namespace")]


def test_what_is_written_for_pytest_records_and_replays(call: Call, project: Path, providers: FakeProviders) -> None:
    assert call("init", "pytest").returncode == 0
    wrapper = project.parent / "ai-cache"
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1" = serve ]; then shift; set -- serve --set "scripts={REDIRECT}" "$@"; fi\n'
        f'exec "{AI_CACHE}" "$@"\n'
    )
    wrapper.chmod(0o755)
    installed = project.parent / "installed"  # the plugin as pip would install it
    about = installed / "pytest_ai_cache-0.1.0.dist-info"
    about.mkdir(parents=True)
    (installed / "pytest_ai_cache").symlink_to(ADDON / "pytest_ai_cache")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-ai-cache\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[pytest11]\nai_cache = pytest_ai_cache.plugin\n")

    def tests(**more: str) -> Result:
        variables = {"PATH": os.environ["PATH"], "HOME": str(project.parent), **providers.environment()}
        variables |= {"SSL_CERT_FILE": str(providers.tls.ca), "AI_CACHE_COMMAND": str(wrapper)}
        variables |= {"PYTHONPATH": str(installed), **more}
        return subprocess.run(
            [sys.executable, "-m", "pytest"], env=variables, cwd=project, capture_output=True, text=True, check=False
        )

    recorded = tests(OPENAI_API_KEY="sk-real")
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    assert len(providers.calls) == 1
    replayed = tests(CI="1")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "ai-cache: 1 HIT" in replayed.stdout
    assert len(providers.calls) == 1
    missing = tests(PYTHONPATH="", OPENAI_API_KEY="sk-real")
    assert "Missing required plugins: pytest-ai-cache" in missing.stdout + missing.stderr
    assert len(providers.calls) == 1


CALL_OF_CI = 'curl -sSf https://api.openai.com/v1/chat/completions -d \'{"model":"m","messages":[{"content":"x"}]}\''


@pytest.mark.parametrize(
    ("file", "command"), [("", "pytest"), ("package.json", "npm test"), ("go.mod", "go test ./...")]
)
def test_the_last_step_for_ci_replays_offline(
    file: str, command: str, call: Call, project: Path, providers: FakeProviders, environ: dict[str, str]
) -> None:
    if file:
        (project / file).write_text("{}")
    assert f"ai-cache record -- {command}, then commit cassettes/" in call("init", "ci").stdout
    workflow = YAML(typ="safe").load(project / ".github" / "workflows" / "ai-cache.yml")
    step = workflow["jobs"]["replay"]["steps"][-1]["run"]
    assert step == f"uvx --from mitmproxy-ai-cache ai-cache replay -- {command}"
    tools = project.parent / "tools"
    tools.mkdir()
    for name, script in (
        ("uvx", f'[ "$1 $2 $3" = "--from mitmproxy-ai-cache ai-cache" ] && shift 3 && exec "{AI_CACHE}" "$@"'),
        (command.split()[0], CALL_OF_CI),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    assert call("record", "--", *command.split(), PATH=path).returncode == 0
    variables = {**environ, "PATH": path, "CI": "true", "GITHUB_STEP_SUMMARY": str(project / "summary")}
    done = subprocess.run(
        ["bash", "-e", "-c", step], cwd=project, env=variables, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(providers.calls) == 1
    assert "1 HIT" in done.stderr
