"""`ai-cache env`: the variables for a running `serve`, as a shell or a file wants them."""

from __future__ import annotations

import argparse
import json
import os
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

SUMMARY = "print the variables that point a shell at a running serve"

FORMATS = ("sh", "fish", "powershell", "dotenv", "github", "json")


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


def main(arguments: argparse.Namespace) -> int:
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
    if arguments.placeholders:
        block |= placeholders(os.environ, folder(arguments.placeholders), keep=False)[0]
    if arguments.format == "json":
        print(json.dumps(block, indent=2))
        return 0
    for name, value in block.items():
        print(line(arguments.format, name, value))
    return 0


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
