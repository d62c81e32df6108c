"""Plug-ins: what other distributions add to this package by entry points.

An entry point of one of the groups below names a value of the group's type, a list or tuple of such values, or
something that returns one of these when it is called without arguments (a class, a function). A plug-in that cannot be
used is left out and named in one line of the log; it never stops a start.

Source: the entry points specification, https://packaging.python.org/en/latest/specifications/entry-points/.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..wire.safe_text import one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("ai-cache")

PROTOCOLS = "ai_cache.protocols"
PROVIDERS = "ai_cache.providers"
SECRET_KINDS = "ai_cache.secret_kinds"  # noqa: S105 a group

_SECTION = b"[ai_cache."
"""How the section of a group of ours begins in a distribution's `entry_points.txt`."""


@dataclass(frozen=True, slots=True)
class Plugin[T]:
    """One value of a plug-in, and whose it is."""

    value: T
    distribution: str
    version: str


_lock = RLock()
_loaded: dict[str, tuple[Plugin[Any], ...]] = {}


def load[T](
    group: str,
    of: type[T],
    name_of: Callable[[T], str],
    *,
    taken: Collection[str] = (),
    wrong: Callable[[T], str] = lambda value: "",
) -> tuple[Plugin[T], ...]:
    """The plug-ins of `group`, in the order of their distributions' names; loaded once in a process.

    `name_of` tells values apart: of two with one name the first counts, and none may have a name that is `taken`.
    `wrong` says what else is wrong with a value, or nothing.
    """
    with _lock:
        if group not in _loaded:
            found: dict[str, Plugin[T]] = {}
            for point in _points(group):
                try:
                    its: dict[str, Plugin[T]] = {}
                    for value in _values(point.load(), of):
                        its[_checked(value, name_of, wrong, taken, found | its)] = Plugin(value, *_whose(point))
                    found |= its
                except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
                    _say(point, error)
            _loaded[group] = tuple(found.values())
        return _loaded[group]


class _Unusable(Exception):
    """A plug-in that was imported and does not fit."""


def _values[T](named: Any, of: type[T]) -> Iterator[T]:
    value = named() if callable(named) and not isinstance(named, of) else named
    for each in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(each, of):
            raise _Unusable(f"it must give a {of.__module__}.{of.__qualname__} and gave a {type(each).__qualname__}")
        yield each


def _checked[T](
    value: T,
    name_of: Callable[[T], str],
    wrong: Callable[[T], str],
    taken: Collection[str],
    found: dict[str, Plugin[T]],
) -> str:
    """The name of `value`. Raises `_Unusable`."""
    if problem := wrong(value):
        raise _Unusable(problem)
    name = name_of(value)
    if name in taken:
        raise _Unusable(f"the name {name} is one of ai-cache's own")
    if name in found:
        raise _Unusable(f"the name {name} is taken by {found[name].distribution}")
    return name


def _say(point: EntryPoint, error: BaseException) -> None:
    distribution, version = _whose(point)
    why = str(error) if isinstance(error, _Unusable) else f"{type(error).__name__}: {error}"
    logger.warning(
        "ai-cache: the plug-in %s %s is left out (entry point %s of %s): %s; update it, or pip uninstall %s",
        distribution,
        version,
        one_line(point.name),
        point.group,
        one_line(why, 200),
        distribution,
    )


def _whose(point: EntryPoint) -> tuple[str, str]:
    """Name and version of a distribution, as they may be shown."""
    made_by = point.dist
    return (one_line(made_by.name or "?"), one_line(made_by.version or "?")) if made_by else ("?", "?")


def _points(group: str) -> list[EntryPoint]:
    if not _may_have_plugins(sys.path):
        return []
    from importlib.metadata import entry_points  # 60 ms, which only those with plug-ins wait for

    return sorted(entry_points(group=group), key=lambda point: (_whose(point), point.name))


def _may_have_plugins(folders: Iterable[str]) -> bool:
    """Whether the entry points of any distribution in `folders` name a group of ours."""
    return any(_SECTION in text for folder in folders for text in _entry_points_files(folder or os.curdir))


def _entry_points_files(folder: str) -> Iterator[bytes]:
    try:
        names = [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return  # a path that is not there, or a zip file
    for name in names:
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                yield file.read()
        except OSError:
            continue
