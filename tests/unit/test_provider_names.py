"""A provider's facts stand in its row of the table, and in the folder of its protocol: nowhere else in the code."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from mitmproxy_ai_cache.protocols.providers import PROVIDERS, Provider

PACKAGE = (
    next(each for each in Path(__file__).resolve().parents if (each / "addon").is_dir()) / "addon/mitmproxy_ai_cache"
)

ELSEWHERE = {
    "calls/token_endpoints.py": "answers the log-in servers of clouds, which are no AI hosts, in their own forms",
    "cli/credentials.py": "makes the credentials files of Google and AWS",
    "cli/demo/": "shows calls to two providers",
    "cli/doctor.py": "asks one provider whether the network works",
    "cli/probes.py": "asks the SDKs that are installed what they trust",
    "cli/questions.py": "asks a user for one of two examples",
    "conversation/": "reads requests and answers by their form, whoever serves it",
    "entries/usage.py": "reads counts of tokens by their names, whoever serves them",
    "identity/dummy_keys.py": "words that people write in place of keys, among them names of products",
    "identity/profiles.py": "what two clients stamp their calls with",
    "protocols/live.py": "members of requests, whoever is asked",
    "redact/": "services that are no AI providers, and forms of keys without a beginning of their own",
}
"""Files and folders whose code may name providers, and why a new provider does not touch them."""

WORDS = {"writer", "github", "zai", "reka", "jina", "cloudflare", "vercel", "chutes", "avian", "novita"}
"""Names of providers that mean something else in code."""


EXAMPLES = (
    "https://api.openai.com/v1",
    "*.openai.azure.com=azure",
    "*.openai.azure.com",
    "*.openai.com",
    "openai-style",
)
"""What sentences for users give as an example: one of many, so that a new provider does not change it."""


def _facts(provider: Provider) -> Iterator[str]:
    """What the code must not repeat."""
    if provider.name not in WORDS:
        yield provider.name
    for host in provider.hosts.split():
        yield max(re.split(r"\*\.?", host), key=len).strip(".-")
    yield from (variable.name for variable in provider.variables)
    yield from (key.variable for key in provider.keys)


def _code(source: str) -> str:
    """Without comments and the texts that stand by themselves: those explain, and change nothing."""
    kept: list[str] = []
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL):
            continue
        if not (token.type == tokenize.STRING and begins):
            kept.append(token.string)
        begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT) or not kept
    code = "\n".join(kept).lower()
    for example in EXAMPLES:
        code = code.replace(example, "")
    return code


def _others() -> dict[str, str]:
    """The code outside of the protocols' room and of `ELSEWHERE`, by file."""
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    allowed = (*ELSEWHERE, *(f"protocols/{each.name}" for each in (PACKAGE / "protocols").iterdir() if _is_own(each)))
    return {name: _code(path.read_text()) for name, path in files.items() if not name.startswith(allowed)}


def _is_own(path: Path) -> bool:
    """Whether this is the table, a protocol, or the list of them."""
    return path.name not in ("base.py", "registry.py", "anything.py", "foreign.py", "live.py")


OTHERS = _others()


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda row: row.name)
def test_a_provider_stands_in_its_row_alone(provider: Provider) -> None:
    patterns = {fact: re.compile(rf"(?<![a-z0-9]){re.escape(fact.lower())}(?![a-z0-9])") for fact in _facts(provider)}
    found = [(name, fact) for name, code in OTHERS.items() for fact, one in patterns.items() if one.search(code)]
    assert not found, "write it into the row of protocols/providers, or a reason into ELSEWHERE"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_exception_is_still_needed(name: str) -> None:
    files = [PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py")
    code = "\n".join(_code(path.read_text()) for path in files)
    assert any(
        re.search(rf"(?<![a-z0-9]){re.escape(fact.lower())}(?![a-z0-9])", code)
        for provider in PROVIDERS
        for fact in _facts(provider)
    )


def test_a_name_in_code_is_found_and_one_in_a_comment_is_not() -> None:
    assert "groq" in _code('HOSTS = ["groq"]\n')
    assert "groq" not in _code('"""Of groq."""\n\nX = 1  # groq\n"""groq"""\n\n\ndef f():\n    """groq"""\n')
