"""Where settings come from: flag > environment > ai-cache.toml > default."""

from __future__ import annotations

import argparse
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..configuration.options import LIST, OPTIONS, Option
from ..configuration.settings import SettingsError
from ..proxy.targets import LOCAL
from ..stores import CASSETTES
from ..wire.safe_text import quoted, safe_name
from ..wire.spelling import did_you_mean, meant
from . import project
from .project import Project

_LARGEST = 256 << 10
"""Bytes of a file with settings."""
_MOST_DOTS = 1000
"""In a line: a name of that many parts takes tomllib very long."""

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""What was a plain file may be a pipe by now."""

_PYPROJECT = "pyproject.toml"

_FLAGS = {
    "store": "store",
    "mode": "mode",
    "hosts": "hosts",
    "log_format": "log_format",
    "dashboard": "dashboard",
}

_OF_MITMPROXY = ("allow_hosts", "mode", "websocket")
"""Options of mitmproxy that are called like one of ours without its prefix."""

_PREFIX = "AI_CACHE_"
BEFORE = "AI_CACHE_BEFORE_"
"""Begins the variables in which `ai-cache env` keeps what a shell had set before."""
_VARIABLES = (
    *(option.name.upper() for option in OPTIONS),
    *(_PREFIX + name for name in ("COMMAND", "ENV", "HOST", "PORT", "PROXY", "TRUST", "URL")),
)


@dataclass(frozen=True, slots=True)
class Value:
    """A setting and its origin."""

    value: Any
    origin: str


def gather(arguments: argparse.Namespace, environ: Mapping[str, str], start: Path) -> dict[str, Value]:
    """Every `ai_cache_*` option with its value and where that came from. Raises `SettingsError`."""
    return collect(arguments, environ, start)[0]


def collect(arguments: argparse.Namespace, environ: Mapping[str, str], start: Path) -> tuple[dict[str, Value], Project]:
    """The options, and what the file of the directory has to do with them. Raises `SettingsError`."""
    file, table = nearest_file(start)
    if not getattr(arguments, "ignore_project", False):
        _check_names(file, table)
    counting = project.of(file, table, arguments, environ)
    found = _gathered(counting, arguments, environ)
    return _without_trust(found, counting, arguments)


def _without_trust(
    found: dict[str, Value], counting: Project, arguments: argparse.Namespace
) -> tuple[dict[str, Value], Project]:
    """What an untrusted file means besides its settings. Raises `SettingsError`."""
    origin = str(counting.file)
    if counting.trusted:
        return found, counting
    if found["ai_cache_store"].origin != origin:  # the size is for the store of the directory alone
        counting = replace(counting, own_answers_only=False)
        if found["ai_cache_max_size"].origin == origin:
            default = next(option.default for option in OPTIONS if option.name == "ai_cache_max_size")
            found["ai_cache_max_size"] = Value(default, "default")
    if counting.stays_replay and found["ai_cache_mode"].origin == "default":
        found["ai_cache_mode"] = Value("replay", f"{origin} asks for a replay; --mode MODE beats it")
    if counting.own_answers_only:
        project.check_recordings(found["ai_cache_store"].value, found["ai_cache_mode"].value, arguments.name)
    return found, counting


def _check_names(file: Path, table: Mapping[str, Any]) -> None:
    known = [option.name.removeprefix("ai_cache_") for option in OPTIONS]
    for name in table:
        if name not in known:
            near = did_you_mean(name, known)
            raise SettingsError(f"{file}: there is no setting {safe_name(name)!r}{near}; ai-cache options lists them")


def _gathered(counting: Project, arguments: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Value]:
    found = {option.name: Value(option.default, "default") for option in OPTIONS}
    by_name = {option.name: option for option in OPTIONS}
    for name, raw in counting.table.items():
        option = by_name[f"ai_cache_{name}"]
        found[option.name] = Value(_from_toml(option, raw, counting.file), str(counting.file))
    for option in OPTIONS:
        if text := environ.get(option.name.upper()):  # an empty variable is an unset one, as in compose files
            found[option.name] = Value(_from_text(option, text), f"environment {option.name.upper()}")
    for name, flag in _FLAGS.items():
        given = getattr(arguments, flag, None)
        if given:
            origin = getattr(arguments, f"{flag}_origin", f"--{flag.replace('_', '-')}")  # `record` asks twice
            found[f"ai_cache_{name}"] = Value(tuple(given) if name == "hosts" else given, origin)
    lists: dict[str, list[str]] = {}
    for assignment in getattr(arguments, "set", None) or []:
        name, separator, text = assignment.partition("=")
        if name not in by_name:
            if name.startswith("ai_cache_") or (f"ai_cache_{name}" in by_name and name not in _OF_MITMPROXY):
                raise SettingsError(f"there is no option {safe_name(name)}{did_you_mean(name, by_name)}")
            continue  # one of mitmproxy's own
        option = by_name[name]
        if option.type is LIST:
            lists.setdefault(name, []).extend([text] if separator else [])
            found[name] = Value(tuple(lists[name]), "--set")
        else:
            found[name] = Value(_from_text(option, text if separator else "true"), "--set")
    if getattr(arguments, "local", False):
        named = found["ai_cache_hosts"]
        more = [name for name in LOCAL if name not in named.value]
        found["ai_cache_hosts"] = Value((*named.value, *more), "--local" if more else named.origin)
    return found


def mistyped(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that is none of ours and looks like a mistyped one."""
    others = [
        name for name in environ if name.startswith(_PREFIX) and not name.startswith(BEFORE) and name not in _VARIABLES
    ]
    return [
        f"the variable {safe_name(name)} does nothing; did you mean {name_meant}?"
        for name in others
        if (name_meant := meant(name, _VARIABLES))
    ]


def nearest_file(start: Path) -> tuple[Path, Mapping[str, Any]]:
    """The nearest ai-cache.toml upwards, or pyproject.toml with a `[tool.ai-cache]`."""
    for folder in (start, *start.parents):
        own = folder / "ai-cache.toml"
        if own.is_file():
            return own, _load(own)
        shared = folder / _PYPROJECT
        if shared.is_file():
            tool = _load(shared).get("tool", {})
            if isinstance(tool, dict) and isinstance(tool.get("ai-cache"), dict):
                return shared, tool["ai-cache"]
    return start / "ai-cache.toml", {}


def _load(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | _NONBLOCK)) as content:
            if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
                raise SettingsError(f"{file} is no plain file; remove it")
            data = content.read(_LARGEST + 1)
        if file.name == _PYPROJECT and b"ai-cache" not in data:
            return {}  # there is no table of ours in it
        if len(data) > _LARGEST or any(line.count(b".") > _MOST_DOTS for line in data.splitlines()):
            raise SettingsError(f"{file} is too large (256 kB, 1000 dots a line); write a smaller ai-cache.toml")
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise SettingsError(f"{file} is nested too deep to be read; correct the file") from None
    except SettingsError:
        raise
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _from_text(option: Option, text: str) -> Any:
    """The value of an environment variable or of `--set`."""
    if option.type is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            raise SettingsError(f"{option.name} is {quoted(text)}; write true or false")
        return text.lower() in ("true", "1", "yes", "on")
    if option.type is int:
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{option.name} is {quoted(text)}; write a whole number") from None
    if option.type is LIST:
        return tuple(line.strip() for line in text.replace("\n", ";").split(";") if line.strip())
    return text


def _from_toml(option: Option, raw: Any, file: Path) -> Any:
    """The value in a file; a store's path is relative to that file."""
    if option.type is LIST:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise SettingsError(f"{file}: {option.name.removeprefix('ai_cache_')} must be a list of strings")
        return tuple(raw)
    if option.type is str and isinstance(raw, int | float) and not isinstance(raw, bool):
        raw = str(raw)
    if not isinstance(raw, option.type) or (option.type is int and isinstance(raw, bool)):
        raise SettingsError(f"{file}: {option.name.removeprefix('ai_cache_')} must be a {option.type.__name__}")
    for prefix in ("sqlite:///", CASSETTES) if option.name == "ai_cache_store" else ():
        if raw.startswith(prefix):
            return prefix + str((file.parent / os.path.expanduser(raw.removeprefix(prefix))).absolute())
    return raw
