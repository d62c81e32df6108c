"""Coverage-guided: each target for twenty seconds, starting from real shapes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS
from harness import OF_THE_TESTS, ROOT

SECONDS = 20


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux on x86-64 alone")
@pytest.mark.parametrize("name", TARGETS)
def test_twenty_seconds_of_libfuzzer_find_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": OF_THE_TESTS,
    }
    command = [sys.executable, str(ROOT / "tests/fuzz/atheris_run.py"), name, str(SECONDS), str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=SECONDS + 120, check=False)
    said = done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-4000:]
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    with capsys.disabled():
        print(f"\n{name}: {runs[1] if runs else '?'} runs")
