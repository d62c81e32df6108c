"""Recordings of the version before, whose rules found fewer secrets, answer the same calls under today's rules."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from mitmproxy_ai_cache.cassettes import file
from mitmproxy_ai_cache.redact import redact
from older_recordings import calls
from recording import call, chat, opened, settings_for

OLDER = Path(__file__).with_name("older")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OLDER, tmp_path / "cassettes")
    return tmp_path / "cassettes"


def test_they_hold_secrets_that_only_the_newer_rules_find(folder: Path) -> None:
    texts = [path.read_bytes() for path in folder.rglob("*-*.json")]
    assert len(texts) > 30
    assert sum(bool(redact(text).findings) for text in texts) > 20
    assert sum(b"REDACTED-" in text for text in texts) >= 8
    assert '"ai_cache": "0.1.0"' in texts[0].decode()


def test_each_call_is_answered_as_it_was(folder: Path) -> None:
    async def main() -> None:
        cache = await opened(settings_for(folder, "replay"))
        names = []
        for name, request, _, _ in calls():
            exchange = await call(cache, request)
            assert exchange.status == "HIT", (name, exchange.reason)
            assert exchange.response is not None
            names.append((name, exchange.response.body))
        assert len(names) == len(list(calls()))
        assert names[-2][1] != names[-3][1], "the same call twice has its second answer"
        await cache.close()

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["replay", "record"])
def test_a_file_whose_answer_is_written_the_older_way_stays_as_it_is(mode: str, folder: Path) -> None:
    for path in folder.rglob("*-*.json"):
        document = json.loads(path.read_text())
        if "answer" in document:
            text = document["answer"].pop("text", "")
            document["answer"] = {"thinking": "Hm.", "refusal": text, "tool_calls": [{"name": "ff"}], "stop": "x"}
            path.write_text(json.dumps(document, indent=2) + "\n")
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}

    async def main() -> None:
        cache = await opened(settings_for(folder, mode))
        for name, request, _, _ in calls():
            assert (await call(cache, request)).status == "HIT", name
        assert cache.store.problems == {}
        await cache.close()

    asyncio.run(main())
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


def test_a_call_with_another_secret_is_answered_as_well(folder: Path) -> None:
    async def main() -> None:
        cache = await opened(settings_for(folder, "replay"))
        found = await call(cache, chat("DB_PASSWORD=" + "kQ7#vT2!mZ9w" + "\n"))
        assert found.status == "HIT"
        await cache.close()

    asyncio.run(main())


def test_a_recording_that_is_made_again_is_clean(folder: Path) -> None:
    async def main() -> None:
        cache = await opened(settings_for(folder, "refresh"))
        for _, request, answer, headers in calls():
            await call(cache, request, answer, headers)
        await cache.close()

    asyncio.run(main())
    files = list(folder.rglob("*-*.json"))
    assert len(files) == len(list(calls()))
    for path in files:
        assert redact(path.read_bytes()).findings == (), path
        assert file.decode(path.read_text(), lambda name: (folder / "parts" / name).read_text()).entry
