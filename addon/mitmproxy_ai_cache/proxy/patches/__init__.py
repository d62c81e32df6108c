"""All monkey patches of mitmproxy. `table.py` says what each is for, and what happens on a mitmproxy it does not know.

Each takes the place of as little as it can, checks the functions it relies on, and is off by itself where one of them
is another: `base.py`. Tests: `tests/unit/proxy/patches`, with each version of mitmproxy by `tests/installs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...configuration.settings import Settings
from ..uploads import Uploads
from . import connection_handling, informational, judged_connections, memory_origin, odd_answers, request_bodies
from .table import MEMORY_ORIGIN, PATCHES, complaints

__all__ = ["PATCHES", "complaints", "install", "possible"]


def possible(settings: Settings) -> Settings:
    """`settings` without what needs a patch that is off."""
    return settings if MEMORY_ORIGIN.is_known() else replace(settings, single_flight=False)


def install(uploads: Uploads, out_of_descriptors: Callable[[OSError], None]) -> None:
    """What every proxy needs. `arrival` comes earlier, `tuning` only where the user does not object.

    `uploads` decides on request bodies; `out_of_descriptors` is told when a connection fails for want of one.
    """
    memory_origin.install()
    informational.install()
    odd_answers.install()
    connection_handling.install()
    request_bodies.install(uploads)
    judged_connections.install(out_of_descriptors)
