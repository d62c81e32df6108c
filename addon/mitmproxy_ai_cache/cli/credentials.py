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

WORD = "ai-cache-placeholder"

GOOGLE_FILE, AWS_FILE = "google-service-account.json", "aws-credentials"
"""Names of the files that `files` gives."""

ACCESS_KEY_ID = "AKIAAICACHEPLACEHOLD"
"""Of the shape that SDKs and log scanners know: AKIA and 16 of A-Z, 2-7."""
SECRET_KEY = "ai-cache/placeholder/no/real/secret/key/"  # noqa: S105 40 characters, as a real one
_NOBODY = "00000000-0000-0000-0000-000000000000"

_WANTED = {
    "OPENAI_API_KEY": f"sk-{WORD}",
    "ANTHROPIC_API_KEY": f"sk-ant-api03-{WORD}",
    "AZURE_OPENAI_API_KEY": WORD,
    "MISTRAL_API_KEY": WORD,
    "CODESTRAL_API_KEY": WORD,
    "COHERE_API_KEY": WORD,
    "CO_API_KEY": WORD,
    "GROQ_API_KEY": f"gsk_{WORD}",
    "TOGETHER_API_KEY": WORD,
    "OPENROUTER_API_KEY": f"sk-or-v1-{WORD}",
    "PERPLEXITY_API_KEY": f"pplx-{WORD}",
    "PPLX_API_KEY": f"pplx-{WORD}",
    "DEEPSEEK_API_KEY": f"sk-{WORD}",
    "XAI_API_KEY": f"xai-{WORD}",
    "FIREWORKS_API_KEY": f"fw_{WORD}",
    "CEREBRAS_API_KEY": f"csk-{WORD}",
    "HF_TOKEN": f"hf_{WORD}",
    "HUGGINGFACEHUB_API_TOKEN": f"hf_{WORD}",
    "REPLICATE_API_TOKEN": f"r8_{WORD}".ljust(40, "0"),
    "VOYAGE_API_KEY": f"pa-{WORD}",
    "JINA_API_KEY": f"jina_{WORD}",
    "AI21_API_KEY": WORD,
    "WRITER_API_KEY": WORD,
    "NVIDIA_API_KEY": f"nvapi-{WORD}",
    "WATSONX_APIKEY": WORD,
    "WATSONX_API_KEY": WORD,
    "SAMBANOVA_API_KEY": WORD,
    "DEEPINFRA_API_KEY": WORD,
    "MOONSHOT_API_KEY": f"sk-{WORD}",
    "DASHSCOPE_API_KEY": f"sk-{WORD}",
    "ZHIPUAI_API_KEY": f"{WORD}.{WORD}",  # its SDK splits it at the dot
    "ZAI_API_KEY": f"{WORD}.{WORD}",
    "MINIMAX_API_KEY": WORD,
    "NEBIUS_API_KEY": WORD,
    "HYPERBOLIC_API_KEY": WORD,
    "UPSTAGE_API_KEY": f"up_{WORD}",
    "AI_GATEWAY_API_KEY": WORD,
    "PORTKEY_API_KEY": WORD,
    "GOOGLE_GENERATIVE_AI_API_KEY": f"AIzaSy-{WORD}".ljust(39, "0"),
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AZURE_CLIENT_SECRET": WORD,
}
"""SDKs raise without them, and having them changes nothing else."""

_SWITCHES = {
    "AZURE_CLIENT_ID": _NOBODY,
    "AZURE_TENANT_ID": _NOBODY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_GCE_CHECK": "true",
    "METADATA_SERVER_DETECTION": "none",
}
"""No credentials. The first two complete AZURE_CLIENT_SECRET, so that DefaultAzureCredential does not go on to a
metadata server; the others keep boto3, google-auth and Node's gcp-metadata from waiting for one. GCE_METADATA_HOST is
not set: Go and Node take it for a sign that they are on GCE."""

_ONLY_REPLACED = {
    "ANTHROPIC_AUTH_TOKEN": f"sk-ant-oat01-{WORD}",
    "CLAUDE_CODE_OAUTH_TOKEN": f"sk-ant-oat01-{WORD}",
    "ANTHROPIC_IDENTITY_TOKEN": WORD,
    "ANTHROPIC_FOUNDRY_API_KEY": WORD,
    "ANTHROPIC_AWS_API_KEY": WORD,
    "OPENAI_ADMIN_KEY": f"sk-admin-{WORD}",
    "CODEX_API_KEY": f"sk-{WORD}",
    "AZURE_OPENAI_AD_TOKEN": WORD,
    "AZURE_API_KEY": WORD,
    "AZURE_AD_TOKEN": WORD,
    "AZURE_AI_API_KEY": WORD,
    "AZURE_INFERENCE_CREDENTIAL": WORD,
    "AZURE_PASSWORD": WORD,
    "AWS_SESSION_TOKEN": WORD,
    "AWS_SECURITY_TOKEN": WORD,
    "AWS_BEARER_TOKEN_BEDROCK": f"bedrock-api-key-{WORD}",
    "GOOGLE_API_KEY": f"AIzaSy-{WORD}".ljust(39, "0"),
    "GEMINI_API_KEY": f"AIzaSy-{WORD}".ljust(39, "0"),
    "HUGGING_FACE_HUB_TOKEN": f"hf_{WORD}",
    "HF_API_TOKEN": f"hf_{WORD}",
    "WATSONX_TOKEN": WORD,
    "DATABRICKS_TOKEN": f"dapi-{WORD}",
    "DATABRICKS_CLIENT_SECRET": WORD,
    "TOGETHERAI_API_KEY": WORD,
    "DEEPINFRA_API_TOKEN": WORD,
    "HELICONE_API_KEY": f"sk-helicone-{WORD}",
    "LITELLM_API_KEY": f"sk-{WORD}",
}
"""Their presence makes an SDK choose another way to authenticate, or another host."""

_VERTEX = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
_AZURE = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN")
_CLOUDS = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AZURE_CLIENT_SECRET",
    "GOOGLE_APPLICATION_CREDENTIALS",
}  # fmt: skip


def placeholders(environ: Mapping[str, str], folder: Path, keep: bool = False) -> tuple[dict[str, str], list[str]]:
    """What to set on top of `environ`, and the names of real credentials that this replaces, sorted.

    `folder` will hold what `files` gives. With `keep` real credentials stay and missing API keys are set; of the clouds
    nothing is, whose real ones may also come from files, roles and log-ins that no variable shows.
    """
    present = {name for name, value in environ.items() if value}  # an empty variable is an unset one
    values = dict(_WANTED)
    values |= {name: value for name, value in _SWITCHES.items() if name not in present}
    values |= {name: value for name, value in _ONLY_REPLACED.items() if name in present}
    values |= _google(environ, present) | _openai(present) | _databricks(present)
    values["GOOGLE_APPLICATION_CREDENTIALS"] = str(folder / GOOGLE_FILE)
    values["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / AWS_FILE)
    unwanted = _anthropic(present)
    if keep:
        unwanted |= present | set(_SWITCHES) | _CLOUDS
    values = {name: value for name, value in values.items() if name not in unwanted}
    replaced = sorted(name for name, value in values.items() if name in present and environ[name] != value)
    return values, [name for name in replaced if name not in _SWITCHES]


def _anthropic(present: set[str]) -> set[str]:
    """What not to set: a key would shadow the token of who has only that, with a warning."""
    return {"ANTHROPIC_API_KEY"} if "ANTHROPIC_AUTH_TOKEN" in present and "ANTHROPIC_API_KEY" not in present else set()


def _google(environ: Mapping[str, str], present: set[str]) -> dict[str, str]:
    """One key where there is none: google-genai warns about two, and takes GOOGLE_API_KEY.

    None for Vertex without a project in the environment: with a key its SDK calls paths without a project.
    """
    vertex = any(environ.get(name, "").lower() in ("1", "true") for name in _VERTEX)
    if present & {"GOOGLE_API_KEY", "GEMINI_API_KEY"} or (vertex and "GOOGLE_CLOUD_PROJECT" not in present):
        return {}
    return {"GOOGLE_API_KEY": _ONLY_REPLACED["GOOGLE_API_KEY"]}


def _openai(present: set[str]) -> dict[str, str]:
    """`openai.chat...` without a client refuses to choose where keys of OpenAI and Azure are both set
    (openai/lib/_module_runtime.py). Now they are: this says what it would have chosen. Clients proper do not read it.
    """
    azure = bool(present & set(_AZURE))
    if "OPENAI_API_TYPE" in present or (azure and "OPENAI_API_KEY" in present):
        return {}
    return {"OPENAI_API_TYPE": "azure" if azure else "openai"}


def _databricks(present: set[str]) -> dict[str, str]:
    """A token where there is a host and no other way to authenticate: its SDK refuses two."""
    others = {name for name in present if name.startswith("DATABRICKS_")} - {"DATABRICKS_HOST"}
    return (
        {"DATABRICKS_TOKEN": _ONLY_REPLACED["DATABRICKS_TOKEN"]} if "DATABRICKS_HOST" in present and not others else {}
    )


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
        return WORD
    found = value.get("project_id") or value.get("quota_project_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else WORD


def service_account(project: str = WORD) -> bytes:
    """A service account's file with a key that was made just now: google-auth signs with it before it asks for a
    token, and the proxy answers that (`token_endpoints`)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return orjson.dumps(
        {
            "type": "service_account",
            "project_id": project,
            "private_key_id": WORD,
            "private_key": pem.decode(),
            "client_email": f"placeholder@{WORD}.iam.gserviceaccount.com",
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
        written[name] = {"aws_access_key_id": ACCESS_KEY_ID, "aws_secret_access_key": SECRET_KEY}
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
