"""API keys that name nobody: what people write where an SDK insists on a key and the server does not look at it.

A value is a dummy where it is made of filler words alone, such as `sk-no-key-required`, `lm-studio` or `xxx`. Real keys
have a random part, which is no such word.
"""

from __future__ import annotations

import base64
import re

from ..protocols.providers import PLACEHOLDER

_REDACTED = re.compile(r"redacted(?:-|$)", re.IGNORECASE)
"""How the placeholders of recordings begin."""

_WORDS = frozenset(
    """
    empty none null nil undefined void blank na nan false true unset unused ignored ignore disabled
    no not non needed need required require requires necessary used set given provided specified applicable available
    dummy fake mock mocked stub placeholder sample example examples demo test tests testing tester dev debug
    changeme change replace replaceme insert put enter add fill todo tbd fixme
    your my our the an me this that it here with in is any anything something whatever nothing value string text
    real actual some valid invalid
    key keys apikey api token tokens secret password pass passwd pw bearer auth authorization credential credentials
    sk pk ant proj default local localhost offline self hosted server dummykey fakekey nokey testkey mykey yourkey
    notneeded notused notrequired yourapikey myapikey fakeapikey dummyapikey testapikey noapikey
    ollama vllm lmstudio lm studio llama llamacpp llamafile cpp localai litellm sglang tgi tabby tabbyapi koboldcpp
    kobold jan gpt4all openllm mlx oobabooga exllama exllamav2 xinference fastchat vicuna lmdeploy tensorrt triton nim
    docker model runner openai anthropic claude gemini google azure mistral groq llm gpt ai cache proxy gateway
    foo bar baz foobar hello world abc abcd abcde abcdef abcdefg abc123 test123 key123 asdf qwerty anon anonymous
    guest user username nobody noone no1 redacted hidden masked secretkey unknown random
    """.split()
)

_ASCENDING = ("1234567890", "0123456789", "123123")
_ONE_CHARACTER = re.compile(r"(.)\1*")

_AWS_EXAMPLES = frozenset(("AKIAAICACHEPLACEHOLD", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"))
"""Ours, and those of the AWS documentation."""

_AWS_KEY_ID = re.compile(r"AWS4-\S+\s+Credential=([^/,\s]*)")


def is_dummy(value: str) -> bool:
    """Whether `value`, that of a credential header or parameter, names nobody. An empty one names nobody, too."""
    if match := _AWS_KEY_ID.match(value):
        return match[1] in _AWS_EXAMPLES or _is_filler(match[1])
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() == "basic":
        return _is_dummy_pair(rest.strip())
    return _is_filler(value)


def is_no_value(value: str) -> bool:
    """Whether `value`, that of any other header, says that there is none."""
    parts = [part.strip(" \t\"'").lower() for part in value.split(",")]
    return all(part in ("", "none", "null", "nil", "undefined", "nan", "n/a", "-", "empty") for part in parts)


def _is_filler(text: str) -> bool:
    if text in _AWS_EXAMPLES or PLACEHOLDER in text or _REDACTED.match(text.rpartition(" ")[2]):
        return True
    return all(_is_filler_word(word) for word in re.split(r"[\W_]+", text.lower()) if word)


def _is_filler_word(word: str) -> bool:
    if word in _WORDS or word == "x":
        return True
    if not word.isascii():
        return False
    if len(word) > 1 and _ONE_CHARACTER.fullmatch(word):
        return True
    return len(word) > 2 and any(ascending.startswith(word) for ascending in _ASCENDING)


def _is_dummy_pair(encoded: str) -> bool:
    """`user:password` of Basic authorization: the password says who it is, or the user where there is none."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode("latin-1")
    except ValueError:
        return False
    user, _, password = pair.partition(":")
    return _is_filler(password or user)
