"""`scripts/venv.sh`: one set-up at a time, and a line that helps where there can be none."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import ROOT
from mounts import read_only, with_mounts

pytestmark = pytest.mark.thorough

UV = """#!/bin/sh
# Stands in for uv: makes what it would make, and writes down that it did.
case "$1 $2" in
    "python find") echo {python} ;;
    "venv --quiet") mkdir -p "$5/bin" && ln -s {python} "$5/bin/python" ;;
    "pip install") echo begin >>{log}; sleep 0.3; echo end >>{log} ;;
esac
"""

Call = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose command prints `done`, with a `uv` on PATH that installs nothing."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "scripts" / "venv.sh", clone / "scripts")
    (clone / "pyproject.toml").write_text("")
    (clone / "requirements.lock").write_text("")
    script(clone / "scripts" / "it", '#!/bin/sh\nset -eu\n. "$(dirname -- "$0")/venv.sh"\nensure_venv run\necho done\n')
    script(tmp_path / "bin" / "uv", UV.format(python=sys.executable, log=tmp_path / "log"))
    return clone


def script(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o755)


@pytest.fixture
def call(clone: Path, tmp_path: Path) -> Call:
    def call(mounts: str = "", **more: str) -> subprocess.Popen[str]:
        command = [str(clone / "scripts" / "it")]
        environ = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path), **more}
        return subprocess.Popen(
            with_mounts(mounts, *command) if mounts else command,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, errors = process.communicate(timeout=60)
    return process.returncode, said, errors


def signed(clone: Path, holder: str) -> Path:
    lock = clone / ".venv.lock"
    lock.mkdir()
    (lock / "holder").write_text(f"{holder}\n")
    return lock


def gone() -> int:
    """The id of a process that was."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_set_up_is_made_once_and_leaves_no_lock(call: Call, clone: Path, tmp_path: Path) -> None:
    assert ended(call())[:2] == (0, "done\n")
    code, said, errors = ended(call())
    assert (code, said, errors) == (0, "done\n", "")
    assert (tmp_path / "log").read_text().splitlines() == ["begin", "end"]
    assert not (clone / ".venv.lock").exists()


def test_many_first_calls_make_one_set_up(call: Call, tmp_path: Path) -> None:
    assert [ended(process)[:2] for process in [call() for _ in range(8)]] == [(0, "done\n")] * 8
    assert (tmp_path / "log").read_text().splitlines() == ["begin", "end"]


def test_many_calls_after_a_set_up_that_was_killed_make_one(call: Call, clone: Path, tmp_path: Path) -> None:
    lock = signed(clone, f"{os.uname().nodename} {gone()}")
    (clone / ".venv").mkdir()
    (clone / ".venv" / "half").touch()
    done = [ended(process) for process in [call() for _ in range(8)]]
    assert [each[:2] for each in done] == [(0, "done\n")] * 8
    assert sum("was broken off" in errors for _, _, errors in done) == 1
    assert (tmp_path / "log").read_text().splitlines() == ["begin", "end"]
    assert not lock.exists()
    assert not (clone / ".venv" / "half").exists()


def test_a_set_up_that_is_under_way_is_waited_for(call: Call, clone: Path) -> None:
    other = subprocess.Popen(["sleep", "600"])
    lock = signed(clone, f"{os.uname().nodename} {other.pid}")
    waiting = call()
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "ai-cache: another first call is setting up .venv; waiting\n"
    other.kill()
    other.wait()
    assert ended(waiting)[:2] == (0, "done\n")
    assert not lock.exists()


def test_a_set_up_of_another_machine_is_not_taken_for_dead(call: Call, clone: Path) -> None:
    lock = signed(clone, f"another-container {gone()}")
    waiting = call()
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    shutil.rmtree(lock)
    assert ended(waiting)[:2] == (0, "done\n")


def test_a_clone_that_cannot_be_written_is_said_at_once(call: Call, clone: Path) -> None:
    code, said, errors = ended(call(read_only(clone)))
    assert (code, said) == (125, "")
    assert errors == (
        f"ai-cache: {clone} cannot be written (Read-only file system), and .venv is made there; copy the clone to a "
        f"folder of yours, or install from it: uv tool install {clone}\n"
    )


def test_a_set_up_that_is_there_needs_nothing_to_be_written(call: Call, clone: Path) -> None:
    ended(call())
    assert ended(call(read_only(clone))) == (0, "done\n", "")


def test_an_installation_that_fails_is_tried_again(call: Call, clone: Path, tmp_path: Path) -> None:
    works = (tmp_path / "bin" / "uv").read_text()
    script(tmp_path / "bin" / "uv", works.replace("echo begin", "exit 2; echo begin"))
    code, said, errors = ended(call())
    assert (code, said) == (125, "")
    assert errors.splitlines()[-1].startswith("ai-cache: the installation failed")
    assert not (clone / ".venv.lock").exists()
    script(tmp_path / "bin" / "uv", works)
    assert ended(call())[:2] == (0, "done\n")


@pytest.mark.parametrize("name", ["HOME", None])
def test_where_there_is_no_python_uv_is_named_first(clone: Path, tmp_path: Path, name: str | None) -> None:
    if glob.glob("/usr/bin/python3.1[234]") + glob.glob("/usr/local/bin/python3.1[234]"):
        pytest.skip("there is a Python where every system has it")
    bare = tmp_path / "bare"
    bare.mkdir()
    for tool in "sh cat cksum dirname readlink mkdir rmdir mv rm date uname find sleep ps".split():
        found = shutil.which(tool)
        if found:
            (bare / tool).symlink_to(found)
    script(bare / "python3", "#!/bin/sh\nexit 1\n")  # too old
    environ = {"PATH": str(bare)} | ({name: str(tmp_path)} if name else {})
    it = [str(bare / "sh"), str(clone / "scripts" / "it")]
    done = subprocess.run(it, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.count("\n") == 1
    assert "Easiest is uv, which brings one: pipx install uv" in done.stderr
    assert done.stderr.index("uv") < done.stderr.index("apt")
    assert "python3.12" not in done.stderr
    assert not (clone / ".venv.lock").exists()
