"""The user's directories. Where there is no home, a path that begins with `~` and that nobody may make."""

from __future__ import annotations

from pathlib import Path

import platformdirs

_NO_HOME = Path("~")


def cache_directory() -> Path:
    try:
        return Path(platformdirs.user_cache_dir("ai-cache"))
    except RuntimeError:  # newer versions of platformdirs raise, older ones leave the tilde
        return _NO_HOME / ".cache" / "ai-cache"


def data_directory() -> Path:
    try:
        return Path(platformdirs.user_data_dir("ai-cache"))
    except RuntimeError:
        return _NO_HOME / ".local" / "share" / "ai-cache"


def is_nowhere(path: Path) -> bool:
    """Whether `path` is in a home that there is not: made anyway, it would be a folder named `~`."""
    return path.parts[:1] == ("~",)
