"""The store of cassettes: what is recorded is found again, files keep their names, nothing is lost unasked."""

from __future__ import annotations

import asyncio
import errno
import functools
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores.base import StoreError
from mitmproxy_ai_cache.stores.cassettes import store as cassettes
from mitmproxy_ai_cache.stores.cassettes.directory import CassetteDirectory
from mitmproxy_ai_cache.stores.cassettes.store import CassetteStore
from unit.cassettes.test_cassette_file import PLAIN, SYSTEM

TEST = "tests/test_a.py::test_x"


def runs[**P](test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        async def whole() -> None:
            await test(*arguments, **named)

        asyncio.run(whole())

    return run


def key_of(entry: Entry) -> str:
    return hashlib.sha256(f"{entry.namespace}|{entry.url}|".encode() + entry.request).hexdigest()


def recording(prompt: str, answer: str = "Hi", namespace: str = "", sequence: int = 1, system: str = "") -> Entry:
    messages = [{"role": "system", "content": system}] if system else []
    request = json.dumps({"model": "gpt-4o", "messages": [*messages, {"role": "user", "content": prompt}]}).encode()
    body = json.dumps({"choices": [{"message": {"content": answer}, "finish_reason": "stop"}]}).encode()
    entry = replace(PLAIN, request=request, body=body, namespace=namespace)
    return replace(entry, key=key_of(entry) + (f"-{sequence}" if sequence > 1 else ""))


@asynccontextmanager
async def opened(
    folder: Path, writable: bool = True, rules: str = "1", key: Callable[[Entry], str] = key_of
) -> AsyncIterator[CassetteStore]:
    store = CassetteStore(f"cassettes:{folder}", folder, key, rules, writable)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def recorded(folder: Path, *entries: Entry) -> None:
    """One run that asks for and records just these."""
    async with opened(folder) as store:
        for entry in entries:
            if await store.get(entry.key) is None:
                store.put(entry)


def tree(folder: Path) -> dict[str, bytes]:
    """What git would see."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@runs
async def test_what_is_put_is_found_at_once_and_in_the_next_run(tmp_path: Path) -> None:
    entry = recording("Hello")
    async with opened(tmp_path) as store:
        assert store.put(entry)
        found = await store.get(entry.key)
        assert found is not None
        assert found.body == entry.body
        await store.flushed()
        assert (await store.get(entry.key)) == replace(entry, request=b"")
    async with opened(tmp_path) as store:
        assert (await store.get(entry.key)) == replace(entry, request=b"")
        assert [each async for each in store.entries()] == [entry]
        assert await store.count() == 1
    assert list(tree(tmp_path)) == ["default/openai-chat-gpt-4o-t1-1.json"]


@runs
async def test_an_answer_is_recorded_also_where_stale_if_error_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.put(replace(recording("Hello"), ttl=60.0, grace=3600.0))
        await store.flushed()
        assert not store.failures
    assert list(tree(tmp_path)) == ["default/openai-chat-gpt-4o-t1-1.json"]


@runs
async def test_the_index_spares_reading_and_is_not_believed_when_rules_or_files_change(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    def counting(entry: Entry) -> str:
        asked.append(entry.url)
        return key_of(entry)

    entry, other = recording("Hello"), recording("Good bye")
    await recorded(tmp_path, entry, other)
    async with opened(tmp_path, key=counting):
        assert not asked
    for path in tmp_path.rglob("*.json"):
        os.utime(path, ns=(1, 1))  # a checkout
    async with opened(tmp_path, key=counting) as store:
        assert not asked
        assert await store.get(entry.key) is not None
    async with opened(tmp_path, key=counting, rules="2"):
        assert len(asked) == 2
    (tmp_path / ".index").write_bytes(b'{"version": 1, "rules": "1 1", "rows": {"x": [1]}}')
    async with opened(tmp_path, key=counting) as store:
        assert len(asked) == 4
        assert await store.get(other.key) is not None


@runs
async def test_an_index_that_lies_gives_no_wrong_answer(tmp_path: Path) -> None:
    one, other = recording("one"), recording("other")
    await recorded(tmp_path, one, other)
    first, second = sorted((tmp_path / "default").iterdir())
    index = json.loads((tmp_path / ".index").read_bytes())
    rows = index["rows"]
    names = [path.relative_to(tmp_path).as_posix() for path in (first, second)]
    for name, path in zip(names, (first, second), strict=True):
        rows[name][:2] = [path.stat().st_size, path.stat().st_mtime_ns]
    rows[names[0]][2:4], rows[names[1]][2:4] = rows[names[1]][2:4], rows[names[0]][2:4]
    (tmp_path / ".index").write_text(json.dumps(index))
    async with opened(tmp_path) as store:
        for entry in (one, other):
            found = await store.get(entry.key)
            assert found is None or found.body == entry.body
        for entry in (one, other):
            assert (await store.get(entry.key)) == replace(entry, request=b"")


@runs
async def test_nothing_is_changed_where_nothing_may_be_written(tmp_path: Path) -> None:
    entry = recording("Hello")
    await recorded(tmp_path, entry)
    (tmp_path / ".index").unlink()
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    for _ in range(2):
        async with opened(tmp_path, writable=False) as store:
            assert await store.get(entry.key) is not None
            assert not store.put(recording("more"))
            store.remove(entry.key)
            await store.settle(drop=True)
            assert await store.get(entry.key) is not None
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


@runs
async def test_a_directory_that_is_not_there_is_said_where_nothing_may_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="record first"):
        async with opened(tmp_path / "none", writable=False):
            pass


@runs
async def test_recording_the_same_again_changes_nothing(tmp_path: Path) -> None:
    entries = [recording(f"Question {n}") for n in range(5)]
    await recorded(tmp_path, *entries)
    before = tree(tmp_path)
    await recorded(tmp_path, *entries)
    assert tree(tmp_path) == before


PROMPT = "Say in one sentence what a reader of the daily paper number {} should know about the weather and the traffic."


@pytest.mark.thorough
@pytest.mark.parametrize("namespace", ["", TEST])
@runs
async def test_400_recordings_with_one_word_changed_are_400_modified_files(tmp_path: Path, namespace: str) -> None:
    await recorded(tmp_path, *(recording(PROMPT.format(n), f"old {n}", namespace) for n in range(400)))
    before = tree(tmp_path)
    await recorded(tmp_path, *(recording(PROMPT.format(n) + " Today.", f"new {n}", namespace) for n in range(400)))
    after = tree(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[path] != before[path] for path in before)
    for path in before:
        number = before[path].partition(b'"old ')[2].partition(b'"')[0]
        assert b'"new ' + number + b'"' in after[path], "each takes the place of its own"


@runs
async def test_a_changed_system_prompt_is_one_part_that_changed_its_name(tmp_path: Path) -> None:
    await recorded(tmp_path, *(recording(f"Question {n}?", system=SYSTEM) for n in range(5)))
    before = tree(tmp_path)
    await recorded(tmp_path, *(recording(f"Question {n}?", system=SYSTEM + "Be kind.") for n in range(5)))
    after = tree(tmp_path)
    parts = [path for path in after if path.startswith("parts/")]
    assert len(parts) == 1
    assert after.keys() - set(parts) == {path for path in before if not path.startswith("parts/")}


@runs
async def test_without_a_namespace_nothing_takes_the_place_of_what_is_unlike_it(tmp_path: Path) -> None:
    old, new = recording("Count the legs of a spider and a horse"), recording("Translate this poem into Latin please")
    await recorded(tmp_path, old)
    await recorded(tmp_path, new)
    async with opened(tmp_path) as store:
        assert await store.get(old.key) is not None
        assert await store.get(new.key) is not None
    assert len(tree(tmp_path)) == 2


@runs
async def test_a_namespace_drops_what_its_test_asked_for_no_more_but_only_when_told(tmp_path: Path) -> None:
    entries = [recording(f"Question {n}", namespace=TEST) for n in range(3)]
    elsewhere, unnamed = recording("Question 0", namespace="other"), recording("Question 0")
    await recorded(tmp_path, *entries, elsewhere, unnamed)
    async with opened(tmp_path) as store:
        assert await store.get(entries[0].key) is not None
        assert (await store.settle(drop=False)).removed == []
        settled = await store.settle(drop=True)
        assert len(settled.removed) == 2
        assert await store.get(entries[1].key) is None
        assert await store.get(elsewhere.key) is not None, "its test did not run"
        assert await store.get(unnamed.key) is not None


@runs
async def test_a_namespace_is_settled_when_its_test_ends(tmp_path: Path) -> None:
    await recorded(tmp_path, recording("old", namespace=TEST), recording("old", namespace="other"))
    async with opened(tmp_path) as store:
        store.put(recording("quite new", namespace=TEST))
        store.put(recording("quite new", namespace="other"))
        settled = await store.settle(TEST)
        assert settled.modified == ["tests/test_a/test_x/openai-chat-gpt-4o-t1-1.json"]
        assert settled.added == []
    # The other's test may not have run to its end: what is not alike stays beside what it did not ask for.
    assert {path for path in tree(tmp_path) if path.startswith("other/")} == {
        "other/openai-chat-gpt-4o-t1-1.json",
        "other/openai-chat-gpt-4o-t1-2.json",
    }


@runs
async def test_numbers_do_not_grow(tmp_path: Path) -> None:
    for run in range(4):
        async with opened(tmp_path) as store:
            for n in range(3):
                store.put(recording(f"run {run} question {n}", namespace=TEST))
            await store.settle(drop=True)
    assert {path.rpartition("-")[2] for path in tree(tmp_path)} == {"1.json", "2.json", "3.json"}


@runs
async def test_a_sequence_that_is_recorded_anew_loses_what_does_not_come_again(tmp_path: Path) -> None:
    await recorded(tmp_path, *(recording("Roll a die", f"{n}", sequence=n) for n in (1, 2, 3)))
    async with opened(tmp_path) as store:
        store.put(recording("Roll a die", "6", sequence=1))
        store.put(recording("Roll a die", "5", sequence=2))
    async with opened(tmp_path) as store:
        assert await store.get(recording("Roll a die", sequence=2).key) is not None
        assert await store.get(recording("Roll a die", sequence=3).key) is None
    assert len(tree(tmp_path)) == 2


@runs
async def test_the_answers_of_a_changed_sequence_keep_their_order(tmp_path: Path) -> None:
    await recorded(tmp_path, *(recording("Roll a die for me", f"old {n}", sequence=n) for n in (1, 2, 3)))
    await recorded(tmp_path, *(recording("Roll one die for me", f"new {n}", sequence=n) for n in (1, 2, 3)))
    for n, data in enumerate(tree(tmp_path).values(), 1):
        assert f'"new {n}"'.encode() in data


@runs
async def test_files_that_come_change_or_go_while_the_proxy_runs_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassettes, "_LOOK_AGAIN", 0.0)
    entry = recording("Hello", "first")
    async with opened(tmp_path) as store, opened(tmp_path) as other:
        assert await store.get(entry.key) is None
        other.put(entry)
        await other.flushed()
        assert (await store.get(entry.key)) == replace(entry, request=b"")
        (path,) = (tmp_path / "default").iterdir()
        path.write_text(path.read_text().replace('"first"', '"edited"'))
        found = await store.get(entry.key)
        assert found is not None
        assert b'"edited"' in found.body
        path.unlink()
        assert await store.get(entry.key) is None


@runs
async def test_a_file_that_cannot_be_read_is_said_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassettes, "_LOOK_AGAIN", 0.0)
    good = recording("Hello")
    await recorded(tmp_path, good, recording("Something else entirely to say"))
    _, broken = sorted((tmp_path / "default").iterdir())
    broken.write_text("<<<<<<< HEAD\n" + broken.read_text())
    with caplog.at_level(logging.WARNING):
        async with opened(tmp_path, writable=False) as store:
            assert store.problems == {
                f"default/{broken.name}": "it has the marks of a merge conflict (line 1); resolve the conflict"
            }
            assert await store.get("0" * 64) is None
            assert await store.get(good.key) is not None
    assert len([record for record in caplog.records if "left out" in record.message]) == 1
    assert str(broken) in caplog.text


@runs
async def test_a_part_that_is_gone_is_named(tmp_path: Path) -> None:
    entry = recording("Hello", system=SYSTEM)
    await recorded(tmp_path, entry)
    (tmp_path / ".index").unlink()
    (part,) = (tmp_path / "parts").iterdir()
    part.unlink()
    async with opened(tmp_path, writable=False) as store:
        assert await store.get(entry.key) is None
        ((_, reason),) = store.problems.items()
        assert part.name in reason


@runs
async def test_a_checkout_with_crlf_still_answers(tmp_path: Path) -> None:
    entry = recording("Hello\r\nyou", system=SYSTEM)
    await recorded(tmp_path, entry)
    (tmp_path / ".index").unlink()
    for path in [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.txt")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    async with opened(tmp_path, writable=False) as store:
        assert (await store.get(entry.key)) == replace(entry, request=b"")
        assert [each async for each in store.entries()] == [entry]


@runs
async def test_git_is_told_what_these_files_are(tmp_path: Path) -> None:
    await recorded(tmp_path, recording("Hello"))
    assert "*.json text eol=lf" in (tmp_path / ".gitattributes").read_text()
    assert ".index" in (tmp_path / ".gitignore").read_text().splitlines()
    (tmp_path / ".gitattributes").write_text("mine")
    await recorded(tmp_path, recording("something new to say"))
    assert (tmp_path / ".gitattributes").read_text() == "mine"
    assert not list(tmp_path.glob(".used-*"))


@runs
async def test_what_another_run_uses_or_has_just_written_is_not_taken_from_it(tmp_path: Path) -> None:
    old = recording("Say hello to the people of Rome")
    await recorded(tmp_path, old)
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        assert await one.get(old.key) is not None
        await one.flushed()
        fresh = recording("Say hello to the people of Pisa")
        one.put(fresh)
        await one.flushed()
        other.put(recording("Say hello to the people of Bari"))
        assert (await other.settle()).modified == []
        assert await one.get(old.key) is not None
        assert await one.get(fresh.key) is not None


@runs
async def test_what_a_run_used_that_ended_meanwhile_is_not_taken_from_it(tmp_path: Path) -> None:
    old = recording("Say hello to the people of Rome")
    await recorded(tmp_path, old)
    async with opened(tmp_path) as one:
        assert await one.get(old.key) is not None
        other = CassetteStore("", tmp_path, key_of, "1")
        await other.open()
    other.put(recording("Say hello to the people of Bari"))
    assert (await other.settle()).modified == []
    await other.close()
    assert not list(tmp_path.glob(".used-*"))
    async with opened(tmp_path) as later:
        later.put(recording("Say hello to the people of Pisa"))
        assert len((await later.settle()).modified) == 1


@runs
async def test_used_and_unused_files_are_known_by_their_names(tmp_path: Path) -> None:
    one, other = recording("Hello"), recording("a whole other question about the sea")
    await recorded(tmp_path, one, other)
    async with opened(tmp_path, writable=False) as store:
        await store.get(one.key)
        await store.flushed()
        assert store.used == {"default/openai-chat-gpt-4o-t1-1.json"}
        assert store.unused() == ["default/openai-chat-gpt-4o-t1-2.json"]
        assert [(file.used, file.created) for file in store.files()] == [(True, one.created), (False, one.created)]


@runs
async def test_pruned_files_go_with_their_parts(tmp_path: Path) -> None:
    kept = recording("Hello", system=SYSTEM)
    await recorded(tmp_path, kept, recording("a whole other question", system="other " + SYSTEM))
    async with opened(tmp_path) as store:
        await store.delete([path for path in tree(tmp_path) if path.endswith("-2.json")])
        assert len(list((tmp_path / "parts").iterdir())) == 1
        assert [entry.key async for entry in store.entries()] == [kept.key]


@runs
async def test_what_is_removed_or_purged_is_gone(tmp_path: Path) -> None:
    entries = [recording("Hello"), replace(recording("Bye"), issued="resp_1"), recording("Hi", namespace=TEST)]
    async with opened(tmp_path) as store:
        for entry in entries:
            store.put(entry)
        store.remove(entries[0].key)
        assert await store.get(entries[0].key) is None
        await store.flushed()
        store.remove_issuer("resp_1")
        assert await store.get(entries[1].key) is None
        await store.purge(TEST)
        assert await store.get(entries[2].key) is None
        assert await store.count() == 0
    assert not [path for path in tree(tmp_path) if not path.startswith("parts/")]


@runs
async def test_an_entry_that_cannot_be_written_is_counted_and_breaks_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.put(replace(recording("Hello"), url="\ue0001"))
        await store.flushed()
        assert store.dropped == 1
        store.put(recording("Hello"))
    assert len(tree(tmp_path)) == 1


@runs
async def test_a_full_disk_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with opened(tmp_path) as store:
        with monkeypatch.context() as disk:
            disk.setattr(CassetteDirectory, "write", full)
            store.put(recording("Hello"))
            await store.flushed()
        assert (store.dropped, store.failures["disk"]) == (1, 1)
        assert tree(tmp_path) == {}
        store.put(recording("Hello"))
    assert len(tree(tmp_path)) == 1


@runs
async def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "cassettes"
    outside.mkdir()
    folder.mkdir()
    (folder / "default").symlink_to(outside)
    async with opened(folder) as store:
        store.put(recording("Hello"))
        await store.flushed()
        assert store.failures["disk"] == 1
    assert not list(outside.iterdir())


WRITER = """
import asyncio, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from unit.stores.test_cassette_store import opened, recording
async def main():
    folder = Path({folder!r})
    async with opened(folder) as store:
        (folder / f".ready-{{sys.argv[1]}}").touch()
        while len(list(folder.glob(".ready-*"))) < 2:
            await asyncio.sleep(0.02)
        for n in range(20):
            store.put(recording(f"process {{sys.argv[1]}} has question {{n}}"))
asyncio.run(main())
"""


@pytest.mark.thorough
def test_several_processes_write_at_once(tmp_path: Path) -> None:
    script = WRITER.format(paths=sys.path, folder=str(tmp_path))
    running = [subprocess.Popen([sys.executable, "-c", script, str(n)]) for n in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]

    async def found() -> int:
        async with opened(tmp_path) as store:
            assert not store.problems
            return await store.count()

    assert asyncio.run(found()) == 40
    assert {path.rpartition("-")[2] for path in tree(tmp_path)} == {f"{n}.json" for n in range(1, 41)}
