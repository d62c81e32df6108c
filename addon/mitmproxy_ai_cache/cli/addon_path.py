"""`ai-cache addon-path`: for `mitmdump -s "$(ai-cache addon-path)"`."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = 'print the path of the script for mitmdump -s "$(ai-cache addon-path)"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def main(arguments: argparse.Namespace) -> int:
    package = Path(__file__).resolve().parent.parent
    # In a folder of its own: mitmproxy puts the folder of a script in front of sys.path.
    installed = package / "proxy" / "script" / "mitm.py"
    print(installed if installed.is_file() else package.parent / "mitm.py")
    return 0
