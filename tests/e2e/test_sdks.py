"""Real SDKs over CONNECT and TLS: first run all MISS, second run with the provider gone all HIT."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import answers
from harness import ROOT, FakeProviders, Process, plain_environ
from sdk_calls import CALLS

EXPECTED = {
    "openai_chat": ["hi", "req_1"],
    "openai_chat_stream": ["h", "i", None, 3],
    "openai_tool_call": '{"city":"Rome"}',
    "openai_embeddings": [0.25, -0.5],
    "openai_responses_stream": ["response.created", "response.output_text.delta", "response.completed"],
    "azure_chat": "hi",
    "anthropic_message": "hi",
    "anthropic_stream": ["hi"],
    "gemini_generate": "i",
    "gemini_stream": ["h", "i"],
    "bedrock_converse": "hi",
    "bedrock_converse_stream": ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"],
}


Sdks = Callable[[Process], dict[str, Any]]


@pytest.fixture(scope="module")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdks]:
    """Makes every call through a proxy."""
    arguments = [sys.executable, str(ROOT / "tests/support/sdk_calls.py")]
    environ = plain_environ(tmp_path_factory.mktemp("sdks"))
    with subprocess.Popen(
        arguments, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def calls(proxy: Process) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            too_long = threading.Timer(120, process.kill)
            too_long.start()
            print(json.dumps(proxy.client_environ()), file=process.stdin)
            results: dict[str, Any] = json.loads(process.stdout.readline())
            too_long.cancel()
            return results

        yield calls
        assert process.stdin is not None
        process.stdin.close()


def statuses(proxy: Process) -> list[str]:
    return [
        line.split("ai-cache: ")[1].split()[0]
        for line in proxy.lines
        if "ai-cache: MISS" in line or "ai-cache: HIT" in line
    ]


@pytest.mark.thorough
@pytest.mark.each_store
def test_every_sdk_misses_then_hits_with_the_provider_gone(
    providers: FakeProviders, start: Callable[..., Process], sdks: Sdks
) -> None:
    providers.answer = answers.answer
    proxy = start()
    assert sdks(proxy) == EXPECTED
    reached = len(providers.calls)
    assert reached == len(CALLS)
    providers.stop()
    assert sdks(proxy) == EXPECTED
    assert statuses(proxy) == ["MISS"] * len(CALLS) + ["HIT"] * len(CALLS)


@pytest.mark.thorough
def test_a_miss_in_replay_is_shown_by_every_sdk_and_not_retried(
    providers: FakeProviders, start: Callable[..., Process], sdks: Sdks
) -> None:
    proxy = start("ai_cache_mode=replay", "ai_cache_store=memory:")
    for name, result in sdks(proxy).items():
        assert "no recorded answer for" in str(result), (name, result)
        assert "424" in str(result) or "AiCacheMiss" in str(result) or "ai_cache_miss" in str(result), (name, result)
    assert providers.tls.connections == 0
    refused = [line for line in proxy.lines if "refused" in line]
    assert len(refused) == len(CALLS), refused


NODE = """
import OpenAI from 'openai';
import { ProxyAgent, setGlobalDispatcher } from 'undici';
setGlobalDispatcher(new ProxyAgent(process.env.HTTPS_PROXY));
const client = new OpenAI({ apiKey: 'sk-test', maxRetries: 0 });
const messages = [{ role: 'user', content: 'hi' }];
const answer = await client.chat.completions.create({ model: 'm', messages });
const texts = [];
for await (const chunk of await client.chat.completions.create({ model: 'm', messages, stream: true }))
  texts.push(chunk.choices[0].delta.content ?? null);
console.log(JSON.stringify([answer.choices[0].message.content, texts]));
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_openai_for_node_misses_then_hits(
    providers: FakeProviders, start: Callable[..., Process], tmp_path: Path
) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "package.json").write_text('{"type":"module"}')
    (folder / "call.mjs").write_text(NODE)
    subprocess.run(["npm", "install", "--silent", "openai", "undici@6"], cwd=folder, check=True, timeout=300)
    providers.answer = answers.answer
    proxy = start()
    environ = plain_environ(tmp_path, **proxy.client_environ())
    for _ in range(2):
        done = subprocess.run(
            ["node", "call.mjs"], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["hi", ["h", "i", None]]
        providers.stop()
    assert statuses(proxy) == ["MISS", "MISS", "HIT", "HIT"]
