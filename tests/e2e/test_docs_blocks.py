"""The ```console blocks of docs/ work as they stand there.

A block that cannot be run offline says so behind its language: ```console no-run: why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import forked
from documented import ROOT
from harness import BIN, REDIRECT, FakeProviders
from mitmproxy_ai_cache.cli.demo.provider import Reply

OPENAI = "https://api.openai.com/v1/chat/completions"
CHAT = '{"model":"gpt-4o","messages":[{"role":"user","content":"Where is Köln?"}]}'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"On the Rhine."},"finish_reason":"stop"}]}'
KEY_ON_THE_PAGE = "40fc1a198ac5"

_BLOCK = re.compile(r"^```console([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    mark: str
    commands: list[str]


def blocks() -> list[Block]:
    return [
        Block(page.name, mark.strip(), [line[2:] for line in text.splitlines() if line.startswith("$ ")])
        for page in sorted((ROOT / "docs").glob("*.md"))
        for mark, text in _BLOCK.findall(page.read_text("utf-8"))
    ]


RUN = [block for block in blocks() if not block.mark]
NOT_RUN = [block for block in blocks() if block.mark]


def named(block: Block) -> str:
    return f"{block.page}:{block.commands[0][:30]}" if block.commands else block.page


@pytest.mark.thorough
@pytest.mark.parametrize("block", RUN, ids=named)
def test_a_block_works(
    block: Block, run: Callable[..., object], providers: FakeProviders, environ: dict[str, str], tmp_path: Path
) -> None:
    providers.answer = lambda request: Reply([ANSWER])
    call = ("curl", "-sSi", OPENAI, "-H", "content-type: application/json", "-d", CHAT)
    ai_cache = str(BIN / "ai-cache")
    asked = forked.run(
        [ai_cache, "run", "--set", f"scripts={REDIRECT}", "--", *call], anew=True, env=environ, timeout=90
    )
    key = re.search("x-ai-cache-key: ([0-9a-f]{12})", asked.stdout)
    assert key, asked.stderr
    script = "set -e\n" + "\n".join(block.commands).replace(KEY_ON_THE_PAGE, key[1])
    env = {**environ, "PATH": f"{BIN}{os.pathsep}{environ['PATH']}"}
    done = forked.run(["bash", "-c", script], env=env, cwd=tmp_path, timeout=180)
    assert done.returncode == 0, done.stderr
    assert block.commands, "a block without a command is ```text"


@pytest.mark.parametrize("block", NOT_RUN, ids=named)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert re.fullmatch(r"no-run: \w.+", block.mark)
    assert block.commands, "a block without a command is ```text"
    pytest.skip(f"{block.page}, {block.commands[0]}: {block.mark}")  # so that -ra lists it
