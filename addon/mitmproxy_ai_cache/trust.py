"""What has to be trusted: our certificate authority by the client, everybody else's by both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import certifi
import platformdirs
from mitmproxy import certs

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
    certificate = confdir / "mitmproxy-ca-cert.pem"
    if not certificate.exists():
        certs.CertStore.from_store(confdir, "mitmproxy", 2048)
    return certificate


def write_bundle(confdir: Path, certificate: Path, environ: Mapping[str, str]) -> Path:
    """One file with the system's roots, what the CA variables of `environ` name already, and ours."""
    named = [environ[name] for name in (*CA_VARIABLES, "NODE_EXTRA_CA_CERTS") if environ.get(name)]
    system = [path for path in SYSTEM_BUNDLES if os.path.isfile(path)][:1]
    bundle = confdir / "ca-bundle.pem"
    content = b"\n".join(_certificates([certifi.where(), *system, *named, str(certificate)])) + b"\n"
    if not bundle.exists() or bundle.read_bytes() != content:
        partial = bundle.with_name(f"{bundle.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(bundle)
    return bundle


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
