"""`ai-cache uninstall` lists what ai-cache has made, and removes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmproxy_ai_cache.cli import main, trusted, uninstall
from mitmproxy_ai_cache.system import trust
from mitmproxy_ai_cache.system.places import cache_directory, data_directory


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(uninstall, "alive", lambda url: False)


@pytest.fixture
def used(tmp_path: Path) -> list[Path]:
    """What a user of some months has."""
    cache = cache_directory()
    (cache / "cassettes").mkdir(parents=True)
    names = (
        "cache.sqlite3",
        "cache.sqlite3-wal",
        "cache.sqlite3.20261128-101112.aside",
        "cassettes/0123456789abcdef.json",
    )
    for name in names:
        (cache / name).write_bytes(b"x" * 1000)
    authority = trust.make_authority(trust.directory())
    bundle = trust.write_bundle(trust.directory(), authority, {})
    trust.publish_bundle(trust.directory(), bundle)
    trust.write_java_store(trust.directory() / trust.BUNDLE)
    broken = trust.directory() / "broken-20261128-101112-abc"
    broken.mkdir()
    (broken / trust.KEY).write_text("x")
    file = tmp_path / "ai-cache.toml"
    file.write_text("")
    trusted.remember(file, "0" * 64)
    return [path for top in (cache, data_directory()) for path in top.rglob("*") if path.is_file()]


def test_it_lists_all_and_removes_nothing_by_itself(used: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uninstall"]) == 0
    shown = capsys.readouterr().out
    for kind in uninstall.made():
        assert any(line.startswith(kind.what) and line.endswith(str(kind.folder)) for line in shown.splitlines()), shown
    assert "3.0 kB  3 files" in shown
    assert all(path.exists() for path in used)


def test_with_yes_nothing_of_it_is_left(used: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uninstall", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert f"removed {len(used)} files" in shown, shown
    assert not cache_directory().exists()
    assert not data_directory().exists()
    assert main(["uninstall", "--yes"]) == 0
    assert "ai-cache has made nothing on this machine" in capsys.readouterr().out


def test_what_others_made_stays(used: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / f"{'a' * 32}.pem").write_text("x")
    bundles = trust.directory() / "bundles"
    for file in bundles.iterdir():
        file.unlink()
    bundles.rmdir()
    bundles.symlink_to(linked)
    others = [
        cache_directory() / "cache.sqlite3.backup",
        cache_directory() / "cassettes" / "weather.json",
        trust.directory() / "own-ca.pem",
        data_directory() / "notes",
        linked / f"{'a' * 32}.pem",
    ]
    for file in others:
        file.write_text("mine")
    (cache_directory() / "cache.sqlite3-shm").symlink_to(others[3])
    assert main(["uninstall", "--yes"]) == 0
    assert [file.read_text() for file in others] == ["mine"] * len(others)
    assert (cache_directory() / "cache.sqlite3-shm").is_symlink()
    assert not (cache_directory() / "cache.sqlite3").exists()
    assert not (trust.directory() / trust.KEY).exists()
    shown = capsys.readouterr().out
    assert f"not made by ai-cache, so it stays: {data_directory()}: ca, notes" in shown


def test_nothing_is_removed_below_a_running_proxy(
    used: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uninstall, "alive", lambda url: True)
    assert main(["uninstall", "--yes"]) == 125
    assert "stop it first" in capsys.readouterr().err
    assert all(path.exists() for path in used)
