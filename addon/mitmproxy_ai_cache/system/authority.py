"""The files of a certificate authority: made whole or not at all, by one process at a time, and mended where torn.

The file with the private key decides. It appears under its name complete (a hard link to a finished file), the others
follow it, and whatever of them is missing or torn at the next start is made from it again.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from .places import is_nowhere

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("ai-cache")

CERTIFICATE, KEY = "mitmproxy-ca-cert.pem", "mitmproxy-ca.pem"
"""mitmproxy's names. The file of the key also holds its certificate."""

_DH_PARAMETERS = "mitmproxy-dhparam.pem"
_NEW = ".new-"
"""How the names of files and folders begin that are being made."""

_LEFT = 3600.0
"""Seconds after which what is being made was left by a process that was killed."""

_WAIT = 30.0
"""Seconds for another process that makes the authority. Without the lock the hard link still decides who wins."""


def make_authority(confdir: Path) -> Path:
    """The certificate of the authority in `confdir`, made on first use; only its owner can read the private key.

    Raises `OSError` where it is not whole and cannot be written.
    """
    if not _is_whole(confdir):
        if is_nowhere(confdir):
            raise FileNotFoundError(errno.ENOENT, "there is no home directory", str(confdir))
        confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(confdir) as alone:
            clear_leftovers(confdir, alone)
            _mend(confdir)
    return confdir / CERTIFICATE


def adopt(source: Path, confdir: Path) -> bool:
    """Take over the authority in `source`, if it has a usable one that only cannot be completed there."""
    try:
        content = (source / KEY).read_bytes()
    except OSError:
        return False
    usable = not why_unusable(content)
    if usable:
        write_whole(confdir / KEY, content)
    return usable


def why_unusable(content: bytes) -> str:
    """What is wrong with the file of the key; empty where an authority can be loaded from it."""
    try:
        private = serialization.load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return ""  # it has a passphrase, which mitmproxy is given (cert_passphrase)
    except (ValueError, UnsupportedAlgorithm):
        return "its private key cannot be read"
    certificate = _first_certificate(content)
    if certificate is None:
        return "its certificate cannot be read"
    if certificate.public_key() != private.public_key():
        return "its key and certificate do not belong together"
    return ""


def write_whole(file: Path, content: bytes, mode: int = 0o600) -> None:
    """All or nothing, also when the disk is full or the power fails. Raises `OSError`."""
    descriptor, partial = tempfile.mkstemp(prefix=_NEW, dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as made:
            made.write(content)
            made.flush()
            os.fsync(made.fileno())
        os.chmod(partial, mode)
        os.replace(partial, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def clear_leftovers(folder: Path, alone: bool = False) -> None:
    """Remove what processes that were killed have left half made. `alone`: nobody else makes an authority now."""
    for leftover in folder.glob(f"{_NEW}*"):
        with suppress(OSError):
            if not (alone and leftover.is_dir()) and leftover.stat().st_mtime > time.time() - _LEFT:
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def _is_whole(confdir: Path) -> bool:
    try:
        content = (confdir / KEY).read_bytes()
        dh_parameters = (confdir / _DH_PARAMETERS).read_bytes()
        return not why_unusable(content) and _fits(confdir / CERTIFICATE, content) and _is_pem(dh_parameters)
    except FileNotFoundError:
        return False


def _mend(confdir: Path) -> None:
    """Make what is missing or torn. The caller has the lock."""
    key = confdir / KEY
    if key.exists() and (why := why_unusable(key.read_bytes())):
        _set_aside(confdir, why)
    if not key.exists():
        _make(confdir)
    content = key.read_bytes()
    certificate = _first_certificate(content)
    if certificate is not None and not _fits(confdir / CERTIFICATE, content):
        write_whole(confdir / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    dh_parameters = confdir / _DH_PARAMETERS
    if not (dh_parameters.exists() and _is_pem(dh_parameters.read_bytes())):
        from mitmproxy import certs

        write_whole(dh_parameters, certs.DEFAULT_DHPARAM, 0o644)


def _make(confdir: Path) -> None:
    """A new authority, in a folder beside its place and then moved there, the key first."""
    from mitmproxy import certs  # takes long to import, and mostly there is nothing to make

    with tempfile.TemporaryDirectory(prefix=_NEW, dir=confdir) as folder:
        certs.CertStore.create_store(Path(folder), "mitmproxy", 2048)
        made = sorted(Path(folder).iterdir(), key=lambda file: file.name != KEY)
        for file in made:
            with open(file, "rb+") as written:
                os.fsync(written.fileno())
        if not _take_name(made[0], confdir / KEY):
            return  # somebody else's was first, whose files these are not
        for file in made[1:]:
            file.replace(confdir / file.name)


def _take_name(file: Path, name: Path) -> bool:
    """Give `file` its name unless that is taken, in one step even where locks do not work."""
    try:
        os.link(file, name)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        os.rename(file, name)
    return True


def _set_aside(confdir: Path, why: str) -> None:
    """Nothing is deleted, though a key that cannot be read is of no use to anybody."""
    aside = Path(tempfile.mkdtemp(prefix=f"broken-{time.strftime('%Y%m%d-%H%M%S')}-", dir=confdir))
    for file in confdir.glob("mitmproxy-ca*"):
        file.replace(aside / file.name)
    logger.warning(
        "ai-cache: the certificate authority in %s was broken (%s): it is now in %s and a new one is made; clients "
        "that you told to trust the old one need the new one: ai-cache env",
        confdir,
        why,
        aside.name,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """One process at a time, if True is given. The folder itself is locked, so no file of a lock is left behind."""
    if sys.platform == "win32":
        yield False
        return
    alone, descriptor = False, os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _WAIT
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
                break
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
        yield alone
    finally:
        os.close(descriptor)


def _fits(file: Path, content: bytes) -> bool:
    """Whether the certificate in `file` can be read and is not that of another key under the same name.

    Somebody's own authority may be below another one, whose certificate stands there.
    """
    try:
        handed_out = _first_certificate(file.read_bytes())
    except OSError:
        return False
    own = _first_certificate(content)
    if handed_out is None or own is None:
        return handed_out is not None
    return handed_out.subject != own.subject or handed_out.public_key() == own.public_key()


def _first_certificate(content: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except (ValueError, IndexError):
        return None


def _is_pem(content: bytes) -> bool:
    return b"-----BEGIN " in content and b"-----END " in content
