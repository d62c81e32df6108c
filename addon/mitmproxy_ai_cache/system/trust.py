"""What has to be trusted: our certificate authority by the client, everybody else's by both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from . import bundles
from .authority import CERTIFICATE, KEY, make_authority, write_whole
from .places import data_directory

CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CODEX_CA_CERTIFICATE",
)
"""Variables that replace a client's roots: they get the bundle."""

BUNDLE, JAVA_STORE = "ca-bundle.pem", "ca-bundle.p12"
"""Files in the directory of the authority for clients that `env` and `serve` set up. A run has bundles of its own."""

JAVA_PASSWORD = "changeit"  # noqa: S105 what every JVM has; the store holds no secret

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
"""Debian, Fedora, Alpine and macOS, SUSE."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The files that a client trusts: our certificate, and the bundle that has it and all others."""

    certificate: Path
    bundle: Path


_MARK = b"-----BEGIN CERTIFICATE-----"


def directory() -> Path:
    """Where our certificate authority lives, per user."""
    return data_directory() / "ca"


def write_bundle(confdir: Path, certificate: Path, environ: Mapping[str, str]) -> Path:
    """One file with the system's roots, what the CA variables of `environ` name already, and ours.

    Its name is the hash of its content, so that nobody with other variables replaces it.
    """
    named = [environ[name] for name in (*CA_VARIABLES, "NODE_EXTRA_CA_CERTS") if environ.get(name)]
    system = [path for path in SYSTEM_BUNDLES if os.path.isfile(path)][:1]
    content = b"\n".join(_certificates([certifi.where(), *system, *named, str(certificate)])) + b"\n"
    return bundles.write(confdir, content)


@contextmanager
def bundle_in_use(confdir: Path, certificate: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """The bundle, which nobody removes meanwhile. Those that nobody uses are removed."""
    bundles.remove_unused(confdir)
    with bundles.held(lambda: write_bundle(confdir, certificate, environ)) as bundle:
        yield bundle


def publish_bundle(confdir: Path, bundle: Path) -> Path:
    """`bundle` under the name that does not change, for clients that are set up once. Raises `OSError`."""
    published = confdir / BUNDLE
    _replace(published, bundle.read_bytes())
    if (confdir / JAVA_STORE).exists():
        write_java_store(published)
    return published


def write_java_store(bundle: Path) -> Path:
    """`bundle` as a trust store for Java, beside it. Made once for each content: the store differs each time."""
    content = bundle.read_bytes()
    confdir = bundle.parent if bundle.name == BUNDLE else bundle.parent.parent
    kept = bundles.write(confdir, content).with_suffix(".p12")
    if not kept.exists():
        write_whole(kept, _java_store(content), 0o644)
    if bundle.name != BUNDLE:
        return kept
    _replace(confdir / JAVA_STORE, kept.read_bytes())
    return confdir / JAVA_STORE


def _java_store(content: bytes) -> bytes:
    found = []
    for number, pem in enumerate(_certificates_in(content)):
        with suppress(ValueError), warnings.catch_warnings(action="ignore"):  # the system's roots have odd ones
            found.append(pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(pem), b"%d" % number))
    encryption = serialization.BestAvailableEncryption(JAVA_PASSWORD.encode())
    return pkcs12.serialize_java_truststore(found, encryption)


def _replace(file: Path, content: bytes) -> None:
    """All or nothing: others may read it at this moment, and every user of the machine may."""
    if not file.exists() or file.read_bytes() != content:
        write_whole(file, content, 0o644)


def _certificates(files: Iterable[str]) -> list[bytes]:
    """Every certificate once, in order. A file that is gone or is no PEM is nothing to trust."""
    found: dict[bytes, None] = {}
    for file in files:
        with suppress(OSError):
            found |= dict.fromkeys(_certificates_in(Path(file).read_bytes()))
    return list(found)


def _certificates_in(data: bytes) -> Iterator[bytes]:
    for block in data.split(_MARK)[1:]:
        body, end, _ = block.partition(b"-----END CERTIFICATE-----")
        if end:
            yield _MARK + body + end


__all__ = [
    "CERTIFICATE",
    "KEY",
    "bundle_in_use",
    "make_authority",
    "publish_bundle",
    "write_bundle",
    "write_java_store",
]
