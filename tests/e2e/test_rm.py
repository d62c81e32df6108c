"""`ai-cache rm` on real stores."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import free_port
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import Store, for_url
from mitmproxy_ai_cache.stores.sqlite.store import SqliteStore
from valkey import Valkey, started

Run = Callable[..., subprocess.CompletedProcess[str]]
DAY = 86400


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with started(Valkey(tmp_path_factory.mktemp("v"))) as server:
        yield server


@pytest.fixture(params=["redis", "sqlite"])
def url(request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path) -> str:
    if request.param == "redis":
        valkey.tell("FLUSHALL")
        return valkey.url
    if SqliteStore.entries is Store.entries:
        pytest.skip("this store cannot be walked yet")
    return f"sqlite:///{tmp_path / 'cache.sqlite3'}"


def entry(number: int, model: str = "gpt-4o", namespace: str = "", age: float = 0) -> Entry:
    created = time.time() - age
    return Entry(
        key=f"{number:04x}" * 16,
        created=created,
        ttl=0,
        status=200,
        headers=(),
        format="json",
        body=b'{"said":"caf\\u00e9 %d"}' % number,
        request=b"{}",
        protocol="openai-chat",
        model=model,
        url="https://api.openai.com/v1/chat/completions",
        namespace=namespace,
        run="0123456789ab",
    )


def fill(url: str, *entries: Entry) -> None:
    async def run() -> None:
        store = for_url(url, 1 << 30)
        await store.open()
        for number, one in enumerate(entries):
            assert store.put(one)
            if number % 500 == 499:
                await store.flushed()
        await store.close()

    asyncio.run(run())


def left(url: str) -> list[int]:
    async def run() -> list[int]:
        store = for_url(url, 1 << 30)
        await store.open()
        numbers = sorted([int(found.key[:4], 16) async for found in store.entries()])
        await store.close()
        return numbers

    return asyncio.run(run())


def test_what_meets_all_conditions_is_removed_and_said(url: str, run: Run) -> None:
    fill(url, entry(1), entry(2, age=40 * DAY), entry(3, model="claude-x", age=40 * DAY), entry(4, namespace="n"))
    said = run("rm", "--model", "gpt*", "--before", "30d", "--dry-run", "--store", url)
    assert (said.returncode, said.stderr) == (0, "")
    assert left(url) == [1, 2, 3, 4]
    first, count = said.stdout.splitlines()
    assert first.startswith("000200020002  20")
    assert first.endswith("  openai-chat  gpt-4o  api.openai.com")
    assert count.startswith("1 entry would be removed from ")
    said = run("rm", "--model", "gpt*", "--before", "30d", AI_CACHE_STORE=url)
    assert said.stdout.splitlines()[-1].startswith("1 entry removed from ")
    assert left(url) == [1, 3, 4]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["00010001"], [2, 3]),
        (["--run", "0123456789ab"], []),
        (["--run", "another"], [1, 2, 3]),
        (["--host", "*.openai.com"], []),
        (["--namespace", "n"], [1, 2]),
        (["--namespace", ""], [3]),
        (["--contains", "café 2"], [1, 3]),
        (["--all"], []),
    ],
    ids=str,
)
@pytest.mark.thorough
def test_each_condition_takes_what_it_names(conditions: list[str], expected: list[int], url: str, run: Run) -> None:
    fill(url, entry(1), entry(2), entry(3, namespace="n"))
    said = run("rm", *conditions, "--store", url)
    assert said.returncode == 0, said.stderr
    assert left(url) == expected


@pytest.mark.thorough
def test_thousands_are_removed_and_ten_are_shown(url: str, run: Run) -> None:
    fill(url, *(entry(number) for number in range(2300)))
    said = run("rm", "--all", "--store", url)
    lines = said.stdout.splitlines()
    assert len(lines) == 12
    assert lines[10] == "..."
    assert lines[11].startswith("2300 entries removed from ")
    assert left(url) == []


WRONG = {
    "nothing": ([], "say what to remove: a KEY, --run"),
    "a key that is none": (["xyz"], "4 to 64 hex digits"),
    "an empty text": (["--contains", ""], "--contains is empty"),
    "no duration": (["--before", "yesterday"], "--before: 'yesterday' is not a duration"),
    "no store": (["--all", "--store", "redis://h:x"], "port from 1 to 65535"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_usage_is_one_line_and_removes_nothing(wrong: str, run: Run) -> None:
    conditions, expected = WRONG[wrong]
    said = run("rm", *conditions)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("ai-cache: ")
    assert expected in said.stderr
    assert said.stderr.count("\n") == 1


def test_a_server_that_is_away_is_said_and_nothing_claimed(run: Run) -> None:
    said = run("rm", "--all", "--store", f"redis://:S3cret@127.0.0.1:{free_port()}")
    assert (said.returncode, said.stdout) == (2, "")
    assert "does not answer" in said.stderr
    assert said.stderr.count("\n") == 1
    assert "S3cret" not in said.stderr


@pytest.mark.parametrize("conditions", [["--all"], ["--namespace", "n"]], ids=str)
def test_removal_without_the_right_to_it_is_no_success(conditions: list[str], valkey: Valkey, run: Run) -> None:
    valkey.tell("FLUSHALL")
    fill(valkey.url, entry(1, namespace="n"))
    valkey.tell("ACL", "SETUSER", "reader", "on", ">pw", "~ai-cache:*", "+get", "+scan", "+dbsize")
    said = run("rm", *conditions, "--store", valkey.url.replace("://", "://reader:pw@"))
    assert said.returncode == 2
    assert "+get +set +del" in said.stderr or "rights" in said.stderr
    assert left(valkey.url) == [1]
