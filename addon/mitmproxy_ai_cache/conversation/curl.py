"""An entry -> a curl command that asks the same. No secret is in it: the credential is a variable of the shell."""

from __future__ import annotations

import base64
import re
import shlex
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from ..entries.entry import Entry
from ..wire.credentials import CREDENTIAL_HEADERS

_LONGEST = 60_000
"""Bytes of a body in the command line itself; Linux takes 128 KiB for one argument."""
_LINE = 76
"""Characters of base64 in a line."""

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
"""What every reader of URLs takes for the same host: no user, no backslash."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_BEARER, _API_KEY, _X_API_KEY, _GOOGLE = "authorization: Bearer ", "api-key: ", "x-api-key: ", "x-goog-api-key: "

_CREDENTIALS = (
    ("*.openai.azure.com", _API_KEY, "AZURE_OPENAI_API_KEY"),
    ("*.openai.azure.us", _API_KEY, "AZURE_OPENAI_API_KEY"),
    ("*.cognitiveservices.azure.com", _API_KEY, "AZURE_OPENAI_API_KEY"),
    ("*.services.ai.azure.com", _API_KEY, "AZURE_API_KEY"),
    ("api.openai.com", _BEARER, "OPENAI_API_KEY"),
    ("*.api.openai.com", _BEARER, "OPENAI_API_KEY"),
    ("api.anthropic.com", _X_API_KEY, "ANTHROPIC_API_KEY"),
    ("generativelanguage.googleapis.com", _GOOGLE, "GEMINI_API_KEY"),
    ("*aiplatform.googleapis.com", _BEARER, "GOOGLE_ACCESS_TOKEN"),
    ("bedrock*.amazonaws.com", _BEARER, "AWS_BEARER_TOKEN_BEDROCK"),
    ("bedrock*.amazonaws.com.cn", _BEARER, "AWS_BEARER_TOKEN_BEDROCK"),
    ("bedrock*.api.aws", _BEARER, "AWS_BEARER_TOKEN_BEDROCK"),
    ("api.cohere.*", _BEARER, "CO_API_KEY"),
    ("api.mistral.ai", _BEARER, "MISTRAL_API_KEY"),
    ("codestral.mistral.ai", _BEARER, "CODESTRAL_API_KEY"),
    ("api.groq.com", _BEARER, "GROQ_API_KEY"),
    ("api.x.ai", _BEARER, "XAI_API_KEY"),
    ("api.deepseek.com", _BEARER, "DEEPSEEK_API_KEY"),
    ("openrouter.ai", _BEARER, "OPENROUTER_API_KEY"),
    ("api.together.xyz", _BEARER, "TOGETHER_API_KEY"),
    ("api.fireworks.ai", _BEARER, "FIREWORKS_API_KEY"),
    ("api.perplexity.ai", _BEARER, "PERPLEXITY_API_KEY"),
    ("api.cerebras.ai", _BEARER, "CEREBRAS_API_KEY"),
    ("router.huggingface.co", _BEARER, "HF_TOKEN"),
    ("api-inference.huggingface.co", _BEARER, "HF_TOKEN"),
    ("*.endpoints.huggingface.cloud", _BEARER, "HF_TOKEN"),
    ("models.github.ai", _BEARER, "GITHUB_TOKEN"),
    ("models.inference.ai.azure.com", _BEARER, "GITHUB_TOKEN"),
    ("api.voyageai.com", _BEARER, "VOYAGE_API_KEY"),
    ("api.jina.ai", _BEARER, "JINA_API_KEY"),
    ("api.ai21.com", _BEARER, "AI21_API_KEY"),
    ("api.writer.com", _BEARER, "WRITER_API_KEY"),
    ("*.ml.cloud.ibm.com", _BEARER, "WATSONX_TOKEN"),
    ("api.aleph-alpha.com", _BEARER, "AA_TOKEN"),
    ("integrate.api.nvidia.com", _BEARER, "NVIDIA_API_KEY"),
    ("ai-gateway.vercel.sh", _BEARER, "AI_GATEWAY_API_KEY"),
)
"""By host: how its SDKs authenticate, and the variable they read."""
_ANYWHERE = (_BEARER, "API_KEY")
"""Of any other host: it must not be sent a key of one of those."""


class NoCommand(ValueError):
    """There is no command that asks the same. One line for a user."""


def command(entry: Entry) -> str:
    """A command for a POSIX shell. Raises `NoCommand`."""
    scheme, _, rest = entry.url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme not in ("http", "https") or not _AUTHORITY.fullmatch(authority) or not entry.url.isprintable():
        raise NoCommand("this URL is not for curl; write the request to a file with --request")
    if not _HEADER.fullmatch(entry.method):
        raise NoCommand("this method is not for curl; write the request to a file with --request")
    words = ["curl", "--silent", "--show-error", "--globoff", "--path-as-is"]
    if entry.stream:
        words.append("--no-buffer")
    words += ["--head"] if entry.method == "HEAD" else ["--request", shlex.quote(entry.method)]
    lines = [" ".join(words), f"--url {shlex.quote(entry.url)}"]
    fields = [(name, value) for name, value in entry.request_headers if _may_be_sent(name, value)]
    lines += [f"--header {shlex.quote(_field(name, value))}" for name, value in fields]
    if entry.request and not any(name.lower() == "content-type" for name, _ in fields):
        lines.append("--header content-type:")  # curl would make one up
    lines += _credential(entry.url)
    if not entry.request:
        return _joined(lines)
    if (text := _quotable(entry.request)) is not None:
        return _joined([*lines, f"--data-raw {shlex.quote(text)}"])
    return _piped(lines, entry.request)


def _may_be_sent(name: str, value: str) -> bool:
    return bool(_HEADER.fullmatch(name)) and name.lower() not in CREDENTIAL_HEADERS and value.isprintable()


def _field(name: str, value: str) -> str:
    """As curl takes it: an empty value is written with a semicolon."""
    return f"{name}: {value}" if value.strip() else f"{name};"


def _credential(url: str) -> list[str]:
    """The header that authenticates, a variable in it; none where there is no TLS."""
    if not url.startswith("https://"):
        return []
    host = (urlsplit(url).hostname or "").lower()
    known = ((header, name) for pattern, header, name in _CREDENTIALS if fnmatchcase(host, pattern))
    header, variable = next(known, _ANYWHERE)
    return [f'--header "{header}${variable}"']


def _quotable(body: bytes) -> str | None:
    """The body as text that a shell and a terminal pass on unchanged, or None."""
    if len(body) > _LONGEST:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", "").isprintable() else None


def _joined(lines: list[str]) -> str:
    return " \\\n  ".join(lines)


def _piped(lines: list[str], body: bytes) -> str:
    """The body as base64, in a here-document: it may be long, and hold anything."""
    encoded = base64.b64encode(body).decode()
    rows = "\n".join(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE))
    return f"base64 -d <<'END' | {_joined([*lines, '--data-binary @-'])}\n{rows}\nEND"
