# ruff: noqa: E501 some commands are long
"""`ai-cache run` on a laptop full of history: other proxies, company CAs, stale variables, clients that ignore proxies."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import BIN, REDIRECT, Client, FakeProviders, Process, mitmdump, plain_environ
from mitmproxy_ai_cache.calls.own_address import target_of
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.cli.env import line
from mitmproxy_ai_cache.cli.environment import _java
from mitmproxy_ai_cache.cli.outer import OuterProxy, UnusableProxy, globs, proxy, without_ai_hosts

AI_CACHE = str(BIN / "ai-cache")
OPENAI = "https://api.openai.com/v1/chat/completions"
CHAT = '{"model":"m","messages":[]}'
USAGE = b'"usage":{"prompt_tokens":40,"completion_tokens":2}'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],' + USAGE + b"}"
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
CURL = ("curl", "-sS", "-i", OPENAI, "-d", CHAT)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    providers.answer = lambda request: Reply([ANSWER])


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def serve(*arguments: str, **more: str) -> Process:
        command = [AI_CACHE, "serve", "--port", "0", *WITH_PROVIDER, *arguments]
        started.append(Process(command, environ | more, tmp_path / "data" / "ai-cache" / "ca").start())
        return started[-1]

    yield serve
    for process in started:
        if process.alive:
            process.stop()


def status(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"x-ai-cache-status: (\w+)", done.stdout)
    return found[1] if found else f"none: {done.stdout}{done.stderr}"


# Only AI hosts are decrypted


def test_what_is_no_ai_host_is_passed_unread(serve: Callable[..., Process], providers: FakeProviders) -> None:
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port)) as plain:
        plain.sendall(b"CONNECT secret.example.com:443 HTTP/1.1\r\nHost: secret.example.com:443\r\n\r\n")
        assert b"200" in plain.recv(1000)
        trust = ssl.create_default_context(cafile=str(providers.tls.ca))
        with trust.wrap_socket(plain, server_hostname="secret.example.com") as secure:
            issuer = dict(pair[0] for pair in secure.getpeercert()["issuer"])  # type: ignore[index, misc, union-attr]
            secure.sendall(b"POST /hidden-path HTTP/1.1\r\nHost: secret.example.com\r\nContent-Length: 4\r\n\r\nbody")
            assert ANSWER in secure.recv(10_000) + secure.recv(10_000)
    assert issuer["commonName"] == "provider", "the client sees the host's own certificate"
    served.stop()
    said = "\n".join(served.lines)
    assert "passed unread: secret.example.com (1); to cache one of them add --hosts HOST" in said
    assert "hidden-path" not in said
    assert said.count("secret.example.com") == 1


def test_a_host_of_ones_own_is_read_when_it_is_named(serve: Callable[..., Process]) -> None:
    served = serve("--hosts", "*.corp.example")
    client = Client(served.port, served.ca)
    answers = [client.request("https://llm.corp.example/v1/chat/completions", CHAT.encode()).cache for _ in range(2)]
    client.close()
    assert answers == ["MISS", "HIT"]


def test_a_client_that_does_not_trust_us_is_named(run: Run, environ: dict[str, str]) -> None:
    done = run("run", *WITH_PROVIDER, "--", "curl", "-sS", "--cacert", environ["SSL_CERT_FILE"], OPENAI, "-d", CHAT)
    assert done.returncode != 0
    assert "not trusted by the client: api.openai.com (1)" in done.stderr


# What is there already


@pytest.mark.thorough
def test_stale_and_preset_variables_do_not_matter(run: Run, tmp_path: Path, environ: dict[str, str]) -> None:
    gone = str(tmp_path / "gone.pem")
    names = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT")
    stale = dict.fromkeys(names, gone)
    assert status(run("run", *WITH_PROVIDER, "--", *CURL, **stale)) == "MISS"
    assert (
        status(run("run", *WITH_PROVIDER, "--", *CURL, SSL_CERT_FILE=gone, CURL_CA_BUNDLE=environ["SSL_CERT_FILE"]))
        == "HIT"
    )
    company = environ["SSL_CERT_FILE"]
    shown = run(
        "run", "--store", "memory:", "--", "sh", "-c", 'cat "$NODE_EXTRA_CA_CERTS"', NODE_EXTRA_CA_CERTS=company
    )
    assert Path(company).read_text().strip() in shown.stdout


@pytest.mark.thorough
def test_an_outer_proxy_that_intercepts_is_gone_through(
    run: Run, providers: FakeProviders, tmp_path: Path, environ: dict[str, str]
) -> None:
    home = tmp_path / "outer"
    home.mkdir()
    outer = mitmdump(providers, home, "ai_cache_mode=off", "proxyauth=me:s%cret").start()
    named = outer.url.replace("http://", "http://me:s%25cret@")
    calls = [run("run", "--", *CURL, HTTPS_PROXY=named, SSL_CERT_FILE=str(outer.ca)) for _ in range(2)]
    outer.stop()
    assert [status(done) for done in calls] == ["MISS", "HIT"]
    assert f"going on through the proxy {outer.url} that HTTPS_PROXY names" in calls[0].stderr
    assert "s%25cret" not in calls[0].stderr
    assert len(providers.calls) == 1


def test_no_proxy_that_names_an_ai_host_is_taken_out_and_the_host_reached_directly(
    run: Run, providers: FakeProviders
) -> None:
    dead = "http://127.0.0.1:9"
    done = run("run", *WITH_PROVIDER, "--", *CURL, NO_PROXY="corp.example,.openai.com", HTTPS_PROXY=dead)
    assert status(done) == "MISS"
    assert "taken out of NO_PROXY for this run: .openai.com" in done.stderr
    shown = run("run", "--store", "memory:", "--", "sh", "-c", "echo $NO_PROXY", NO_PROXY="corp.example,.openai.com")
    assert shown.stdout.strip() == "corp.example,localhost,127.0.0.1,::1"


@pytest.mark.thorough
def test_a_nested_run_uses_the_proxy_around_it(run: Run, providers: FakeProviders) -> None:
    done = run("run", *WITH_PROVIDER, "--", AI_CACHE, "run", "--", *CURL)
    assert status(done) == "MISS"
    assert "inside another run; its proxy http://127.0.0.1:" in done.stderr
    assert done.stderr.count("1 AI call") == 1
    assert status(run("run", *WITH_PROVIDER, "--", AI_CACHE, "run", "--mode", "replay", "--", *CURL)) == "HIT"


def test_a_proxy_that_cannot_be_used_is_refused_with_the_mend(run: Run) -> None:
    done = run("run", "--", "true", HTTPS_PROXY="socks5://me:secret@127.0.0.1:1080")
    assert done.returncode == 125
    assert "it must be http://HOST:PORT, https://HOST:PORT or" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("http://proxy:3128", OuterProxy("http://proxy:3128")),
        ("proxy.corp:3128", OuterProxy("http://proxy.corp:3128")),
        ("https://proxy", OuterProxy("https://proxy:443")),
        ("http://u:p%40ss@proxy:1/", OuterProxy("http://proxy:1", "u:p@ss")),
        ("http://u@[::1]:8080", OuterProxy("http://[::1]:8080", "u:")),
        ("", None),
    ],
)
def test_what_https_proxy_may_say(named: str, expected: OuterProxy | None) -> None:
    assert proxy({"HTTPS_PROXY": named}) == expected


@pytest.mark.parametrize("named", ["socks5://x:1", "http://x:port", "ftp://x", "http://", "http://u:p[ss@proxy:1"])
def test_what_it_may_not(named: str) -> None:
    with pytest.raises(UnusableProxy):
        proxy({"https_proxy": named})


@pytest.mark.parametrize(
    ("entry", "keeps_ai_calls_from_us"),
    [
        ("api.openai.com", True),
        (".openai.com", True),
        ("*.amazonaws.com", True),
        ("openai.azure.com", True),
        ("*", True),
        ("com", True),
        ("corp.example", False),
        ("myres.openai.azure.com", True),
        ("bedrock-runtime.us-east-1.amazonaws.com:443", True),
        ("::1", False),
        ("notopenai.com", False),
        ("localhost", False),
        ("10.0.0.0/8", False),
    ],
)
def test_entries_of_no_proxy(entry: str, keeps_ai_calls_from_us: bool) -> None:
    kept, removed = without_ai_hosts([entry], ())
    assert (kept, removed) == (([], [entry]) if keeps_ai_calls_from_us else ([entry], []))
    assert globs(["*", "::1", "[::1]:80", "."]) == ["*", "::1", "*.::1", "::1", "*.::1"]


# Clients that cannot use a proxy


@pytest.mark.parametrize("slashes", ["//", "/"])
def test_base_url_mode_shares_its_entries_with_the_proxy(slashes: str, serve: Callable[..., Process]) -> None:
    served = serve()
    address = f"{served.url}/https:{slashes}api.openai.com/v1/chat/completions"
    direct = subprocess.run(
        ["curl", "-sS", "-i", "--noproxy", "*", address, "-d", CHAT], capture_output=True, text=True, check=True
    )
    assert status(direct) == "MISS"
    client = Client(served.port, served.ca)
    assert client.request(OPENAI, CHAT.encode()).cache == "HIT"
    client.close()


@pytest.mark.thorough
def test_an_sdk_with_the_base_url_works_without_any_variable(serve: Callable[..., Process], tmp_path: Path) -> None:
    served = serve()
    code = (
        "from openai import OpenAI\n"
        f"client = OpenAI(base_url='{served.url}/https://api.openai.com/v1', api_key='k', max_retries=0)\n"
        "print(client.chat.completions.create(model='m', messages=[]).choices[0].message.content)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain_environ(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.stdout == "hi\n", done.stderr


def test_the_proxy_says_what_it_is(serve: Callable[..., Process]) -> None:
    served = serve()
    with urllib.request.urlopen(f"{served.url}/healthz") as health:
        told = json.loads(health.read())
    assert (told["status"], told["mode"]) == ("ok", "cache")
    with urllib.request.urlopen(f"{served.url}/ca.pem") as certificate:
        assert certificate.read() == served.ca.read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served.url}/nothing")
    with urllib.request.urlopen(f"{served.url}/") as hint:
        assert b"base URL" in hint.read()
    client = Client(served.port, served.ca)
    assert client.request("http://ai-cache.internal/ca.pem", method="GET").body == served.ca.read_bytes()
    client.close()


def test_models_on_this_machine_are_cached_with_local(run: Run, providers: FakeProviders) -> None:
    providers.answer = lambda request: Reply([b'{"message":{},"done":true}'])
    url = "http://localhost:11434/api/chat"
    body = '{"model":"llama","stream":false,"messages":[{"role":"user","content":"hi"}]}'
    calls = [run("run", "--local", *WITH_PROVIDER, "--", "curl", "-sSi", url, "-d", body) for _ in range(2)]
    assert [status(done) for done in calls] == ["MISS", "HIT"]


def test_serve_takes_base_urls_to_this_machine_with_local(
    serve: Callable[..., Process], providers: FakeProviders
) -> None:
    providers.answer = lambda request: Reply([b'{"message":{},"done":true}'])
    body = '{"model":"llama","stream":false,"messages":[{"role":"user","content":"hi"}]}'
    without, with_it = serve(), serve("--local")
    for host in ("localhost", "127.0.0.1", "[::1]"):
        path = f"/http://{host}:11434/api/chat"
        refused = subprocess.run(["curl", "-sSi", "-g", without.url + path, "-d", body], capture_output=True, text=True)
        assert "403" in refused.stdout.splitlines()[0]
        assert f"--hosts {host.strip('[]')}" in refused.stdout
        asked = subprocess.run(["curl", "-sSi", "-g", with_it.url + path, "-d", body], capture_output=True, text=True)
        assert status(asked) == "MISS"
    assert len(providers.calls) == 3


def test_with_local_an_outer_proxy_gets_neither_local_calls_nor_its_password_to_others(
    run: Run, providers: FakeProviders
) -> None:
    providers.answer = lambda request: Reply([b'{"message":{},"done":true}'])
    dead = "http://me:sekret@127.0.0.1:9"
    body = '{"model":"llama","stream":false,"messages":[{"role":"user","content":"hi"}]}'
    done = run(
        "run",
        "--local",
        *WITH_PROVIDER,
        "--",
        "curl",
        "-sSi",
        "http://localhost:11434/api/chat",
        "-d",
        body,
        HTTPS_PROXY=dead,
    )
    assert status(done) == "MISS"
    (got,) = providers.calls
    assert (got.path, "proxy-authorization" in got.headers) == ("/api/chat", False)


@pytest.mark.parametrize(
    ("path", "goes_to"),
    [
        ("/https://api.openai.com/v1/x?a=b", ("https", "api.openai.com", 443, "api.openai.com", "/v1/x?a=b")),
        ("/https:/api.openai.com:443/v1", ("https", "api.openai.com", 443, "api.openai.com", "/v1")),
        ("/https://api.openai.com.?a", ("https", "api.openai.com", 443, "api.openai.com", "/?a")),
        ("/http://[::1]:8000/v1", ("http", "::1", 8000, "[::1]:8000", "/v1")),
        ("/http://localhost:11434", ("http", "localhost", 11434, "localhost:11434", "/")),
    ],
)
def test_base_urls_and_where_they_go(path: str, goes_to: tuple[object, ...]) -> None:
    found = target_of(path)
    assert found is not None
    assert (found.scheme, found.host, found.port, found.authority, found.path) == goes_to


@pytest.mark.parametrize(
    "path",
    ["/v1/x", "/https", "/https://", "/https://a b/", "/https://a%20b/", "/https://-x.com/", "/https://u:p@x.com/", "/https://x:0/",
     "/https://x:99999/", "/https://" + "a" * 300 + "/", "/https://x\\evil/", "/https://a,b;c/", "/https://aé.com/", "/https://[zz]/"],
)  # fmt: skip
def test_what_is_no_base_url(path: str) -> None:
    assert target_of(path) is None


@pytest.mark.thorough
def test_a_base_url_works_behind_a_port_mapping_and_real_hosts_are_not_taken_for_the_proxy(
    serve: Callable[..., Process], providers: FakeProviders
) -> None:
    served = serve()
    address = f"{served.url}/https://api.openai.com/v1/chat/completions"
    for host in ("127.0.0.1:9000", "ai-cache"):
        mapped = subprocess.run(
            ["curl", "-sSi", "-H", f"Host: {host}", address, "-d", CHAT], capture_output=True, text=True, check=True
        )
        assert status(mapped) in ("MISS", "HIT")
    client = Client(served.port, served.ca)
    assert client.request(f"http://vllm.corp:{served.port}/v1/chat/completions", CHAT.encode()).cache == "MISS"
    client.close()
    assert {call.headers.get("host") for call in providers.calls} == {"api.openai.com", f"vllm.corp:{served.port}"}


def test_java_options_survive_spaces_and_a_second_time() -> None:
    store = Path("/Application Support/x.p12")
    once = _java("http://127.0.0.1:1", store, "-Xmx1g '-Da=b c'", local=False)
    assert '"-Djavax.net.ssl.trustStore=/Application Support/x.p12"' in once
    assert once.startswith('-Xmx1g "-Da=b c"')
    assert _java("http://127.0.0.1:1", store, once, local=False) == once


# What it says afterwards


@pytest.mark.thorough
def test_the_report_and_the_summary_agree(run: Run, tmp_path: Path) -> None:
    run("run", *WITH_PROVIDER, "--", *CURL)
    report = tmp_path / "report.json"
    done = run(
        "run", *WITH_PROVIDER, "--report", str(report), "--", "sh", "-c", f"curl -sS {OPENAI} -d '{CHAT}'; exit 3"
    )
    told = json.loads(report.read_text())
    assert (told["calls"], told["statuses"], told["saved"]["tokens"], told["exit_code"]) == (1, {"HIT": 1}, 42, 3)
    assert done.returncode == 3


def test_a_report_that_cannot_be_written_is_said_before_the_command_starts(run: Run, tmp_path: Path) -> None:
    done = run("run", "--report", str(tmp_path / "no" / "r.json"), "--", "sh", "-c", "echo ran; exit 3")
    assert (done.returncode, done.stdout) == (125, "")
    assert "--report: there is no directory" in done.stderr


@pytest.mark.thorough
def test_a_nested_run_with_a_wish_of_its_own_has_it(run: Run) -> None:
    assert status(run("run", *WITH_PROVIDER, "--", *CURL)) == "MISS"
    done = run(
        "run",
        *WITH_PROVIDER,
        "--",
        "env",
        "AI_CACHE_MODE=replay",
        "AI_CACHE_STORE=memory:",
        AI_CACHE,
        "run",
        "--",
        *CURL,
    )
    assert "424" in done.stdout


def test_empty_variables_are_unset_ones(run: Run) -> None:
    done = run(
        "run", "--", "true", AI_CACHE_HOST="", AI_CACHE_PORT="", AI_CACHE_MODE="", AI_CACHE_TTL="", AI_CACHE_SAMPLES=""
    )
    assert done.returncode == 0
    assert "mode cache" in done.stderr
    assert "entries apart" not in done.stderr


@pytest.mark.thorough
def test_a_hangup_that_was_ignored_stays_ignored(environ: dict[str, str]) -> None:
    script = f"trap '' HUP; exec {AI_CACHE} run --store memory: -- sh -c 'echo ready; sleep 1; echo survived'"
    process = subprocess.Popen(
        ["sh", "-c", script], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=60)[0] == "survived\n"
    assert process.returncode == 0


@pytest.mark.thorough
def test_a_key_that_is_gone_is_made_anew_with_its_certificate(run: Run, tmp_path: Path) -> None:
    assert status(run("run", *WITH_PROVIDER, "--", *CURL)) == "MISS"
    (tmp_path / "data" / "ai-cache" / "ca" / "mitmproxy-ca.pem").unlink()
    assert status(run("run", *WITH_PROVIDER, "--", *CURL)) == "HIT"


def test_where_nothing_came_to_the_proxy_it_says_why(run: Run) -> None:
    said = run("run", "--store", "memory:", "--", "true").stderr
    assert "no AI calls seen" in said
    assert "its client ignores HTTPS_PROXY" in said
    assert "http://127.0.0.1:8484/https://api.openai.com/v1" in said


@pytest.mark.thorough
def test_an_ephemeral_authority_leaves_nothing(run: Run, tmp_path: Path) -> None:
    done = run(
        "run",
        "--ephemeral-ca",
        "--store",
        "memory:",
        *WITH_PROVIDER,
        "--",
        "sh",
        "-c",
        f"echo $SSL_CERT_FILE; {' '.join(CURL[:4])} -d '{CHAT}'",
        XDG_DATA_HOME=str(tmp_path / "new"),
    )
    assert status(done) == "MISS"
    assert not Path(done.stdout.splitlines()[0]).exists()
    assert not (tmp_path / "new").exists()


# For a shell


@pytest.mark.thorough
def test_env_makes_a_shell_use_a_running_serve(
    serve: Callable[..., Process], run: Run, environ: dict[str, str]
) -> None:
    served = serve()
    script = f"eval \"$({AI_CACHE} env --port {served.port})\" && curl -sSi {OPENAI} -d '{CHAT}'"
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert status(done) == "MISS"
    served.stop()
    missing = run("env", "--port", str(served.port))
    assert missing.returncode == 125
    assert f"start ai-cache serve --port {served.port}" in missing.stderr


@pytest.mark.parametrize("shell", ["bash", "sh", "fish", "pwsh"])
@pytest.mark.parametrize("times", [1, 2])
def test_env_unset_gives_a_shell_back_what_it_had(
    shell: str, times: int, serve: Callable[..., Process], environ: dict[str, str]
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} on this machine: its lines are not run")
    form = {"fish": "fish", "pwsh": "powershell"}.get(shell, "sh")
    ours = f"{AI_CACHE} env --port {serve().port} --local --format {form}"
    evaluated = {"sh": 'eval "$({})"', "fish": "{} | source", "powershell": "iex (({}) -join [char]10)"}[form]
    script = "\n".join(["env"] + [evaluated.format(ours)] * times + ["env", evaluated.format(f"{ours} --unset"), "env"])
    script = script.replace("\nenv", "\necho ===\nenv")
    environ |= {"NO_PROXY": "a b'\"$HOME,corp.example", "SSL_CERT_FILE": "/no/such.pem"}
    done = subprocess.run([shell, "-c", script], env=environ, capture_output=True, text=True, timeout=90, check=True)
    before, during, after = ({*part.split("\n")} for part in done.stdout.split("===\n"))
    assert any(line.startswith("HTTP_PROXY=") for line in during)
    assert {line for line in before ^ after if line and not line.startswith(("_=", "SHLVL="))} == set()


def test_env_unset_prints_no_password_and_says_where_nothing_is_to_be_undone(
    serve: Callable[..., Process], run: Run
) -> None:
    port = str(serve().port)
    shown = run("env", "--port", port, HTTPS_PROXY="http://user:S3cret@127.0.0.1:9").stdout
    assert 'export AI_CACHE_BEFORE_HTTPS_PROXY="$HTTPS_PROXY"' in shown
    assert "S3cret" not in shown
    nothing = run("env", "--unset")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "has set nothing in this shell" in nothing.stderr
    assert "of a file remove the lines" in run("env", "--unset", "--format", "dotenv").stderr
    assert run("env", "--unset", AI_CACHE_ENV="A;rm,B").stdout == "unset B\nunset AI_CACHE_ENV\n"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("sh", "export A='it'\"'\"'s \"x\" \\'"),
        ("fish", "set -gx A 'it\\'s \"x\" \\\\'"),
        ("powershell", "$env:A = 'it''s \"x\" \\'"),
        ("dotenv", 'A="it\'s \\"x\\" \\\\"'),
        ("github", 'A=it\'s "x" \\'),
    ],
)
def test_every_format_quotes_in_its_own_way(form: str, expected: str) -> None:
    assert line(form, "A", 'it\'s "x" \\') == expected


def test_containers_configure_it_by_environment_alone(environ: dict[str, str], tmp_path: Path) -> None:
    settings = {
        "AI_CACHE_HOST": "0.0.0.0",
        "AI_CACHE_PORT": "0",
        "AI_CACHE_STORE": "memory:",
        "AI_CACHE_MODE": "read-only",
    }
    process = Process([AI_CACHE, "serve"], environ | settings, tmp_path).start()
    assert any(
        "mode read-only, store memory:, 0 entries, entries apart by credential" in said for said in process.lines
    )
    process.stop()


# Languages


NODE = f"fetch('{OPENAI}',{{method:'POST',body:'{CHAT}'}}).then(a=>console.log('x-ai-cache-status: '+a.headers.get('x-ai-cache-status')))"
HTTPS = (
    f"const r=require('https').request('{OPENAI}',{{method:'POST'}},a=>{{console.log('x-ai-cache-status: '+a.headers['x-ai-cache-status']);"
    f"a.resume()}});r.end('{CHAT}')"
)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_new_node_needs_nothing_but_run(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    subprocess.run(["npm", "install", "--silent", "node@24"], cwd=folder, check=True, timeout=300)
    node = str(folder / "node_modules" / ".bin" / "node")
    codes = (NODE, NODE, HTTPS)
    assert [status(run("run", *WITH_PROVIDER, "--", node, "-e", code)) for code in codes] == ["MISS", "HIT", "HIT"]


@pytest.mark.slow
def test_the_doctor_knows_what_is_well(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--port", "0", PATH=f"{BIN}:{os.environ['PATH']}")
    assert "ok   Python httpx     uses the proxy and trusts its certificate" in done.stdout
    assert "ok   curl             uses the proxy and trusts its certificate" in done.stdout
    for name in ("Go", "Java"):
        if shutil.which(name.lower()):
            assert re.search(rf"ok   {name} +uses the proxy", done.stdout), done.stdout
    assert "BAD  upstream" in done.stdout or "ok   upstream" in done.stdout
    broken = run("doctor", "--store", "sqlite:////proc/nowhere/x.sqlite3", "--port", "0", PATH="/nowhere")
    assert broken.returncode == 1
    assert "BAD  store" in broken.stdout
