"""What has to be trusted: our certificate authority by the client, everybody else's by both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import certifi
import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

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

CERTIFICATE, KEY, BUNDLE, JAVA_STORE = "mitmproxy-ca-cert.pem", "mitmproxy-ca.pem", "ca-bundle.pem", "ca-bundle.p12"
"""Files in the directory of the authority."""

JAVA_PASSWORD = "changeit"  # noqa: S105 what every JVM has; the store holds no secret

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
"""Debian, Fedora, Alpine and macOS, SUSE."""

_MARK = b"-----BEGIN CERTIFICATE-----"


def directory() -> Path:
    """Where our certificate authority lives, per user."""
    return Path(platformdirs.user_data_dir("ai-cache")) / "ca"


def make_authority(confdir: Path) -> Path:
    """The certificate of the authority in `confdir`, made on first use; only its owner can read the private key."""
    confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate = confdir / CERTIFICATE
    if not (certificate.exists() and (confdir / KEY).exists()):
        from mitmproxy import certs  # takes long to import, and mostly there is nothing to make

        certs.CertStore.from_store(confdir, "mitmproxy", 2048)
    return certificate


def write_bundle(confdir: Path, certificate: Path, environ: Mapping[str, str]) -> Path:
    """One file with the system's roots, what the CA variables of `environ` name already, and ours."""
    named = [environ[name] for name in (*CA_VARIABLES, "NODE_EXTRA_CA_CERTS") if environ.get(name)]
    system = [path for path in SYSTEM_BUNDLES if os.path.isfile(path)][:1]
    bundle = confdir / BUNDLE
    content = b"\n".join(_certificates([certifi.where(), *system, *named, str(certificate)])) + b"\n"
    if not bundle.exists() or bundle.read_bytes() != content:
        _write(bundle, content)
    return bundle


def write_java_store(confdir: Path) -> Path:
    """The bundle as a trust store for Java, made anew when the bundle is newer."""
    bundle, store = confdir / BUNDLE, confdir / JAVA_STORE
    if not store.exists() or store.stat().st_mtime < bundle.stat().st_mtime:
        found = []
        for number, pem in enumerate(_certificates([str(bundle)])):
            with suppress(ValueError), warnings.catch_warnings(action="ignore"):  # the system's roots have odd ones
                found.append(pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(pem), b"%d" % number))
        encryption = serialization.BestAvailableEncryption(JAVA_PASSWORD.encode())
        _write(store, pkcs12.serialize_java_truststore(found, encryption))
    return store


def _write(file: Path, content: bytes) -> None:
    """All or nothing: others may read it at this moment."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(file)


def _certificates(files: Iterable[str]) -> list[bytes]:
    """Every certificate once, in order. A file that is gone or is no PEM is nothing to trust."""
    found: dict[bytes, None] = {}
    for file in files:
        try:
            data = Path(file).read_bytes()
        except OSError:
            continue
        for block in data.split(_MARK)[1:]:
            body, end, _ = block.partition(b"-----END CERTIFICATE-----")
            if end:
                found[_MARK + body + end] = None
    return list(found)
