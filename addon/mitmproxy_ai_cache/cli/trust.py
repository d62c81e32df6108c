"""`ai-cache trust [DIR]`: remember that the settings of a directory are the user's own wish."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from ..configuration.settings import SettingsError
from ..explain.shown import printable
from . import project, trusted
from .config import shown_value
from .proxy import failed
from .sources import nearest_file

SUMMARY = "trust the settings of this directory's ai-cache.toml as they are now"

_ABOUT = """\
An ai-cache.toml, or [tool.ai-cache] in a pyproject.toml, comes with the repository. Without trust only these
settings of it count:

{safe}

and a store of SQLite or cassettes inside the directory, with its max_size. Recordings in such a store answer in
record, replay and the pytest plugin; in run and serve only after ai-cache trust. With any other setting run,
serve, record, replay and the plugin do not start (exit code 125).

Trust is for the settings at this path as they are now. When one of them changes, or when the directory moves,
run ai-cache trust again. A file that belongs to another user needs trust for every setting.

In CI: AI_CACHE_TRUST=HASH or --trust=HASH. ai-cache trust --print prints the HASH. With HASH=all any file is
trusted: that is unsafe for pull requests of forks, because a fork can then send your calls and keys elsewhere.

run, serve, record and replay with --ignore-project, and pytest with --ai-cache-ignore-project, start without the
settings that need trust.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache trust [--print | --forget] [DIR]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _ABOUT.format(safe=textwrap.fill(", ".join(sorted(project.SAFE)), 100))
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: the current directory")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--print", action="store_true", dest="prints", help="only print the HASH of the settings, for CI")
    how.add_argument("--forget", action="store_true", help="trust no settings of this directory any more")


def main(arguments: argparse.Namespace) -> int:
    start = (arguments.directory or Path.cwd()).absolute()
    try:
        file, table = nearest_file(start)
    except SettingsError as error:
        return failed(error)
    if arguments.forget:
        print(f"{printable(str(file))}: {'no longer trusted' if trusted.forget(file) else 'was not trusted'}")
        return 0
    if not table:
        where = printable(str(start))
        return failed(SettingsError(f"no ai-cache.toml with settings in {where} or above; write ai-cache trust DIR"))
    if arguments.prints:
        print(project.digest(table))
        return 0
    trusted.remember(file, project.digest(table))
    print(f"trusted: {printable(str(file))}", file=sys.stderr)
    for name in sorted(table):
        value = tuple(map(str, table[name])) if isinstance(table[name], list) else table[name]
        shown = shown_value(f"ai_cache_{name}", value if name != "store" else str(value))
        print(f"  {printable(name)} = {printable(shown)}", file=sys.stderr)
    return 0
