"""`ai-cache config`: each setting, its value and where it came from."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ..configuration.options import default_store
from ..configuration.settings import Settings, SettingsError
from ..stores import REDIS
from ..stores.redis.url import shown
from ..wire.safe_text import SECRETS, may_hold_password, safe_url
from . import project
from .proxy import add_options, failed
from .sources import collect, mistyped

SUMMARY = "print each setting, its value and where it came from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, port=0)


def main(arguments: argparse.Namespace) -> int:
    try:
        found, directory = collect(arguments, os.environ, Path.cwd())
        Settings.parse({name: value.value for name, value in found.items()})
    except SettingsError as error:
        return failed(error)
    if directory.ignored:
        print(f"ai-cache: {project.first_line(directory, [])}", file=sys.stderr)
    for line in mistyped(os.environ):
        print(f"ai-cache: {line}", file=sys.stderr)
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {shown_value(name, value.value):<40}  {value.origin}")
    return 0


def shown_value(name: str, value: Any) -> str:
    """For a person; without passwords."""
    if name in SECRETS:
        return "(set)" if value else ""
    if name == "ai_cache_store":
        url = value or default_store()
        return shown(url) if url.startswith(REDIS) else safe_url(url)  # there may be a password in it
    if isinstance(value, tuple):
        return "; ".join(map(_safe, value))
    return str(value).lower() if isinstance(value, bool) else _safe(str(value))


def _safe(text: str) -> str:
    return safe_url(text) if may_hold_password(text) else text
