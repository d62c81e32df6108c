"""wrk, the load for plain HTTP where it is installed: it takes next to nothing of what it measures."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .figures import Sample
from .machine import cpu_of
from .material import HOST, PATH

INSTALL = "wrk is not installed (apt install wrk, brew install wrk): our own generator takes its place"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def is_there() -> bool:
    return shutil.which("wrk") is not None


def measure(folder: Path, port: int, pids: Sequence[int], body: str, connections: int, seconds: float) -> Sample:
    """One request over and over. wrk takes whole seconds."""
    script = folder / "post.lua"
    headers = {"Host": HOST, "Authorization": "Bearer sk-bench", "Content-Type": "application/json"}
    lines = ['wrk.method = "POST"', f'wrk.path = "http://{HOST}{PATH}"', f"wrk.body = {_lua(body)}"]
    lines += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()]
    script.write_text("\n".join(lines))
    words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "--latency"]
    before, own, began = sum(map(cpu_of, pids)), _children(), time.perf_counter()
    ended = subprocess.run(
        [*words, "-s", str(script), f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    elapsed, cpu, own = time.perf_counter() - began, sum(map(cpu_of, pids)) - before, _children() - own
    return read(ended.stdout, elapsed, cpu, own)


def read(output: str, elapsed: float, cpu: float, load_cpu: float) -> Sample:
    """What wrk prints."""
    requests = re.search(r"(\d+) requests in", output)
    per_second = re.search(r"Requests/sec: *([\d.]+)", output)
    if not requests or not per_second or not int(requests[1]):
        raise SystemExit(f"ai-cache: bench: wrk got no answers:\n{output}")
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    seconds = int(requests[1]) / float(per_second[1]) if float(per_second[1]) else elapsed
    return Sample(
        int(requests[1]), seconds, _share(output, 50), _share(output, 99), cpu, load_cpu,
        failed=int(failed[1]) if failed else 0,
    )  # fmt: skip


def _share(output: str, percent: int) -> float:
    found = re.search(rf"{percent}% *([\d.]+)(us|ms|s)\b", output)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _lua(text: str) -> str:
    return json.dumps(text)  # ASCII without control characters: the same in both languages


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
