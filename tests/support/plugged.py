"""Distributions with plug-ins, as an installer leaves them: a module, and the metadata beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmproxy_ai_cache.system import plugins


def installed(
    folder: Path, distribution: str, group: str, points: dict[str, str], version: str = "1.2", **modules: str
) -> None:
    """Put a distribution into `folder`: `points` are the entry points of `group`, `modules` its modules' sources."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`folder` is where Python looks for distributions, and nothing was loaded yet."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_left_out", [])
