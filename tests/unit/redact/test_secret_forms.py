"""The forms that users' secrets have, in every place of a call; and what looks like one and holds no value."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from urllib.parse import quote

import pytest

from mitmproxy_ai_cache.redact import redact, redact_headers, redact_url
from mitmproxy_ai_cache.wire.framing import sse
from mitmproxy_ai_cache.wire.messages import Headers
from secret_forms import BARE, FORMS, NAMED, PROVIDER, Form
from secret_places import BODIES
from unit.redact.test_redact import readings

GOAL = {PROVIDER: 1.0, NAMED: 0.95}


def in_header(text: str) -> bytes:
    """A field that is recorded, redacted."""
    value = json.dumps(text)[1:-1]
    return redact_headers(Headers([("x-portkey-config", value)])).headers.get("x-portkey-config").encode()


def in_query(text: str) -> bytes:
    """A parameter, redacted."""
    return redact_url(f"https://h/v1/x?note={quote(text, safe='')}&a=1").text.encode()


def in_body(place: Callable[[str], bytes]) -> Callable[[str], bytes]:
    return lambda text: redact(place(text)).data


REDACTED = {
    **{name: in_body(place) for name, place in BODIES.items()},
    "header": in_header,
    "query": in_query,
}


def is_left(form: Form, place: str) -> bool:
    """Whether a reader could make the secret of what is written, or any line of it."""
    data = REDACTED[place](form.planted)
    if place == "stream":
        values = [event.object for event in sse.parse(data).events if event.data != b"[DONE]"]
        data = "".join(value["choices"][0]["delta"].get("content", "") for value in values).encode()
    read = list(readings(data, 3))
    return any(line.encode() in reading for reading in read for line in form.secret.split("\n"))


def test_at_least_150_forms_are_tried_in_8_places() -> None:
    assert len(FORMS) >= 150
    assert len({form.name for form in FORMS}) == len(FORMS)
    assert len(REDACTED) == 8


@pytest.mark.parametrize("group", [PROVIDER, NAMED])
def test_what_has_a_form_or_a_name_is_found(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    left: dict[str, list[str]] = defaultdict(list)
    forms = [form for form in FORMS if form.group == group]
    for form in forms:
        for place in REDACTED:
            if is_left(form, place):
                left[form.name].append(place)
    found = 1 - sum(map(len, left.values())) / (len(forms) * len(REDACTED))
    with capsys.disabled():
        print(f"\n{group}: {found:.1%} of {len(forms)} forms in {len(REDACTED)} places; left: {dict(left) or 'none'}")
    assert found >= GOAL[group], dict(left)


def test_what_nothing_gives_away_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    left = [form.name for form in FORMS if form.group == BARE and is_left(form, "request")]
    with capsys.disabled():
        print(f"\nnot found, for nothing says what they are: {', '.join(left)}")


NO_VALUE = [
    'api_key = os.environ["API_KEY"]',
    "api_key=os.environ['OPENAI_API_KEY_2']",
    'token = os.getenv("GITHUB_TOKEN")',
    'key = os.environ.get("STRIPE_SECRET_KEY", "")',
    "const apiKey = process.env.OPENAI_API_KEY;",
    "apiKey: process.env.ANTHROPIC_API_KEY_V2!,",
    "const token = import.meta.env.VITE_API_TOKEN2;",
    "API_KEY=your-key-here",
    "API_KEY=your_api_key_here_1234",
    "OPENAI_API_KEY=sk-...",
    "OPENAI_API_KEY=sk-your-openai-key-goes-here-123",
    "API_KEY=<YOUR_KEY>",
    "API_KEY=<insert-your-key-123456789>",
    "TOKEN=${TOKEN}",
    "TOKEN=$GITHUB_TOKEN",
    "export TOKEN=$(vault read -field=token secret/app1)",
    "DB_PASSWORD=${DB_PASSWORD:-changeme1}",
    "password: {{ vault_db_password_2 }}",
    "password: ${{ secrets.DB_PASSWORD_2 }}",
    "token: ${{ secrets.GITHUB_TOKEN }}",
    "PASSWORD=%DB_PASSWORD%",
    "password=None",
    "password: null",
    '"password": ""',
    "password = ***********",
    "password: ********",
    "PASSWORD=xxxxxxxxxxxx",
    "API_KEY=XXXXXXXXXXXXXXXXXXXXXXXX",
    "SECRET_KEY=changeme123",
    "SECRET_KEY=change-me-in-production-2024",
    "SECRET_KEY=REPLACE_ME_WITH_32_RANDOM_CHARS",
    "ACCESS_TOKEN=example-token-1234567890",
    'password = "password123"',
    'password = "example"',
    '{"password":"mellon"}',
    '{"username":"ada","password":"hunter2"}',
    "password: string;",
    "password: str | None = None",
    "def login(self, user: str, password: str) -> Token:",
    "def get(self, api_key: str = DEFAULT_API_KEY_V1): ...",
    "self.api_key = api_key or get_default_api_key2()",
    "this.token = response.data.accessTokens[0].value1",
    "token = self.tokenizer.encode(text)[position2]",
    "token = tokens[i + 1]",
    "token == expected_token_value_2",
    "if token != settings.ACCESS_TOKEN_V2:",
    "secret = Secret.from_name('my-secret-name-v2')",
    "secret_key_base: <%= ENV['SECRET_KEY_BASE'] %>",
    'valueFrom:\n  secretKeyRef:\n    name: app-secrets-v2\n    key: database-url-primary1',
    "key: tls.crt\npath: /etc/ssl/server2.crt",
    '{"key":"user_settings_theme_v2","value":"dark_mode_enabled_2"}',
    '{"prompt_cache_key":"019a3c5e-7c1e-7b3a-9a1e-3f1d2c4b5a69"}',
    '{"idempotencyKey":"019a3c5e-7c1e-7b3a-9a1e-3f1d2c4b5a69"}',
    '{"nextPageToken":"CiAKGjBpNDd2Nmp2Zml2cXRwb2k1ODR2NWV0NjQSAhgB"}',
    '{"next_token":"q7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa"}',
    '{"public_key":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7Hf2LmZ9xKt4VwBn8RcYs3GdPj6TeUa5MoXi1E"}',
    '{"s3_key":"uploads/2026/11/28/3f2504e04f8911d39a0c0305e82cfd25.png"}',
    '{"primary_key":"3f2504e04f8911d39a0c0305e82cfd25"}',
    '{"max_tokens":1024,"completion_tokens":1234567890123456}',
    '{"type":"string","description":"The API key: a string of 32 characters, see https://h/docs/auth2"}',
    '{"properties":{"password":{"type":"string","minLength":8},"api_key":{"type":"string"}}}',
    '{"required":["username","password","api_key","token_type2"]}',
    "The password is stored with bcrypt and the token is refreshed every 3600s.",
    "The token is sent in the Authorization header; the key is read from the environment.",
    "Enter the password: it must have at least 8 characters, 1 digit and 1 symbol!",
    "password=request.form['password1'], remember=True",
    "password = hashlib.sha256(salt + pw.encode()).hexdigest()",
    "password: Joi.string().min(8).regex(/^[a-zA-Z0-9]{3,30}$/).required()",
    "$password = $_POST['password1'];",
    "String password = request.getParameter(\"password1\");",
    "var token = HttpContext.Session.GetString(\"Token1\");",
    'password := r.FormValue("password1")',
    "let token: Token2 = lexer.next_token();",
    "Token::Identifier1 => token.lexeme2,",
    "<input type=\"password\" name=\"password\" id=\"password-field-2\" autocomplete=\"current-password\">",
    "<key>CFBundleIdentifier2</key>",
    "monkey=banana-123-peel-xyz9, turkey: 9f86d081884c7d65",
    "keyboard: us-intl-2024, hotkey=ctrl+shift+F12",
    "bypass=proxy.internal.example1.org",
    "compass: north-2-north-west-9",
    "--key-file /etc/ssl/private/server-2024.pem --token-file /run/secrets/token2",
    "KEY_FILE=/etc/ssl/private/server2024.pem",
    "SECRET_NAME=prod/app2/database-credentials",
    "TOKEN_URL=https://login.example.org/oauth2/v2.0/token",
    "password_hash_algorithm=pbkdf2_sha256",
    "API_KEY=op://vault2/item3/credential",
    "DB_PASSWORD_FILE=/run/secrets/db_password_2",
    "author: ada.lovelace-1815@example.org",
    "auth: oauth2_client_credentials_flow",
    "authority=https://login.microsoftonline.com/3f2504e0",
    "credentials: same-origin",
    "curl -u user:password https://api.example.org",
    "curl -u $USER:$PASSWORD1 https://api.example.org",
    "docker run -u 1000:1000123456 alpine",
    "https://user:password@localhost/x and https://${USER}:${PASSWORD}@h/",
    "https://git@github.com/acme/repository-name-long-1234.git",
    "ssh://git@github.com:22/acme/x.git and mailto:ada.lovelace1815@example.org",
    "re_compile_all_the_patterns_of_version_2 = 1",
    "key-value-store-for-sessions-2024, pat-a-cake, as-of-version-12-the-defaults",
    "sess-ion, ek_ro, fc-barcelona-2024-squad-list-of-players-1",
    "SKU 1234, SKIP_TESTS_ON_CI_20241128_TRUE, cio-meeting-2026",
    "0123456789:AAAA, 12:30:45:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    '{"secret":false,"secrets":["db-main-2","cache-eu-1"]}',
    "secretKey: keyof typeof SECRETS_V2",
    "| API key | string | Your key from the dashboard2 |",
    "- **Token**: `string` the bearer token of RFC6750",
    "pk_live_51HfLmZ9xKt4VwBn8RcYs3GdPj6TeUa",
    "-----BEGIN PUBLIC KEY-----",
    '{"id":"call_q7Hf2LmZ9xKt4VwBn8RcYs3G","tool_use_id":"toolu_01q7Hf2LmZ9xKt4VwBn8RcYs"}',
]  # fmt: skip
"""Code, templates and documentation: there is a name, and no value."""


@pytest.mark.parametrize("text", NO_VALUE)
def test_what_holds_no_value_is_never_redacted(text: str) -> None:
    for data in (text.encode(), f"x\n{text}\ny\n".encode(), *(place(text) for place in BODIES.values())):
        redacted = redact(data)
        assert redacted.findings == (), redacted.data
        assert redacted.data is data
