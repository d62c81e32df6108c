"""What the configuration file of a directory may set: a cloned repository is not the user."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..configuration.settings import SettingsError
from ..explain.shown import printable
from ..stores import CASSETTES
from . import trusted

SAFE = frozenset(
    {
        "ttl",
        "live_ttl",
        "ignore",
        "normalize",
        "key_headers",
        "profiles",
        "namespace",
        "samples",
        "repeat",
        "skip_stop_reasons",
        "redact",
        "log_format",
    }
)
"""The settings that count without trust. `store` does inside the directory, and `max_size` on such a store."""

SQLITE = "sqlite:///"
VARIABLE = "AI_CACHE_TRUST"
ALL = "all"

_ANSWERS = ("run", "serve")
"""Commands in which recordings of the directory answer only once it is trusted. In others the user typed that."""
_LOOKS_ONLY = ("config",)
"""Commands that show the settings and do nothing with them."""
_BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite opens beside its own."""
_CONTROL = (".git", ".hg", ".svn", ".jj")


class Untrusted(SettingsError):
    """The file of the directory has settings that need trust. One line with the ways on."""


@dataclass(frozen=True, slots=True)
class Project:
    """What counts of the file, and why."""

    file: Path
    table: Mapping[str, Any] = field(default_factory=dict)
    """The settings that count."""
    trusted: bool = False
    ignored: tuple[str, ...] = ()
    ignored_by: str = ""
    """What keeps them from counting."""
    stays_replay: bool = False
    """A replay was meant: what is ignored must not turn it into calls that cost money."""
    own_answers_only: bool = False
    """The store of the directory is used, but only what this process keeps there may answer."""


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings of the directory (ai-cache.toml, [tool.ai-cache])")
    group.add_argument(
        "--trust",
        metavar="HASH",
        help=f"trust the file if ai-cache trust --print prints HASH for it (for CI; also {VARIABLE}=HASH); {ALL} "
        "trusts any file and is unsafe for pull requests of forks",
    )
    group.add_argument(
        "--ignore-project", action="store_true", help="start without the settings of the file that need trust"
    )


def digest(table: Mapping[str, Any]) -> str:
    """The hash of our settings. Comments, order and the rest of a pyproject.toml do not change it."""
    try:
        return hashlib.sha256(_canonical(table).encode("utf-8", "surrogatepass")).hexdigest()
    except RecursionError:
        raise SettingsError("the settings of the directory are nested too deep; ai-cache options lists them") from None


def _canonical(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name!r}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return f"{type(value).__name__}:{value!r}"


def is_trusted(file: Path, table: Mapping[str, Any], given: str) -> bool:
    """By the user's memory, or by a hash (several: with commas) from a command line or the environment."""
    words = re.split(r"[\s,]+", given.strip())
    content = digest(table)
    return ALL in words or content in [word.lower() for word in words] or trusted.remembers(file, content)


def of(file: Path, table: Mapping[str, Any], arguments: argparse.Namespace, environ: Mapping[str, str]) -> Project:
    """What counts of `table`, the settings in `file`. Raises `Untrusted` where a command must not start with it."""
    given = getattr(arguments, "trust", None) or environ.get(VARIABLE, "")
    ignores = bool(getattr(arguments, "ignore_project", False))
    if not table or (not ignores and is_trusted(file, table, given)):
        return Project(file, table, trusted=bool(table))
    why = strange(file)
    needing = sorted(table) if why else needing_trust(file, table)
    if needing and not ignores and _name(arguments) not in _LOOKS_ONLY:
        raise Untrusted(_stopped(file, needing, why, given))
    answers = _name(arguments) in _ANSWERS and not getattr(arguments, "cassettes", False)
    if answers and ignores:  # what the recordings of a stranger would answer
        needing = sorted({*needing, *({"store", "max_size"} & table.keys())})
    counting = {name: value for name, value in table.items() if name not in needing}
    return Project(
        file,
        counting,
        ignored=tuple(needing),
        ignored_by="--ignore-project" if ignores else "they need trust, run: ai-cache trust",
        stays_replay=bool(needing) and _means_replay(table, environ),
        own_answers_only=answers and "store" in counting,
    )


def _name(arguments: argparse.Namespace) -> str:
    return str(getattr(arguments, "name", ""))


def needing_trust(file: Path, table: Mapping[str, Any]) -> list[str]:
    """The settings of a file of the user's own that do not count without trust."""
    within = is_inside(table.get("store"), file.parent)
    safe = SAFE | ({"store", "max_size"} if within else set())
    return sorted(table.keys() - safe)


def strange(file: Path) -> str:
    """Why no setting of `file` counts without trust; nothing where it is a plain file of the user's."""
    try:
        owners = {file.stat().st_uid, file.lstat().st_uid}
        leads_out = file.is_symlink() and not file.resolve().is_relative_to(file.parent.resolve())
    except (OSError, RuntimeError):
        return "cannot be looked at"
    if hasattr(os, "geteuid") and owners != {os.geteuid()}:
        return "belongs to another user"
    return "is a link that leads out of its directory" if leads_out else ""


def is_inside(store: Any, folder: Path) -> bool:
    """Whether this URL names SQLite or cassettes below `folder`, links resolved. Relative paths are relative to it."""
    prefix = next((one for one in (SQLITE, CASSETTES) if isinstance(store, str) and store.startswith(one)), "")
    if not prefix:
        return False
    try:
        path = (folder / os.path.expanduser(store.removeprefix(prefix))).resolve()
        below = path.relative_to(folder.resolve()).parts
    except (OSError, ValueError, RuntimeError):  # outside, or no path at all
        return False
    if any(part.casefold() in _CONTROL for part in below):
        return False
    if prefix == CASSETTES:
        return path.is_dir() or not path.exists()
    linked = any(os.path.islink(f"{path}{ending}") for ending in _BESIDE)
    return bool(below) and not linked and (path.is_file() or not path.exists())


def check_recordings(store: str, mode: str, command: str) -> None:
    """Of an untrusted directory, for `run` and `serve`: raises `Untrusted` where they would have to answer."""
    cassettes = store.startswith(CASSETTES)
    path = Path(store.removeprefix(CASSETTES).removeprefix(SQLITE))
    answering = mode != "off" if cassettes else mode in ("replay", "read-only")
    if not answering or not (any(path.glob("*")) if path.is_dir() else path.exists()):
        return
    typed = "; ai-cache record and ai-cache replay use them as they are" if cassettes else ""
    raise Untrusted(
        f"the recordings at {printable(str(path))} come with the directory and do not answer in {command} without trust"
        f"{typed}; to trust them run: ai-cache trust; to start without them add --ignore-project"
    )


def _means_replay(table: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether the file asks for a replay: by its mode, or by cassettes where CI is set."""
    if table.get("mode") == "replay":
        return True
    ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return ci and str(table.get("store", "")).startswith(CASSETTES)


def _stopped(file: Path, needing: list[str], why: str, given: str) -> str:
    reason = f"{printable(str(file))} {why}; its settings need your trust" if why else ""
    reason = reason or f"{printable(str(file))} has settings that need your trust"
    other = f"{VARIABLE} or --trust is for another content; " if given else ""
    return (
        f"{reason}: {names(needing)}; {other}read the file, then run: ai-cache trust; "
        "to start without these settings add --ignore-project"
    )


def names(settings: list[str] | tuple[str, ...]) -> str:
    """Names of settings for one line. A file may have any text as a name."""
    return ", ".join(printable(name)[:60] for name in settings[:40])


def first_line(project: Project, counting: list[str]) -> str:
    """Which settings came from the directory; nothing where none did. `counting`: those no flag or variable beats."""
    file = printable(str(project.file))
    said = []
    if counting:
        plain = [name.removeprefix("ai_cache_") for name in counting]
        said.append(f"settings from {file}{', which you trust' if project.trusted else ''}: {names(plain)}")
        if project.own_answers_only:
            said.append("answers that were in this store before do not count until you run: ai-cache trust")
    if project.ignored:
        of_file = "" if counting else f" of {file}"
        said.append(f"ignored settings{of_file}: {names(project.ignored)} ({project.ignored_by})")
    return "; ".join(said)
