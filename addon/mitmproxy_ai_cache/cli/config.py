"""`ai-cache config`: each setting, its value and where it came from."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from .. import confidential
from ..options import SECRETS, default_store
from ..settings import Settings, SettingsError
from ..stores import REDIS
from ..stores.redis.url import shown
from .proxy import add_options, failed
from .sources import gather

SUMMARY = "print each setting, its value and where it came from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, port=0)


def main(arguments: argparse.Namespace) -> int:
    try:
        found = gather(arguments, os.environ, Path.cwd())
        Settings.parse({name: value.value for name, value in found.items()})
    except SettingsError as error:
        return failed(error)
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {_shown(name, value.value):<40}  {value.origin}")
    return 0


_PATTERNS = ("ai_cache_redact", "ai_cache_normalize", "ai_cache_ignore")


def _has_credentials(text: str) -> bool:
    return "@" in text and confidential.is_delicate(text)


def _shown(name: str, value: Any) -> str:
    if name in SECRETS:
        return "(set)" if value else ""
    if name == "ai_cache_store":
        url = value or default_store()
        return shown(url) if url.startswith(REDIS) else url  # there may be a password in it
    if name not in _PATTERNS and any(map(_has_credentials, value if isinstance(value, tuple) else (str(value),))):
        return confidential.NOT_SHOWN
    if isinstance(value, tuple):
        return "; ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
