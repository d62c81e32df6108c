"""The requests of `ai-cache doctor`: one small program per client, that prints the cache's status or how it failed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

URL = "https://api.openai.com/v1/chat/completions"
BODY = '{"model":"ai-cache-doctor","messages":[]}'


@dataclass(frozen=True, slots=True)
class Probe:
    """One client: the command that makes one request with it."""

    name: str
    command: list[str]
    file: str = ""
    """A source file the command needs, and its content."""
    source: str = ""


_PYTHON = {
    "requests": f"import requests; print(requests.post({URL!r}, data={BODY!r}).headers['x-ai-cache-status'])",
    "httpx": f"import httpx; print(httpx.post({URL!r}, content={BODY!r}).headers['x-ai-cache-status'])",
    "urllib": "import urllib.request as u; "
    f"print(u.urlopen(u.Request({URL!r}, {BODY!r}.encode())).headers['x-ai-cache-status'])",
    "aiohttp": "import aiohttp, asyncio\n"
    "async def main():\n"
    "    async with aiohttp.ClientSession(trust_env=True) as session:\n"
    f"        async with session.post({URL!r}, data={BODY!r}) as answer:\n"
    "            print(answer.headers['x-ai-cache-status'])\n"
    "asyncio.run(main())",
    "boto3": "import boto3\n"
    "client = boto3.client('bedrock-runtime', region_name='us-east-1', aws_access_key_id='AKIAIOSFODNN7EXAMPLE',"
    " aws_secret_access_key='x')\n"
    "answer = client.converse(modelId='ai-cache-doctor', messages=[{'role': 'user', 'content': [{'text': 'x'}]}])\n"
    "print(answer['ResponseMetadata']['HTTPHeaders']['x-ai-cache-status'])",
}
_NODE = f"fetch({URL!r},{{method:'POST',body:{BODY!r}}}).then(a=>console.log(a.headers.get('x-ai-cache-status')))"
_NODE += ".catch(e=>{console.error(e.cause??e);process.exit(1)})"
_GO = f"""package main

import ("fmt"; "net/http"; "os"; "strings")

func main() {{
	answer, err := http.Post("{URL}", "application/json", strings.NewReader(`{BODY}`))
	if err != nil {{ fmt.Fprintln(os.Stderr, err); os.Exit(1) }}
	fmt.Println(answer.Header.Get("x-ai-cache-status"))
}}
"""
_JAVA = f"""import java.net.URI;
import java.net.http.*;

public class Probe {{
    public static void main(String[] ignored) throws Exception {{
        var request = HttpRequest.newBuilder(URI.create("{URL}"))
            .POST(HttpRequest.BodyPublishers.ofString({BODY.replace('"', "'")!r}.replace("'", "\\""))).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
        System.out.println(answer.headers().firstValue("x-ai-cache-status").orElse("none"));
    }}
}}
"""
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x"}
_AWS = [
    "bedrock-runtime", "converse", "--region", "us-east-1", "--model-id", "ai-cache-doctor", "--messages",
    '[{"role":"user","content":[{"text":"x"}]}]', "--debug",
]  # fmt: skip


def found(path: str) -> list[Probe]:
    """A probe for every client that is installed; `path` is where commands are looked for."""
    probes = []
    if python := shutil.which("python3", path=path) or shutil.which("python", path=path) or sys.executable:
        for module, source in _PYTHON.items():
            name = "urllib.request" if module == "urllib" else module
            check = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
            if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0:
                probes.append(Probe(f"Python {module}", [python, "-c", source]))
    if node := shutil.which("node", path=path):
        probes.append(Probe("Node fetch", [node, "-e", _NODE]))
    if curl := shutil.which("curl", path=path):
        probes.append(Probe("curl", [curl, "-sS", "-o", "-", "-D", "-", URL, "-d", BODY]))
    if go := shutil.which("go", path=path):
        probes.append(Probe("Go", [go, "run", "probe.go"], "probe.go", _GO))
    if java := shutil.which("java", path=path):
        probes.append(Probe("Java", [java, "Probe.java"], "Probe.java", _JAVA))
    if aws := shutil.which("aws", path=path):
        probes.append(Probe("AWS CLI", [aws, *_AWS]))
    return probes


def send(probe: Probe, environ: Mapping[str, str], folder: Path, timeout: float = 60) -> tuple[bool, str]:
    """Whether the client's request was answered by the proxy, and the last line it said."""
    if probe.file:
        (folder / probe.file).write_text(probe.source, "utf-8")
    try:
        done = subprocess.run(
            probe.command,
            env={**environ, **_KEYS},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {timeout:.0f} s"
    output = done.stdout + done.stderr
    good = any(word in output for word in ("MISS", "HIT"))
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "xception" in line]
    return good, (telling or lines or ["it said nothing"])[-1]
