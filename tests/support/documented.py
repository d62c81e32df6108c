"""The files that a page of docs/ shows: a name between backticks and a colon, then a block."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())

_FILE = re.compile(r"`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """The text of each file that `docs/PAGE` shows, by its name."""
    return dict(_FILE.findall((ROOT / "docs" / page).read_text("utf-8")))


def write_files_of(page: str, folder: Path) -> None:
    for name, text in files_of(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
