"""Where a run has its certificate authority, its roots and its answers, also where the home cannot be written."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration import writable
from ..configuration.settings import Settings
from ..system import authority, trust

logger = logging.getLogger("ai-cache")

_MEMORY = Path("/dev/shm")  # noqa: S108 a folder of its own is made there
"""Where containers whose disk is read-only can still write."""


class StartError(Exception):
    """The proxy did not start. One line for a user."""


@dataclass(frozen=True, slots=True)
class Place:
    confdir: Path
    """The directory of the certificate authority."""
    bundle: Path
    """What to trust upstream and in clients: this run's alone."""
    options: Mapping[str, Any]
    """What has to be other than the user's settings say."""


@contextmanager
def place(arguments: argparse.Namespace, settings: Settings) -> Iterator[Place]:
    """Made where it is not there yet. Warns in one line of all that could not be. Raises `StartError`."""
    no_store = writable.trouble(settings)
    if no_store and settings.store_named and settings.records:
        raise StartError(writable.refused(no_store))
    with ExitStack() as stack:
        try:
            confdir, no_authority = _authority(arguments, stack)
            bundle = _bundle(confdir, stack)
        except OSError as error:
            found = writable.Trouble.of(Path(error.filename or "a temporary folder"), error)
            raise StartError(
                f"no certificate authority can be made: {found}; make room there, or set TMPDIR to a directory that "
                "can be written"
            ) from None
        if settings.store_named:
            no_store = None  # the store itself says what it cannot do
        if no_authority or no_store:
            logger.warning("ai-cache: %s", _warning(no_authority, no_store))
        yield Place(confdir, bundle, {"ai_cache_store": "memory:"} if no_store else {})


def named_confdir(arguments: argparse.Namespace) -> Path | None:
    """The directory of the authority that `--set confdir=` names."""
    named = [text.partition("=")[2] for text in arguments.set if text.startswith("confdir=")]
    return Path(os.path.expanduser(named[-1])) if named and named[-1] else None


def _authority(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Path, writable.Trouble | None]:
    """The directory with a whole authority, and why it is not the user's."""
    wanted = named_confdir(arguments) or trust.directory()
    why: writable.Trouble | None = None
    if not arguments.ephemeral_ca:
        try:
            trust.make_authority(wanted)
            return wanted, None
        except OSError as error:
            why = writable.Trouble.of(wanted, error)
    confdir = _temporary(stack)
    if why and authority.adopt(wanted, confdir):
        why = None
    trust.make_authority(confdir)
    return confdir, why


def _bundle(confdir: Path, stack: ExitStack) -> Path:
    certificate = confdir / trust.CERTIFICATE
    try:
        return stack.enter_context(trust.bundle_in_use(confdir, certificate, os.environ))
    except OSError:  # an authority that can be read and not be written beside
        return stack.enter_context(trust.bundle_in_use(_temporary(stack), certificate, os.environ))


def _temporary(stack: ExitStack) -> Path:
    """A folder that is gone afterwards."""
    try:
        found = tempfile.gettempdir()
    except FileNotFoundError:  # nothing on the disk can be written
        found = ""
    usual = {"/tmp", "/var/tmp", "/usr/tmp", *(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))}  # noqa: S108
    if found in ("", os.getcwd()) and found not in usual and os.access(_MEMORY, os.W_OK):
        tempfile.tempdir = str(_MEMORY)  # also for what else needs files for a while, as placeholders do
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ai-cache-ca-")))


def _warning(no_authority: writable.Trouble | None, no_store: writable.Trouble | None) -> str:
    """One line for both."""
    if no_authority is None and no_store is not None:
        return writable.in_memory(no_store)
    more, mend = (" and keeps answers in memory only", "HOME") if no_store else ("", "XDG_DATA_HOME")
    return (
        f"{no_authority}: this run has a certificate authority of its own{more}; set {mend} to a directory that can be "
        "written"
    )
