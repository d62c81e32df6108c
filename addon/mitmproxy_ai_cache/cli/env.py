"""`ai-cache env`: the variables for a running `serve`, as a shell or a file wants them."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..configuration import writable
from ..system import trust
from .environment import variables
from .outer import MARK, alive, certificate
from .proxy import StartError, add_address, failed
from .replaying import placeholders
from .sources import BEFORE

SUMMARY = "print the variables that point a shell at a running serve"

SHELLS = ("sh", "fish", "powershell")
FORMATS = (*SHELLS, "dotenv", "github", "json")

SET = "AI_CACHE_ENV"
"""The names of the variables that `env` has set in a shell, for `env --unset`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_address(parser, port=8484)
    parser.set_defaults(**named_address(os.environ))
    parser.add_argument("--hosts", action="append", metavar="GLOB", default=[], help="one more AI host")
    parser.add_argument("--local", action="store_true", help="also for models on this machine over plain http")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="sh",
        help="sh (bash, zsh), fish, powershell, dotenv, github (lines for the env of a step), json; "
        "default: %(default)s",
    )
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    parser.add_argument(
        "--placeholders",
        type=Path,
        metavar="DIR",
        help="also replace all credentials by placeholders, as replay does; DIR gets the files they need",
    )

    parser.add_argument(
        "--unset", action="store_true", help="print what undoes ai-cache env in the same shell (sh, fish, powershell)"
    )


def main(arguments: argparse.Namespace) -> int:
    if arguments.unset:
        return _unset(arguments.format)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"http://{host}:{arguments.port}"
    if not alive(url):
        return failed(StartError(f"no ai-cache answers at {url}; start ai-cache serve --port {arguments.port}"))
    confdir = trust.directory()
    try:
        own = trust.make_authority(confdir)
        if certificate(url).strip() != own.read_bytes().strip():
            return failed(StartError(f"the proxy at {url} has another authority: trust its {url}/ca.pem"))
        bundle = trust.publish_bundle(confdir, trust.write_bundle(confdir, own, os.environ))
    except OSError as error:
        mend = f"set XDG_DATA_HOME as it is where serve runs, or trust {url}/ca.pem"
        return failed(StartError(f"{writable.Trouble.of(confdir, error)}: {mend}"))
    block, removed = variables(url, trust.Roots(own, bundle), os.environ, arguments.hosts, arguments.local)
    block.pop(MARK)
    if removed:
        print(f"ai-cache: left out of NO_PROXY: {', '.join(removed)}", file=sys.stderr)
    saved = list(block)  # not the credentials that placeholders replace: no variable may hold them in a replay
    if arguments.placeholders:
        block |= placeholders(os.environ, folder(arguments.placeholders), keep=False)[0]
    if arguments.format == "json":
        print(json.dumps(block, indent=2))
        return 0
    if arguments.format in SHELLS:
        print("\n".join(_noted(arguments.format, saved, list(block))))
    for name, value in block.items():
        print(line(arguments.format, name, value))
    return 0


def _noted(form: str, saved: list[str], names: list[str]) -> list[str]:
    """Keep what the shell has under these names. The shell copies it, so that no password is printed."""
    before = set_before(os.environ)
    lines = [_copy(form, BEFORE + name, name) for name in saved if name in os.environ and name not in before]
    return [*lines, line(form, SET, ",".join(dict.fromkeys([*before, *names])))]


def _unset(form: str) -> int:
    if form not in SHELLS:
        return failed(StartError(f"--unset is for a shell: --format {', '.join(SHELLS)}; of a file remove the lines"))
    names = set_before(os.environ)
    if not names:
        print("ai-cache: ai-cache env has set nothing in this shell", file=sys.stderr)
        return 0
    for name in names:
        if BEFORE + name in os.environ:
            print(_copy(form, name, BEFORE + name))
            print(_removed(form, BEFORE + name))
        else:
            print(_removed(form, name))
    print(_removed(form, SET))
    return 0


def set_before(environ: Mapping[str, str]) -> list[str]:
    """The variables that an earlier `ai-cache env` has set in this shell."""
    return [name for name in environ.get(SET, "").split(",") if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]


def named_address(environ: Mapping[str, str]) -> dict[str, Any]:
    """The defaults of `--host` and `--port` that AI_CACHE_URL gives. A password in it is for calls to the proxy itself,
    and stands in no variable that is printed."""
    try:
        address = urlsplit(environ.get("AI_CACHE_URL", ""))
        return {"host": address.hostname, "port": address.port or 80} if address.hostname else {}
    except ValueError:
        return {}


def folder(named: Path) -> Path:
    """For the files of placeholders: the user's alone."""
    named.mkdir(mode=0o700, parents=True, exist_ok=True)
    return named


def _copy(form: str, name: str, other: str) -> str:
    """`name` gets the value of `other`."""
    return {"fish": f'set -gx {name} "${other}"', "powershell": f"$env:{name} = $env:{other}"}.get(
        form, f'export {name}="${other}"'
    )


def _removed(form: str, name: str) -> str:
    return {"fish": f"set -e {name}", "powershell": f"Remove-Item -ErrorAction Ignore Env:{name}"}.get(
        form, f"unset {name}"
    )


def line(form: str, name: str, value: str) -> str:
    """One variable in the words of `form`."""
    if form == "fish":
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{quoted}'"
    if form == "powershell":
        quoted = value.replace("'", "''")
        return f"$env:{name} = '{quoted}'"
    if form == "dotenv":
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{quoted}"'
    if form == "github":
        return f"{name}={value}"
    return f"export {name}={shlex.quote(value)}"
