"""Run as a process of its own: one target of `targets.py` under libFuzzer. Arguments: its name, seconds, a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mitmproxy_ai_cache"]):
    import mitmproxy_ai_cache.calls.cache  # noqa: F401 everything the targets call

from fuzz.material import SEEDS
from fuzz.targets import TARGETS


def main() -> None:
    name, seconds, folder = sys.argv[1:]
    for number, seed in enumerate(SEEDS[name]()):
        Path(folder, str(number)).write_bytes(number.to_bytes(2, "big") + seed[: 1 << 16])

    def one(data: bytes) -> None:
        TARGETS[name](int.from_bytes(data[:2], "big"), data[2:])

    options = [
        f"-max_total_time={seconds}",
        "-max_len=65536",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", folder], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
