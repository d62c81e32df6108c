"""Placeholder credentials, and the local answers of token endpoints, as the SDKs themselves take them."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from google.auth import compute_engine, impersonated_credentials, jwt
from google.oauth2 import credentials as google_user
from google.oauth2 import service_account
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.calls.token_endpoints import TOKEN, token_answer
from mitmproxy_ai_cache.cli.credentials import AWS_FILE, GOOGLE_FILE, aws_profiles, files, placeholders, project_of
from mitmproxy_ai_cache.identity.isolation import aws_account
from mitmproxy_ai_cache.protocols.providers import PLACEHOLDER
from mitmproxy_ai_cache.protocols.providers.clouds import AWS_KEY_ID, AWS_SECRET
from mitmproxy_ai_cache.wire.messages import Headers, Request, Response

FOLDER = Path("/f")


def ask(url: str, method: str = "GET", body: bytes | str | None = b"", **headers: str) -> Response | None:
    parts = urlsplit(url)
    sent = body.encode() if isinstance(body, str) else body
    fields = Headers((name.replace("_", "-"), value) for name, value in headers.items())
    return token_answer(Request(method, parts.scheme, parts.hostname or "", 443, parts.path, parts.query, fields, sent))


def answered(url: str, method: str = "GET", body: bytes | str | None = b"", **headers: str) -> Any:
    found = ask(url, method, body, **headers)
    assert found is not None, url
    return json.loads(found.body)


# Placeholders


def test_every_sdk_finds_a_key_where_there_is_none() -> None:
    values, replaced = placeholders({}, FOLDER)
    assert replaced == []
    named = (
        "OPENAI ANTHROPIC AZURE_OPENAI GOOGLE MISTRAL COHERE GROQ TOGETHER OPENROUTER PERPLEXITY DEEPSEEK XAI".split()
    )
    assert {f"{name}_API_KEY" for name in named} <= values.keys()
    assert {"HF_TOKEN", "REPLICATE_API_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= values.keys()


@pytest.mark.parametrize(
    ("name", "start", "length"),
    [
        ("OPENAI_API_KEY", "sk-", 0),
        ("ANTHROPIC_API_KEY", "sk-ant-", 0),
        ("GOOGLE_API_KEY", "AIzaSy", 39),
        ("GROQ_API_KEY", "gsk_", 0),
        ("HF_TOKEN", "hf_", 0),
        ("REPLICATE_API_TOKEN", "r8_", 40),
        ("AWS_ACCESS_KEY_ID", "AKIA", 20),
        ("AWS_SECRET_ACCESS_KEY", "", 40),
    ],
)
def test_a_placeholder_has_the_shape_of_a_real_one_and_says_what_it_is(name: str, start: str, length: int) -> None:
    value = placeholders({}, FOLDER)[0][name]
    assert value.startswith(start)
    assert not length or len(value) == length
    assert "placehold" in value.lower().replace("/", "-")


def test_the_access_key_has_the_shape_that_names_an_account() -> None:
    assert aws_account(AWS_KEY_ID).isdigit()


def test_real_credentials_are_replaced_and_named_but_never_shown() -> None:
    own = {"OPENAI_API_KEY": "sk-mine", "AWS_SESSION_TOKEN": "mine", "ANTHROPIC_AUTH_TOKEN": "mine", "PATH": "/bin"}
    values, replaced = placeholders(own, FOLDER)
    assert replaced == ["ANTHROPIC_AUTH_TOKEN", "AWS_SESSION_TOKEN", "OPENAI_API_KEY"]
    assert "mine" not in " ".join(values.values())
    assert "PATH" not in values


def test_kept_credentials_stay_and_missing_keys_are_set() -> None:
    values, replaced = placeholders({"OPENAI_API_KEY": "sk-real", "GEMINI_API_KEY": "real"}, FOLDER, keep=True)
    assert replaced == []
    assert "OPENAI_API_KEY" not in values
    assert "GEMINI_API_KEY" not in values
    assert values["ANTHROPIC_API_KEY"]
    clouds = ("AWS_", "AZURE_CLIENT", "AZURE_TENANT", "GOOGLE_APPLICATION", "NO_GCE")
    assert [name for name in values if name.startswith(clouds)] == []


CHOICES = [
    ("an empty variable is an unset one", {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": True}),
    ("one key for Gemini", {}, {"GOOGLE_API_KEY": True, "GEMINI_API_KEY": False}),
    ("the other where that is used", {"GEMINI_API_KEY": "x"}, {"GOOGLE_API_KEY": False, "GEMINI_API_KEY": True}),
    ("none for Vertex", {"GOOGLE_GENAI_USE_VERTEXAI": "true"}, {"GOOGLE_API_KEY": False}),
    ("a token is not shadowed", {"ANTHROPIC_AUTH_TOKEN": "x"}, {"ANTHROPIC_API_KEY": False}),
    ("no token without one", {}, {"ANTHROPIC_AUTH_TOKEN": False, "AWS_BEARER_TOKEN_BEDROCK": False}),
    ("no region, no project", {}, {"AWS_REGION": False, "GOOGLE_CLOUD_PROJECT": False}),
    ("no host that tells Go it is on GCE", {}, {"GCE_METADATA_HOST": False, "NO_GCE_CHECK": True}),
    ("Databricks where there is a host", {"DATABRICKS_HOST": "x"}, {"DATABRICKS_TOKEN": True}),
    ("but one way only", {"DATABRICKS_HOST": "x", "DATABRICKS_CLIENT_ID": "x"}, {"DATABRICKS_TOKEN": False}),
    ("who one is stays", {"AZURE_TENANT_ID": "x", "AZURE_CLIENT_ID": "x"}, {"AZURE_TENANT_ID": False}),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "expected"), [case[1:] for case in CHOICES], ids=[case[0] for case in CHOICES])
def test_what_an_sdk_would_choose_stays_chosen(environ: dict[str, str], expected: dict[str, bool]) -> None:
    values, _ = placeholders(environ, FOLDER)
    assert {name: bool(values.get(name)) for name in expected} == expected


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, "openai"),
        ({"OPENAI_API_KEY": "x"}, "openai"),
        ({"AZURE_OPENAI_ENDPOINT": "https://x"}, "azure"),
        ({"AZURE_OPENAI_API_KEY": "x"}, "azure"),
        ({"AZURE_OPENAI_API_KEY": "x", "OPENAI_API_KEY": "x"}, None),
        ({"OPENAI_API_TYPE": "amazon-bedrock"}, None),
    ],
)
def test_the_openai_module_goes_on_to_choose_what_it_chose(environ: dict[str, str], kind: str | None) -> None:
    assert placeholders(environ, FOLDER)[0].get("OPENAI_API_TYPE") == kind


@given(st.dictionaries(st.sampled_from(sorted({*placeholders({}, FOLDER)[0], "AWS_SESSION_TOKEN", "X"})), st.text()))
def test_no_value_of_the_environment_gets_into_what_is_set(environ: dict[str, str]) -> None:
    marked = {name: f"real-{value}" for name, value in environ.items()}
    values, replaced = placeholders(marked, FOLDER)
    assert not any(value.startswith("real-") for value in values.values())
    assert set(replaced) <= marked.keys()
    assert placeholders({**marked, **values}, FOLDER)[1] == []


# Files


def test_every_profile_with_keys_gets_placeholders_and_no_other() -> None:
    credentials = "[dev]\naws_access_key_id=AKIAREAL\naws_secret_access_key=real\nregion=x\n"
    config = "[default]\nregion=x\n[profile ci]\naws_access_key_id=AKIAREAL\n[profile sso]\nsso_session=s\n"
    text = aws_profiles(credentials, config).decode()
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert parser.sections() == ["ci", "default", "dev"]
    assert dict(parser["dev"]) == {"aws_access_key_id": AWS_KEY_ID, "aws_secret_access_key": AWS_SECRET}
    assert "REAL" not in text
    assert "real\n" not in text


@pytest.mark.parametrize("text", ["", "no section", "[a\nb", "[a]\n[a]\nb"])
def test_broken_aws_files_still_give_one_profile(text: str) -> None:
    assert b"[default]" in aws_profiles(text, text)


@pytest.mark.parametrize(
    ("text", "project"),
    [
        ('{"type":"service_account","project_id":"p"}', "p"),
        ('{"type":"authorized_user","quota_project_id":"q"}', "q"),
        ("{}", PLACEHOLDER),
        ("[]", PLACEHOLDER),
        ("", PLACEHOLDER),
    ],
)
@pytest.mark.thorough
def test_the_project_of_the_real_file_stays(text: str, project: str) -> None:
    assert project_of(text) == project
    assert json.loads(files(text)[GOOGLE_FILE])["project_id"] == project


def test_the_files_are_those_that_the_variables_name() -> None:
    values, _ = placeholders({}, FOLDER)
    assert {values["GOOGLE_APPLICATION_CREDENTIALS"], values["AWS_SHARED_CREDENTIALS_FILE"]} == {
        str(FOLDER / name) for name in files()
    }
    assert set(files()) == {GOOGLE_FILE, AWS_FILE}


# Google, with google-auth


class GoogleTransport:
    """What google-auth sends its requests with."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: object) -> Any:
        found = ask(url, method, body, **{name.replace("-", "_"): value for name, value in (headers or {}).items()})
        assert found is not None, url
        self.asked.append(url)
        return SimpleNamespace(status=found.status, data=found.body, headers=dict(found.headers))


SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def google_account(**more: Any) -> Any:
    return service_account.Credentials.from_service_account_info(json.loads(files()[GOOGLE_FILE]), **more)


GOOGLE: dict[str, Callable[[], Any]] = {
    "service account": lambda: google_account(scopes=SCOPES),
    "refresh token": lambda: google_user.Credentials(
        None, refresh_token="r", client_id="c", client_secret="s", token_uri="https://oauth2.googleapis.com/token"
    ),
    # It asks for its universe with a transport of its own.
    "metadata server": lambda: compute_engine.Credentials(universe_domain="googleapis.com"),
    "impersonation": lambda: impersonated_credentials.Credentials(google_account(scopes=SCOPES), "a@b", SCOPES),
}


@pytest.mark.parametrize("kind", GOOGLE)
def test_google_auth_takes_the_token_and_asks_once(kind: str) -> None:
    credentials, transport = GOOGLE[kind](), GoogleTransport()
    credentials.refresh(transport)
    assert (credentials.token, credentials.valid) == (TOKEN, True)
    asked = len(transport.asked)
    credentials.before_request(transport, "POST", "https://us-central1-aiplatform.googleapis.com/x", {})
    assert len(transport.asked) == asked


def test_google_auth_takes_the_id_token() -> None:
    info = json.loads(files()[GOOGLE_FILE])
    credentials = service_account.IDTokenCredentials.from_service_account_info(info, target_audience="https://x")
    credentials.refresh(GoogleTransport())
    assert credentials.valid
    assert jwt.decode(credentials.token, verify=False)["iss"] == "https://ai-cache.invalid"


def test_google_auth_is_told_that_its_universe_is_the_usual_one() -> None:
    found = ask("http://metadata.google.internal/computeMetadata/v1/universe/universe-domain", metadata_flavor="Google")
    assert found is not None
    assert found.body == b"googleapis.com"


def test_a_made_up_project_or_region_is_not_told() -> None:
    for path in ("/computeMetadata/v1/project/project-id", "/latest/meta-data/placement/region", "/latest/user-data"):
        found = ask(f"http://169.254.169.254{path}")
        assert found is not None
        assert (found.status, found.body) == (404, b"")


# AWS, with botocore


class AwsAnswers:
    """Botocore's way to answer a request before it is sent."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.others: list[str] = []

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        found = ask(request.url, request.method, request.body)
        (self.asked if found else self.others).append(request.headers.get("authorization", b""))
        status, headers, body = (found.status, dict(found.headers), found.body) if found else (424, {}, b"{}")

        class Raw:
            def stream(self, **_: object) -> Iterator[bytes]:
                yield body

        return AWSResponse(request.url, status, headers, Raw())


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsAnswers:
    """Botocore with the placeholders of a user who has two profiles, and with our answers."""
    config = (
        "[profile dev]\nregion=eu-west-1\n"
        "[profile role]\nregion=eu-west-1\nrole_arn=arn:aws:iam::123456789012:role/team/x\nsource_profile=dev\n"
        "[profile web]\nregion=eu-west-1\nrole_arn=arn:aws:iam::123456789012:role/x\nweb_identity_token_file=TOKEN\n"
    ).replace("TOKEN", str(tmp_path / "token"))
    real = "[dev]\naws_access_key_id=AKIAREAL\naws_secret_access_key=real\n"
    (tmp_path / "token").write_text("a.j.wt")
    (tmp_path / "config").write_text(config)
    for name, data in files(aws_credentials=real, aws_config=config).items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name, value in placeholders({}, tmp_path)[0].items():
        monkeypatch.setenv(name, value)
    answers = AwsAnswers()
    make = botocore.session.Session.create_client

    def create_client(self: Any, *arguments: Any, **more: Any) -> Any:
        client = make(self, *arguments, **more)
        client.meta.events.register("before-send", answers)
        return client

    monkeypatch.setattr(botocore.session.Session, "create_client", create_client)
    return answers


@pytest.mark.parametrize(
    ("profile", "key"),
    [(None, AWS_KEY_ID), ("dev", AWS_KEY_ID), ("role", "ASIAAICACHEPLACEHOLD"), ("web", "ASIAAICACHEPLACEHOLD")],
)
@pytest.mark.thorough
def test_boto3_signs_with_placeholders_whatever_profile_it_is_given(
    profile: str | None, key: str, aws: AwsAnswers
) -> None:
    session = boto3.Session(profile_name=profile, region_name="eu-west-1")
    client = session.client("bedrock-runtime")
    messages: Any = [{"role": "user", "content": [{"text": "hi"}]}]
    with pytest.raises(Exception, match="424"):
        client.converse(modelId="m", messages=messages)
    assert all(f"Credential={key}/" in str(header) for header in aws.others)
    assert aws.others
    assert len(aws.asked) == (profile in ("role", "web"))


@pytest.mark.thorough
def test_boto3_learns_who_it_is_and_its_keys_run_out_late(aws: AwsAnswers) -> None:
    sts = boto3.Session(region_name="eu-west-1").client("sts")
    assert sts.get_caller_identity()["Account"] == "000000000000"
    got = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/team/x", RoleSessionName="a&b<c")
    assert got["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/x/a&b<c"
    assert got["Credentials"]["Expiration"] == datetime(2099, 1, 1, tzinfo=UTC)
    assert sts.get_session_token()["Credentials"]["SessionToken"] == TOKEN


def test_boto3_takes_the_keys_of_a_log_in(aws: AwsAnswers) -> None:
    sso = boto3.Session(region_name="eu-west-1").client("sso")
    got = sso.get_role_credentials(roleName="r", accountId="1", accessToken="t")["roleCredentials"]
    assert got["sessionToken"] == TOKEN
    assert got["expiration"] == 4_070_908_800_000


def test_the_metadata_service_of_ec2_gives_the_fields_botocore_wants() -> None:
    from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher

    base = "http://169.254.169.254/latest"
    token = ask(f"{base}/api/token", "PUT")
    assert token is not None
    assert token.body == TOKEN.encode()
    role = ask(f"{base}/meta-data/iam/security-credentials/")
    assert role is not None
    keys = answered(f"{base}/meta-data/iam/security-credentials/{role.body.decode()}")
    assert set(InstanceMetadataFetcher._REQUIRED_CREDENTIAL_FIELDS) <= keys.keys()
    assert keys["Code"] == "Success"
    assert set(keys) <= answered(f"http://{ContainerMetadataFetcher.IP_ADDRESS}/v2/credentials/x").keys() | {
        "Code",
        "Type",
    }


# Azure: what msal asks and reads (azure-identity is no dependency of the tests)

TENANT = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000"


def test_msal_is_told_where_to_ask_and_gets_a_token_there() -> None:
    told = answered(f"{TENANT}/v2.0/.well-known/openid-configuration")
    assert told["authorization_endpoint"].startswith(TENANT)
    got = answered(told["token_endpoint"], "POST", "grant_type=client_credentials&client_id=c")
    assert (got["access_token"], got["token_type"]) == (TOKEN, "Bearer")
    assert got["expires_in"] > 86400 * 365


def test_an_authority_that_msal_does_not_know_is_discovered() -> None:
    where = "https%3A%2F%2Flogin.example.com%2Ft%2Foauth2%2Fv2.0%2Fauthorize"
    url = f"https://login.microsoftonline.com/common/discovery/instance?authorization_endpoint={where}"
    told = answered(url)["tenant_discovery_endpoint"]
    assert told == "https://login.example.com/t/v2.0/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("url", "method"),
    [
        ("http://169.254.169.254/metadata/identity/oauth2/token?resource=https%3A%2F%2Fx", "GET"),
        ("https://login.microsoftonline.com/t/oauth2/token?resource=https%3A%2F%2Fx", "POST"),
    ],
)
def test_managed_identities_get_numbers_as_text(url: str, method: str) -> None:
    got = answered(url, method)
    assert int(got["expires_in"]) > 0
    assert int(got["expires_on"]) > 4e9
    assert got["resource"] == "https://x"


# What is none


@pytest.mark.parametrize(
    ("url", "method", "body"),
    [
        ("https://api.openai.com/v1/chat/completions", "POST", "{}"),
        ("https://api.anthropic.com/v1/messages", "POST", "{}"),
        ("https://oauth2.googleapis.com/token", "GET", ""),
        ("https://oauth2.googleapis.com/revoke", "POST", ""),
        ("https://evil.example/oauth2.googleapis.com/token", "POST", ""),
        ("https://sts.amazonaws.com.evil.example/", "POST", "Action=AssumeRole"),
        ("https://sts.us-east-1.amazonaws.com/", "POST", "Action=DecodeAuthorizationMessage"),
        ("https://login.microsoftonline.com/t/oauth2/v2.0/authorize", "GET", ""),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse", "POST", "{}"),
        ("https://iamcredentials.googleapis.com/v1/x:signBlob", "POST", "{}"),
    ],
)
def test_everything_else_is_not_answered(url: str, method: str, body: str) -> None:
    assert ask(url, method, body) is None


@given(
    st.binary(max_size=80) | st.none(),
    st.sampled_from(["Action=AssumeRole&RoleArn=", "{", "Action=GetCallerIdentity&"]),
)
def test_no_body_makes_an_answer_fail(body: bytes | None, start: str) -> None:
    sent = None if body is None else start.encode() + body
    for url in ("https://sts.amazonaws.com/", "https://oauth2.googleapis.com/token", f"{TENANT}/oauth2/token"):
        ask(url, "POST", sent)
