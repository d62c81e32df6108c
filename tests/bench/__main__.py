"""The command behind `scripts/bench`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from . import balanced, filled, hits, keys, misses, sizes, wrk
from .figures import Figure, table
from .machine import described
from .scenario import QUICK, SCENARIOS, Bench
from .subjects import stage

_FILES = (hits, balanced, keys, misses, sizes)
"""They register their scenarios."""


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1
    if arguments.list:
        for name, function in SCENARIOS.items():
            print(f"{name:12} {'*' if name in QUICK else ' '} {(function.__doc__ or '').strip()}")
        print("* without arguments")
        return 0
    names = list(SCENARIOS) if arguments.all else arguments.scenarios or QUICK
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"ai-cache: bench: there is no scenario {unknown[0]!r}; --list names them", file=sys.stderr)
        return 2
    about = {"date": time.strftime("%Y-%m-%d %H:%M"), **described()}
    if not wrk.is_there():
        print(f"ai-cache: bench: {wrk.INSTALL}", file=sys.stderr)
    figures: list[Figure] = []
    began = time.monotonic()
    for name in names:
        print(f"ai-cache: bench: {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="ai-cache-bench-") as folder, stage(Path(folder)) as started:
            found = SCENARIOS[name](Bench(started, arguments.rounds, arguments.seconds))
            figures += [replace(figure, scenario=name) for figure in found]
        # What was measured stays, whatever happens to the rest.
        report = {"about": about, "figures": [figure.as_json() for figure in figures]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(", ".join(f"{name} {value}" for name, value in about.items()) + ";")
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s; {time.monotonic() - began:.0f} s in all\n")
    print(table(figures))
    print(f"ai-cache: bench: every round is in {arguments.json}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure the cache against a stock mitmdump. Every figure is a ratio to a baseline that ran in "
        "turns with it. Without arguments: what fills the main table, in some four minutes.",
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="what to measure; --list names them")
    parser.add_argument("--all", action="store_true", help="measure everything: an hour")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s: what works, not how fast it is")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="turns of each subject (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2, metavar="S", help="of one measurement (default: %(default)s)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=filled.folder() / "last.json",
        metavar="FILE",
        help="where every round is written (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
