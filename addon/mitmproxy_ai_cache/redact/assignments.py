"""Secrets that the name before them gives away: `DB_PASSWORD=...`, `"apiKey": "..."`, `token: ...`, `--secret ...`.

One rule for every syntax: `.env`, shell, JSON, YAML, TOML, INI, XML, code, connection strings, netrc, Markdown. A name,
a sign of assignment, a value that somebody made up at random. Code and templates (`os.environ["KEY"]`, `${TOKEN}`,
`your-key-here`) hold no value and are left alone. `values.py` says what is random enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .values import is_password, is_random_key, is_shown_password

Span = tuple[int, int, str]
"""Start, end, kind."""

_QUOTE = rb"(?:\\*[\"'`]|\\+u002[27]|&quot;)"
_LINE = rb"(?:\r?\n|(?:\\+r)?\\+n)"
_SIGN = rb"(?::[ ]?(?:\\+u0026)?[\w.\[\]|&]{1,24}[ ]?=(?!=)|:=|=>|={1,3}|[:?]=|:|\\+u003d)"
_VALUE_NEXT = rb",?[ \t]*" + _LINE + rb"?[ \t]*" + _QUOTE + rb"?value" + _QUOTE + rb"?[ \t]*[:=]"
_GAP = re.compile(
    rb"(?P<close>" + _QUOTE + rb")?\]?\*{0,2}[ \t]*"
    rb"(?:(?P<next>" + _VALUE_NEXT + rb")|(?P<sign>" + _SIGN + rb")|(?P<bar>\|)|(?P<comma>,)"
    rb"|(?P<tag>>|\\+u003e)|(?P<is>\bis:?[ \t])|(?P<blank>(?<=[ \t])))"
    rb"[ \t]*\*{0,2}[ \t]*(?:\\*&\w+ |[|>][+-]?[ \t]*" + _LINE + rb"[ \t]*|[bruBRU]{1,2}(?=[\"'\\])|@)?"
    rb"(?P<open>" + _QUOTE + rb")?"
)
"""What stands between a name and its value; quotes of JSON within JSON have a backslash, or several."""

_QUOTED = re.compile(rb"(?:[^\"'`\s\\<>]|\\+u0026|\\+/){6,512}")
_BARE = re.compile(rb"[^\s\"'`\\<>|,;&(){}\[\]]{6,512}")
_WHOLE = re.compile(rb"[^\s\"'`\\]{6,512}")
"""The value of a line of a `.env` file reaches to its end."""

_ENV = re.compile(rb"(?:^|[\s\"'`]|\\[nrt]|-e[ =])(?:export )?[A-Z][A-Z0-9_]*\Z")
_OPTION = re.compile(rb"(?:^|[\s\"'`])--?[a-z][\w-]*\Z")
_SET = re.compile(rb"(?:\b|(?<=\\[nrt]))set(?:x| -\w+| --\w+)? \$?\w*\Z")
_NETRC = re.compile(rb"\b(?:login|machine|user)[ \t]")
_NAME = re.compile(rb"[\w.$/-]{0,48}\Z")

_GLUED = (
    b"api", b"access", b"secret", b"private", b"auth", b"encryption", b"signing", b"signature", b"master", b"shared",
    b"account", b"license", b"app", b"service", b"client", b"deploy", b"webhook", b"storage", b"subscription", b"admin",
    b"root", b"user", b"server", b"bot", b"ssh", b"rsa", b"hmac", b"aes", b"jwt", b"integration", b"function",
)  # fmt: skip
"""What stands before `key` where a key is a secret: `key` by itself is the key of a dictionary."""

_NO_SECRET_NAME = re.compile(
    rb"(?:(?<![a-z])(?:max|min|num|row|map|pub|sep|pad|unk|cls|eos|bos|host|file|site|tool|json|dict|flag|last|sort|first"
    rb"|hash|known|query|label|input|index|event|image|video|config|header|parent|column|field|search|lookup|unique)"
    rb"|page|continuation|sync|cursor|next|prev|cache|idempotency|idempotent|public|publishable|primary|foreign|partition"
    rb"|range|object|s3|dedup\w*|group|routing|translation|message|i18n|prompt|completion|output|total|usage|stop|special"
    rb"|mask|metric|natural|composite|registry|feature|cloudfront|expected|invalid)[_.-]?(?:token|key)\Z"
)
"""Names that end like those of secrets and say where something is."""


@dataclass(frozen=True, slots=True)
class _Core:
    """What a name of a secret ends with."""

    kind: str
    tail: re.Pattern[bytes]
    password: bool = False


def _core(kind: str, tail: bytes, password: bool = False) -> _Core:
    return _Core(kind, re.compile(tail), password)


_CORES: dict[bytes, _Core] = {
    b"pass": _core("password", rb"pass(?:word|wd|phrase|code)?(?:[_-]?(?:hash|confirmation))?s?(?![a-z])", True),
    b"pwd": _core("password", rb"pwd(?![a-z])", True),
    b"secret": _core("secret", rb"secrets?(?:[_-]?(?:key(?:[_-]?base)?|token|value|string|access[_-]?key))?(?![a-z])"),
    b"token": _core("access-token", rb"token(?:[_-]?(?:secret|value))?(?![a-z])"),
    b"key": _core("api-key", rb"key(?:[_-]?(?:base|data|secret|id(?=\\*\")|material|value))?(?![a-z])"),
    b"cred": _core("credential", rb"cred(?:ential)?s?(?![a-z])"),
    b"auth": _core("credential", rb"auth(?:orization)?(?![a-z])"),
    b"_pat": _core("access-token", rb"_pat(?![a-z])"),
    b"identified by": _core("password", rb"identified by", True),
}


def found(data: bytes, lower: bytes) -> Iterator[Span]:
    """All of them. `lower` is `data` in lower case."""
    yield from written(data, lower)
    yield from assigned(data, lower)


def assigned(data: bytes, lower: bytes) -> Iterator[Span]:
    """The values that names of secrets are given. `lower` is `data` in lower case."""
    for word, core in _CORES.items():
        at = -1
        while (at := lower.find(word, at + 1)) >= 0:
            if (tail := core.tail.match(lower, at)) and (span := _value(data, lower, at, tail.end(), core)):
                yield span
            elif word == b"auth" and (match := _SCHEME.match(data, at)) and is_random_key(match[1]):
                yield (*match.span(1), "credential")


def _value(data: bytes, lower: bytes, at: int, end: int, core: _Core) -> Span | None:
    gap = _GAP.match(lower, end)
    if gap is None:
        return None
    begin, how = max(0, at - 56), gap.lastgroup if gap["open"] is None else "open"
    if not _is_name(data, lower, at, end, core) or not _assigns(data, lower, begin, at, end, gap):
        return None
    start = gap.end()
    if how == "open":
        match = _QUOTED.match(data, start)
    elif gap["sign"] == b"=" and gap.start() + 1 == start and _ENV.search(data, begin, end):
        match = _WHOLE.match(data, start)
    else:
        match = _BARE.match(data, start)
    if match is None or not _ends(data, match.end(), how or ""):
        return None
    value = match[0] if how == "open" else match[0].rstrip(b".,;:!?*)") if gap["is"] else match[0].rstrip(b",;")
    quoted = how == "open"
    fits = is_password(value, quoted) if core.password else is_random_key(value, quoted)
    if core.kind == "credential":
        fits = fits or is_password(value, quoted)
    return (start, start + len(value), core.kind) if fits else None


def _is_name(data: bytes, lower: bytes, at: int, end: int, core: _Core) -> bool:
    """Whether what ends here is a name of a secret: no `monkey`, no `bypass`, no `next_page_token`."""
    before = b"" if at > 1 and data[at - 2] == 0x5C and data[at - 1] in b"nrt" else data[at - 1 : at]
    begins_word = not before.isalpha() or (data[at : at + 1].isupper() and before.islower())
    named = _NAME.search(lower, max(0, at - 48), at)
    label = (named[0] if named else b"") + lower[at:end]
    if _NO_SECRET_NAME.search(label):
        return False
    if core.kind == "api-key":
        glued = label[: len(label) - (end - at)].rstrip(b"_.-")
        spaced = lower[max(0, at - 16) : at].endswith((b"api ", b"access ", b"secret ", b"license ", b"private "))
        if not before or before.isspace():
            return spaced
        return (begins_word and before in (b"_", b"-", b".")) or glued.endswith(_GLUED) or before.islower() is False
    if core.kind in ("access-token", "secret"):
        return begins_word or before.islower() or before.isupper()
    return begins_word or end - at > 4


def _assigns(data: bytes, lower: bytes, begin: int, at: int, end: int, gap: re.Match[bytes]) -> bool:
    """Whether what follows the name gives it a value."""
    if gap["sign"] or gap["next"]:
        return True
    if gap["comma"]:
        return gap["close"] is not None and gap["open"] is not None
    if gap["bar"]:
        return b"|" in data[begin:at]
    if gap["tag"]:
        return re.search(rb"(?:<|\\+u003c)[\w.:-]*\Z", lower[begin:at]) is not None
    if gap["is"]:
        return True
    if gap["open"]:
        return gap["close"] is None
    if _OPTION.search(data, begin, end) or _SET.search(data, begin, end):
        return True
    return lower.endswith(b"password", at, end) and _NETRC.search(lower, max(0, at - 200), at) is not None


def _ends(data: bytes, end: int, how: str) -> bool:
    """Whether a value ends here: what is called or indexed is code."""
    follows = data[end : end + 1]
    if how == "open":
        return follows in b"\"'`\\" and follows != b""
    return follows not in (b"(", b"[", b"{") and (follows != b"<" or how == "tag")


_USER = re.compile(
    rb"(?:-u|--user)[ =]" + _QUOTE + rb"?[\w.@+-]{1,64}:([^\s\"'\\]{6,200})(?=" + _QUOTE + rb"|\s|\\|\Z)"
)
_COMMAND = re.compile(
    rb"(?:\b|(?<=\\[nrt]))(?:login|sshpass|mysql\w*|mariadb|mongo\w*)\b[^\n\\|;]{0,80}? -p ?"
    + _QUOTE
    + rb"?([^\s\"'\\]{6,200})"
)
_REDIS = re.compile(rb"redis-cli\b[^\n\\|;]{0,80}? -a " + _QUOTE + rb"?([^\s\"'\\]{6,200})")
_PGPASS = re.compile(rb"(?<![^\s\\\"=])(?:\\n)?[\w.*-]+:(?:[0-9]{4,5}|\*):[\w.*-]+:[\w.*@-]+:([^\s:\"\\]{6,200})")
_PGPASS_ANY = re.compile(rb"\*:[\w.*-]+:[\w.*@-]+:([^\s:\"\\]{6,200})")
_HASH = re.compile(
    rb"(\$(?:2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}|[156y]\$(?:rounds=[0-9]+\$)?[./A-Za-z0-9$]{8,64}\$[./A-Za-z0-9]{22,86}"
    rb"|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|argon2(?:id|i|d)\$v=[0-9]+\$[a-z0-9=,]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+))"
)
_PUTTY = re.compile(
    rb"Private-Lines: ?[0-9]+" + _LINE + rb"((?:[A-Za-z0-9+/=]+(?:" + _LINE + rb")?)+?)(?=" + _LINE + rb"P|\Z)"
)
_NETLOC = re.compile(rb"://([A-Za-z0-9_-]{20,255})@")
_SIGNATURE = re.compile(rb"signature=([0-9a-f]{64})(?![0-9a-f])", re.IGNORECASE)
_SCHEME = re.compile(
    rb"auth(?:orization)?\\*[\"']?[ ]?[:=][ ]?\\*[\"']?(?:token|apikey|api-key|key)[ ]+([\w.~+/=-]{16,})", re.I
)


def written(data: bytes, lower: bytes) -> Iterator[Span]:
    """The same for syntaxes that have no names: `curl -u`, `.pgpass`, `.htpasswd`, PuTTY, a token in a URL."""
    yield from _options(data)
    yield from _found(data, data, b"432:", _PGPASS, is_shown_password, 160)
    for match in _PGPASS_ANY.finditer(data):
        if is_shown_password(match[1]):
            yield (*match.span(1), "password")
    for match in _HASH.finditer(data):
        yield (*match.span(1), "password-hash")
    for start, end, _ in _found(data, data, b"Private-Lines:", _PUTTY):
        yield start, end, "private-key"
    if b"@" in data:
        for start, end, _ in _found(data, data, b"://", _NETLOC, is_random_key):
            yield start, end, "url-password"
    for start, end, _ in _found(data, lower, b"signature=", _SIGNATURE):
        yield start, end, "url-signature"


def _options(data: bytes) -> Iterator[Span]:
    """Passwords that commands are given by an option of one letter."""
    at = -1
    while (at := data.find(b" -", at + 1)) >= 0:
        match = None
        if data.startswith((b"u", b"-user"), at + 2):
            match = _USER.match(data, at + 1)
        elif data.startswith((b"p", b"a "), at + 2):
            match = (_COMMAND if data[at + 2] == 0x70 else _REDIS).search(data, max(0, at - 100), at + 204)
        if match and is_shown_password(match[1]):
            yield (*match.span(1), "password")


def _found(
    data: bytes,
    where: bytes,
    word: bytes,
    pattern: re.Pattern[bytes],
    check: Callable[[bytes], bool] = bool,
    before: int = 0,
) -> Iterator[Span]:
    """`before`: bytes before the word that the pattern may begin in."""
    at = -1
    while (at := where.find(word, at + 1)) >= 0:
        if before:
            line = max(0, at - before, data.rfind(b"\n", 0, at) + 1)
            match = pattern.search(data, line, at + before + 200)
        else:
            match = pattern.match(data, at)
        if match and check(match[1]):
            yield (*match.span(1), "password")
