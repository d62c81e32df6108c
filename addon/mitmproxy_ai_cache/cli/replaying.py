"""What `run` does beyond a proxy when it replays: placeholder credentials before, a verdict after."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..calls.reasons import Reason, Status
from ..configuration.settings import Settings
from ..configuration.store_of import directory_of
from ..counts.stats import Stats
from ..stores import CASSETTES, Store
from ..wire import units
from . import credentials
from .proxy import StartError

FAILED = 100
"""Exit code of a run whose COMMAND succeeded and whose replay did not."""

_SECRETS = 100
"""Answers that were not recorded for a secret, of which each has a line."""
_NAMED = 5
"""Files that a line names."""


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("replay")
    group.add_argument("--min-hits", type=int, default=1, metavar="N", help="fewer hits fail the run (default: 1)")
    group.add_argument("--strict-unused", action="store_true", help="recordings that were not asked for fail the run")
    group.add_argument(
        "--max-age", type=_duration, metavar="AGE", help="older recordings fail the run, for example 30d"
    )
    group.add_argument(
        "--allow-host", action="append", metavar="GLOB", help="let this host through to the network; may be repeated"
    )
    group.add_argument(
        "--keep-credentials",
        action="store_true",
        help="leave API keys as they are; by default COMMAND gets placeholders, so that nothing can be spent",
    )


def _duration(text: str) -> float:
    try:
        return units.duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check(settings: Settings, arguments: argparse.Namespace) -> None:
    """Raises `StartError` where a replay or a recording cannot work, with what to do."""
    cassettes = settings.store.startswith(CASSETTES)
    if settings.mode != "replay":
        return
    if cassettes and not directory_of(settings).is_dir():
        folder = settings.store.removeprefix(CASSETTES)
        raise StartError(f"there are no recordings at {folder}; make them with: ai-cache record {folder} -- COMMAND")
    if not cassettes and (arguments.strict_unused or arguments.max_age is not None):
        raise StartError("--strict-unused and --max-age look at cassettes; this store has none")


def placeholders(environ: Mapping[str, str], folder: Path, keep: bool) -> tuple[dict[str, str], list[str]]:
    """What to set on top of `environ`, and the real credentials that it replaces. Their files go into `folder`."""
    values, replaced = credentials.placeholders(environ, folder, keep)
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    google = (
        environ.get("GOOGLE_APPLICATION_CREDENTIALS") or home / ".config/gcloud/application_default_credentials.json"
    )
    aws = environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"
    config = environ.get("AWS_CONFIG_FILE") or home / ".aws/config"
    for name, content in credentials.files(_text(google), _text(aws), _text(config)).items():
        with open(folder / name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(content)
    return values, replaced


def _text(path: str | Path) -> str:
    with suppress(OSError, ValueError, RuntimeError):  # of a home that there is not
        return Path(path).expanduser().read_text("utf-8")
    return ""


def verdict(stats: Stats, store: Store | None, arguments: argparse.Namespace) -> list[str]:
    """Why this replay fails its run, a line each; nothing where all is well."""
    return [*_of_calls(stats, arguments.min_hits), *_of_files(store, arguments)]


def unrecorded(stats: Stats, store: Store | None) -> list[str]:
    """Why this recording fails its run: what was bought and is not there to be replayed."""
    secret = [*stats.unwritten, *(store.unwritten if store is not None else ())]
    lost = stats.kept()[1][Reason.STORE_DROPPED] - len(secret)
    kinds = ", ".join(kind for kind, _ in stats.store_failures.most_common() if kind != "secret")
    problems = [f"{lost} {'answer' if lost == 1 else 'answers'} could not be written ({kinds})"] if lost > 0 else []
    large = stats.not_recordable[:_NAMED] + _more(len(stats.not_recordable) - _NAMED)
    return [*secret[:_SECRETS], *problems, *large]


def _more(count: int) -> list[str]:
    return [f"{count} more calls are too large to record; see too_large in --report FILE"] if count > 0 else []


def _of_calls(stats: Stats, min_hits: int) -> Iterator[str]:
    missed = stats.missed
    if missed:
        yield f"{missed} {'call has' if missed == 1 else 'calls have'} no recorded answer"
    hits = stats.statuses[Status.HIT]
    if hits < min_hits:
        yield f"{hits} {'hit' if hits == 1 else 'hits'}, at least {min_hits} expected (--min-hits)"


def _of_files(store: Store | None, arguments: argparse.Namespace) -> Iterator[str]:
    stored = store.as_files if store is not None else None
    if stored is None:
        return
    for path, reason in sorted(stored.problems.items()):
        yield f"{path} cannot be read: {reason}"
    if arguments.strict_unused and (unused := stored.unused()):
        yield f"{len(unused)} unused: {_named(unused)}; ai-cache prune removes them"
    if arguments.max_age is not None:
        oldest = time.time() - arguments.max_age
        old = [file.path for file in stored.files() if file.used and file.created < oldest]
        if old:
            yield f"{len(old)} older than {units.human_duration(arguments.max_age)}: {_named(old)}; record them again"


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
