"""Placeholder credentials for `ai-cache replay`.

SDKs raise before they send where there is no key, so there must be one; and a real one is replaced, so that a client
that ignores the proxy gets a 401 instead of spending money.

What decides which provider, host or path an SDK takes is not touched: a variable that would change that is replaced
where it is set, and never added. So there is no made-up region, project or endpoint: they are part of URLs, thus of
keys, and one that is made up would turn a clear error of the SDK into a miss.
"""

from __future__ import annotations

import configparser
import io
from collections.abc import Mapping
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..protocols.providers import PLACEHOLDER, Variable, variables
from ..protocols.providers.clouds import AWS_KEY_ID, AWS_SECRET

GOOGLE_FILE, AWS_FILE = "google-service-account.json", "aws-credentials"
"""Names of the files that `files` gives."""

_FILES = {"AWS_SHARED_CREDENTIALS_FILE": AWS_FILE, "GOOGLE_APPLICATION_CREDENTIALS": GOOGLE_FILE}
"""The variables that name them."""


def placeholders(environ: Mapping[str, str], folder: Path, keep: bool = False) -> tuple[dict[str, str], list[str]]:
    """What to set on top of `environ`, and the names of real credentials that this replaces, sorted.

    `folder` will hold what `files` gives. With `keep` real credentials stay and missing API keys are set; of the clouds
    nothing is, whose real ones may also come from files, roles and log-ins that no variable shows.
    """
    present = {name: value for name, value in environ.items() if value}  # an empty variable is an unset one
    known = list(variables())
    values = {one.name: one.value for one in known if _is_set(one, present)}
    values |= {name: str(folder / file) for name, file in _FILES.items()}
    if keep:
        unwanted = {*present, *_FILES, *(one.name for one in known if one.cloud)}
        values = {name: value for name, value in values.items() if name not in unwanted}
    return values, sorted(name for name, value in values.items() if name in present and present[name] != value)


def _is_set(variable: Variable, present: Mapping[str, str]) -> bool:
    """Whether a replay sets it."""
    if variable.name in present:
        return variable.replace
    return variable.add(present) if callable(variable.add) else variable.add


def files(google: str = "", aws_credentials: str = "", aws_config: str = "") -> dict[str, bytes]:
    """The files that the variables name. They are for the user alone (mode 0600).

    The arguments are what the real ones hold, or nothing: of Google's the project, of AWS' the names of profiles.
    """
    return {GOOGLE_FILE: service_account(project_of(google)), AWS_FILE: aws_profiles(aws_credentials, aws_config)}


def project_of(text: str) -> str:
    """The project that a credentials file of Google names; it stands in the URLs of Vertex."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return PLACEHOLDER
    found = value.get("project_id") or value.get("quota_project_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else PLACEHOLDER


def service_account(project: str = PLACEHOLDER) -> bytes:
    """A service account's file with a key that was made just now: google-auth signs with it before it asks for a
    token, and the proxy answers that (`token_endpoints`)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return orjson.dumps(
        {
            "type": "service_account",
            "project_id": project,
            "private_key_id": PLACEHOLDER,
            "private_key": pem.decode(),
            "client_email": f"placeholder@{PLACEHOLDER}.iam.gserviceaccount.com",
            "client_id": "0",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
        },
        option=orjson.OPT_INDENT_2,
    )


def aws_profiles(credentials: str, config: str) -> bytes:
    """A credentials file with a placeholder for every profile that has keys in one of the real files.

    Code may name a profile, and then AWS SDKs look past the environment. The config file itself stays in use: regions
    and roles come from it. Roles are assumed at STS, which the proxy answers.
    """
    names = {"default"}
    for name, section in _sections(credentials).items():
        names |= {name} if "aws_access_key_id" in section else set()
    for name, section in _sections(config).items():
        names |= {name.removeprefix("profile ").strip()} if "aws_access_key_id" in section else set()
    written = configparser.RawConfigParser(default_section="")
    for name in sorted(names):
        written[name] = {"aws_access_key_id": AWS_KEY_ID, "aws_secret_access_key": AWS_SECRET}
    text = io.StringIO()
    written.write(text)
    return text.getvalue().encode()


def _sections(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        parser.clear()
    return parser
