"""Local answers of token endpoints, for a replay.

SDKs of clouds fetch a token before they call: with no network that must not fail, and a real token must not be needed.
The tokens are placeholders that no provider takes. They run out in decades, so that nothing is asked twice; times are
constants or relative, so that the same request always gets the same answer.

Shapes as google-auth 2.62, botocore 1.44 and msal 1.39 (azure-identity 1.27) read them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import orjson

from ..wire.messages import Headers, Request, Response

TOKEN = "ai-cache-placeholder-token"  # noqa: S105 the point of it
ACCESS_KEY_ID = "ASIAAICACHEPLACEHOLD"
"""Of the shape of a temporary one."""
SECRET_KEY = "ai-cache/placeholder/no/real/secret/key/"  # noqa: S105
_SECONDS = 315_360_000
"""Ten years, for `expires_in`."""
_UNTIL = 4_070_908_800
_UNTIL_ISO = "2099-01-01T00:00:00Z"
_ISSUED = 1_700_000_000
_EMAIL = "placeholder@ai-cache-placeholder.iam.gserviceaccount.com"
_TENANT = "00000000-0000-0000-0000-000000000000"

_METADATA = frozenset({"169.254.169.254", "metadata.google.internal", "metadata", "fd00:ec2::254"})
_CONTAINER = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
_ENTRA = frozenset(
    """
    login.microsoftonline.com login.microsoft.com login.windows.net sts.windows.net login.chinacloudapi.cn
    login.partner.microsoftonline.cn login.microsoftonline.us login.usgovcloudapi.net
    """.split()
)
_STS = re.compile(r"sts(?:-fips)?(?:\.[a-z0-9-]+)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
_SSO = re.compile(r"(?:portal\.sso|oidc)\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
_ROLE = re.compile(r"arn:[a-z-]+:iam::(\d{12}):role/(?:[\w+=,.@/-]*/)?([\w+=,.@-]+)", re.ASCII)

_OAUTH = {
    ("oauth2.googleapis.com", "/token"),
    ("oauth2.mtls.googleapis.com", "/token"),
    ("www.googleapis.com", "/oauth2/v4/token"),
    ("www.googleapis.com", "/oauth2/v3/token"),
    ("accounts.google.com", "/o/oauth2/token"),
    ("sts.googleapis.com", "/v1/token"),
    ("iam.cloud.ibm.com", "/identity/token"),
    ("auth.openai.com", "/oauth/token"),
    ("api.anthropic.com", "/v1/oauth/token"),
}
"""Token endpoints of RFC 6749 section 3.2, by host and path."""


def token_answer(request: Request) -> Response | None:
    """The answer to a request for a token, or None where it is something else. Nothing of the request is checked."""
    host = request.host.lower().rstrip(".").strip("[]")
    if request.method == "POST" and (host, request.path) in _OAUTH:
        return _json(_oauth(request))
    for hosts, answer in _BY_HOST:
        if hosts(host):
            return answer(request)
    return None


def _oauth(request: Request) -> dict[str, Any]:
    """With an id token and an `issued_token_type`: who did not ask for them does not look."""
    asked = _form(request)
    return {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": _SECONDS,
        "expiration": _UNTIL,
        "scope": asked.get("scope", ""),
        "id_token": jwt(asked.get("audience") or asked.get("client_id", "")),
        "refresh_token": TOKEN,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }


def _iam_credentials(request: Request) -> Response | None:
    """Impersonation of a Google service account."""
    if request.path.endswith(":generateAccessToken"):
        return _json({"accessToken": TOKEN, "expireTime": _UNTIL_ISO})
    if request.path.endswith(":generateIdToken"):
        return _json({"token": jwt()})
    return None


def _metadata(request: Request) -> Response | None:
    """The metadata servers of the three clouds share an address; their paths differ."""
    path = request.path
    if path.startswith("/computeMetadata/") or (path == "/" and "metadata-flavor" in request.headers):
        return _google_metadata(request, path.removeprefix("/computeMetadata/v1/").strip("/"))
    if path == "/metadata/identity/oauth2/token":
        return _json(_entra_v1(request))
    if path == "/latest/api/token":
        return _text(TOKEN, [("x-aws-ec2-metadata-token-ttl-seconds", "21600")])
    role = path.removeprefix("/latest/meta-data/iam/security-credentials")
    if role != path:
        return _json({"Code": "Success", "Type": "AWS-HMAC", **_instance_keys()}) if role.strip("/") else _text("role")
    # A region or a zone is part of URLs: one that is made up would turn a clear error into a miss.
    return _text("", status=404)


def _google_metadata(request: Request, path: str) -> Response:
    flavor = [("metadata-flavor", "Google")]
    account = re.fullmatch(r"instance/service-accounts/[^/]+(?:/(token|identity|email))?", path)
    if account and account[1] == "token":
        return _json({"access_token": TOKEN, "expires_in": _SECONDS, "token_type": "Bearer"}, flavor)
    if account and account[1] == "identity":
        return _text(jwt(dict(parse_qsl(request.query)).get("audience", "")), flavor)
    if account and account[1] == "email":
        return _text(_EMAIL, flavor)
    if account:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        return _json({"aliases": ["default"], "email": _EMAIL, "scopes": scopes}, flavor)
    if path == "universe/universe-domain":
        return _text("googleapis.com", flavor)
    return _text("", flavor, 200 if path in ("", "/") else 404)  # the project is part of URLs, as the region is


def _container(request: Request) -> Response:
    """ECS and EKS."""
    return _json({"RoleArn": "arn:aws:iam::000000000000:role/role", **_instance_keys()})


def _instance_keys() -> dict[str, str]:
    return {
        "AccessKeyId": ACCESS_KEY_ID,
        "SecretAccessKey": SECRET_KEY,
        "Token": TOKEN,
        "Expiration": _UNTIL_ISO,
        "LastUpdated": "2023-11-14T22:13:20Z",
    }


def _sts(request: Request) -> Response | None:
    """The query protocol of AWS STS: XML."""
    asked = _form(request)
    action = asked.get("Action", "")
    role = _ROLE.fullmatch(asked.get("RoleArn", ""))
    account, name = (role[1], role[2]) if role else ("000000000000", "role")
    session = asked.get("RoleSessionName", "ai-cache")
    arn = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
    caller = f"<Arn>{escape(arn)}</Arn><UserId>AROAAICACHEPLACEHOLD</UserId><Account>{account}</Account>"
    keys = _element(
        "Credentials",
        AccessKeyId=ACCESS_KEY_ID,
        SecretAccessKey=SECRET_KEY,
        SessionToken=TOKEN,
        Expiration=_UNTIL_ISO,
    )
    user = _element("AssumedRoleUser", AssumedRoleId=f"AROAAICACHEPLACEHOLD:{session}", Arn=arn)
    results = {
        "AssumeRole": keys + user,
        "AssumeRoleWithWebIdentity": keys
        + user
        + "<SubjectFromWebIdentityToken>ai-cache</SubjectFromWebIdentityToken>",
        "AssumeRoleWithSAML": keys + user,
        "GetSessionToken": keys,
        "GetCallerIdentity": caller,
    }
    if action not in results:
        return None
    body = (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{results[action]}'
        f"</{action}Result><ResponseMetadata><RequestId>{_TENANT}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Response(200, Headers([("content-type", "text/xml")]), body.encode())


def _element(tag: str, **members: str) -> str:
    return f"<{tag}>{''.join(f'<{name}>{escape(value)}</{name}>' for name, value in members.items())}</{tag}>"


def _sso(request: Request) -> Response | None:
    """IAM Identity Center: the keys of a role, and the renewal of a log-in."""
    if request.path == "/federation/credentials":
        keys = {"accessKeyId": ACCESS_KEY_ID, "secretAccessKey": SECRET_KEY, "sessionToken": TOKEN}
        return _json({"roleCredentials": {**keys, "expiration": _UNTIL * 1000}})
    if request.path == "/token":
        return _json({"accessToken": TOKEN, "expiresIn": 86400, "refreshToken": TOKEN, "tokenType": "Bearer"})
    return None


def _entra(request: Request) -> Response | None:
    """Microsoft Entra ID: what msal asks before it asks for a token, and the token."""
    base = f"https://{request.host}"
    tenant, _, path = request.path.lstrip("/").partition("/")
    if path in ("oauth2/v2.0/token", "oauth2/token") and request.method == "POST":
        return _json(_oauth(request) | {"ext_expires_in": _SECONDS} if "v2.0" in path else _entra_v1(request))
    if path in ("v2.0/.well-known/openid-configuration", ".well-known/openid-configuration"):
        oauth = f"{base}/{tenant}/oauth2/v2.0"
        return _json(
            {
                "issuer": f"{base}/{tenant}/v2.0",
                "token_endpoint": f"{oauth}/token",
                "authorization_endpoint": f"{oauth}/authorize",
                "device_authorization_endpoint": f"{oauth}/devicecode",
                "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )
    if path == "discovery/instance":
        where = dict(parse_qsl(request.query)).get("authorization_endpoint", f"{base}/common/oauth2/v2.0/authorize")
        found = where.partition("/oauth2/")[0] + "/v2.0/.well-known/openid-configuration"
        aliases = {"preferred_network": request.host, "preferred_cache": request.host, "aliases": [request.host]}
        return _json({"api-version": "1.1", "tenant_discovery_endpoint": found, "metadata": [aliases]})
    if path.startswith("userrealm/"):
        return _json({"ver": "1.0", "account_type": "Managed", "domain_name": "ai-cache.invalid"})
    return None


def _entra_v1(request: Request) -> dict[str, str]:
    """Version 1 and managed identities: numbers as text."""
    asked = _form(request)
    return {
        "access_token": TOKEN,
        "token_type": "Bearer",
        "expires_in": str(_SECONDS),
        "ext_expires_in": str(_SECONDS),
        "expires_on": str(_UNTIL),
        "not_before": str(_ISSUED),
        "resource": asked.get("resource", ""),
        "client_id": asked.get("client_id", _TENANT),
    }


def jwt(audience: str = "") -> str:
    """A JSON Web Token that says whose it is not. Its signature is none that anybody could check."""
    claims = {
        "iss": "https://ai-cache.invalid",
        "sub": "ai-cache-placeholder",
        "aud": audience or "ai-cache-placeholder",
        "iat": _ISSUED,
        "exp": _UNTIL,
        "email": _EMAIL,
        "preferred_username": _EMAIL,
        "tid": _TENANT,
        "oid": _TENANT,
    }
    parts = (orjson.dumps({"alg": "RS256", "typ": "JWT", "kid": "placeholder"}), orjson.dumps(claims), b"placeholder")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _form(request: Request) -> dict[str, str]:
    """The parameters of query and body: a form, or JSON where the body is that."""
    body = request.body or b""
    found = dict(parse_qsl(request.query))
    if body[:1] == b"{":
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return found
        return found | {str(name): text for name, text in value.items() if isinstance(text, str)}
    try:
        return found | dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=200))
    except ValueError:
        return found


def _json(value: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    fields = [("content-type", "application/json"), ("cache-control", "no-store"), *headers]
    return Response(200, Headers(fields), orjson.dumps(value))


def _text(text: str, headers: Iterable[tuple[str, str]] = (), status: int = 200) -> Response:
    return Response(status, Headers([("content-type", "text/plain"), *headers]), text.encode())


_BY_HOST: tuple[tuple[Callable[[str], Any], Callable[[Request], Response | None]], ...] = (
    (_METADATA.__contains__, _metadata),
    (_CONTAINER.__contains__, _container),
    (_ENTRA.__contains__, _entra),
    ("iamcredentials.googleapis.com".__eq__, _iam_credentials),
    (_STS.fullmatch, _sts),
    (_SSO.fullmatch, _sso),
)
