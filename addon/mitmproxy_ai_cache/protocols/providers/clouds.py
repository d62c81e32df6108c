"""The rows of the clouds: AWS, Azure, Google, and Databricks, which is reached through all three."""

from __future__ import annotations

from collections.abc import Mapping

from ...wire.messages import Response
from ..base import json_response
from ..bedrock.errors import aws_error
from .row import API_KEY, PLACEHOLDER, Key, Provider, Secret, Variable

AWS_KEY_ID = "AKIAAICACHEPLACEHOLD"
"""Of the shape that SDKs and log scanners know: AKIA and 16 of A-Z, 2-7."""
AWS_SECRET = "ai-cache/placeholder/no/real/secret/key/"  # noqa: S105 40 characters, as a real one
_GOOGLE_KEY = f"AIzaSy-{PLACEHOLDER}".ljust(39, "0")
_NOBODY = "00000000-0000-0000-0000-000000000000"
_VERTEX = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
_AZURE_OPENAI = frozenset({"AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"})
_END = rb"(?![A-Za-z0-9])"


def _google_error(status: int, code: str, message: str) -> Response:
    return json_response(status, {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION"}})


def _google_key(present: Mapping[str, str]) -> bool:
    """One key where there is none: google-genai warns about two, and takes GOOGLE_API_KEY.

    None for Vertex without a project in the environment: with a key its SDK calls paths without a project.
    """
    vertex = any(present.get(name, "").lower() in ("1", "true") for name in _VERTEX)
    return "GEMINI_API_KEY" not in present and (not vertex or "GOOGLE_CLOUD_PROJECT" in present)


def means_azure(present: Mapping[str, str]) -> bool:
    """Whether `openai.chat...` without a client would choose Azure."""
    return bool(present.keys() & _AZURE_OPENAI)


def _api_type(present: Mapping[str, str]) -> bool:
    """`openai.chat...` without a client refuses to choose where keys of OpenAI and Azure are both set
    (openai/lib/_module_runtime.py). A replay sets both: this says what it would have chosen. Clients proper do not read
    it."""
    return means_azure(present) and "OPENAI_API_KEY" not in present


def _databricks_token(present: Mapping[str, str]) -> bool:
    """Where there is a host and no other way to authenticate: its SDK refuses two."""
    others = {name for name in present if name.startswith("DATABRICKS_")} - {"DATABRICKS_HOST"}
    return "DATABRICKS_HOST" in present and not others


AWS = Provider(
    name="bedrock",
    docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/welcome.html",
    hosts="""
    bedrock-runtime.*.amazonaws.com bedrock-runtime-fips.*.amazonaws.com bedrock-agent-runtime.*.amazonaws.com
    bedrock-runtime.*.api.aws bedrock-mantle.*.api.aws bedrock-runtime.*.amazonaws.com.cn
    *.bedrock-runtime.*.vpce.amazonaws.com
    """,
    domain="amazonaws.com",
    error=aws_error,
    keys=(Key("AWS_BEARER_TOKEN_BEDROCK", hosts="bedrock*.amazonaws.com bedrock*.amazonaws.com.cn bedrock*.api.aws"),),
    variables=(
        Variable("AWS_ACCESS_KEY_ID", AWS_KEY_ID, cloud=True),
        Variable("AWS_SECRET_ACCESS_KEY", AWS_SECRET, cloud=True),
        Variable("AWS_SESSION_TOKEN", add=False),
        Variable("AWS_SECURITY_TOKEN", add=False),
        Variable("AWS_BEARER_TOKEN_BEDROCK", f"bedrock-api-key-{PLACEHOLDER}", add=False),
        # No credential: it keeps boto3 from waiting for a metadata server.
        Variable("AWS_EC2_METADATA_DISABLED", "true", replace=False, cloud=True),
    ),
    secrets=(
        Secret("AKIA", "aws-key-id", rb"AKIA[A-Z0-9]{16}" + _END),
        Secret("ASIA", "aws-key-id", rb"ASIA[A-Z0-9]{16}" + _END),
        Secret("ABIA", "aws-key-id", rb"ABIA[A-Z0-9]{16}" + _END),
        Secret("ACCA", "aws-key-id", rb"ACCA[A-Z0-9]{16}" + _END),
        Secret("IQoJb3JpZ2lu", "aws-session-token", rb"IQoJb3JpZ2lu[A-Za-z0-9+/_-]{80,}={0,2}"),
        Secret("FwoGZXIvYXdz", "aws-session-token", rb"FwoGZXIvYXdz[A-Za-z0-9+/_-]{80,}={0,2}"),
        Secret("ABSK", "bedrock-key", rb"ABSK[A-Za-z0-9+/]{60,}={0,2}"),
        Secret("bedrock-api-key-", "bedrock-key", rb"bedrock-api-key-[A-Za-z0-9+/_-]{60,}={0,2}"),
    ),
    redacted_headers="x-amz-security-token",
    key_headers="x-amzn-bedrock- x-amzn-sagemaker-",
    answer_headers="""
    x-amzn-requestid x-amzn-errortype x-amzn-bedrock-content-type
    x-amzn-bedrock-input-token-count x-amzn-bedrock-output-token-count
    x-amzn-bedrock-cache-read-input-token-count x-amzn-bedrock-cache-write-input-token-count
    x-amzn-bedrock-invocation-latency x-amzn-bedrock-performanceconfig-latency x-amzn-bedrock-service-tier
    """,
)

AZURE = Provider(
    name="azure",
    docs="https://learn.microsoft.com/azure/ai-foundry/openai/reference",
    hosts="""
    *.openai.azure.com *.services.ai.azure.com *.cognitiveservices.azure.com *.models.ai.azure.com
    *.inference.ai.azure.com *.openai.azure.us
    """,
    keys=(
        Key(
            "AZURE_OPENAI_API_KEY",
            API_KEY,
            hosts="*.openai.azure.com *.openai.azure.us *.cognitiveservices.azure.com",
        ),
        Key("AZURE_API_KEY", API_KEY, hosts="*.services.ai.azure.com"),
    ),
    variables=(
        Variable("AZURE_OPENAI_API_KEY"),
        Variable("AZURE_OPENAI_AD_TOKEN", add=False),
        Variable("AZURE_API_KEY", add=False),
        Variable("AZURE_AD_TOKEN", add=False),
        Variable("AZURE_AI_API_KEY", add=False),
        Variable("AZURE_INFERENCE_CREDENTIAL", add=False),
        Variable("AZURE_PASSWORD", add=False),
        Variable("AZURE_CLIENT_SECRET", cloud=True),
        # No credentials: they complete AZURE_CLIENT_SECRET, so that DefaultAzureCredential does not go on to a
        # metadata server.
        Variable("AZURE_CLIENT_ID", _NOBODY, replace=False, cloud=True),
        Variable("AZURE_TENANT_ID", _NOBODY, replace=False, cloud=True),
        Variable("OPENAI_API_TYPE", "azure", add=_api_type, replace=False),
    ),
    credential_headers="api-key ocp-apim-subscription-key subscription-key",
    principal_headers="x-functions-key",
    answer_headers="apim-request-id x-ms-request-id",
)

GOOGLE = Provider(
    name="gemini",
    docs="https://ai.google.dev/api",
    hosts="""
    generativelanguage.googleapis.com aiplatform.googleapis.com *-aiplatform.googleapis.com
    aiplatform.*.rep.googleapis.com
    """,
    domain="googleapis.com",
    error=_google_error,
    keys=(
        Key("GEMINI_API_KEY", "x-goog-api-key: ", hosts="generativelanguage.googleapis.com"),
        Key("GOOGLE_ACCESS_TOKEN", hosts="*aiplatform.googleapis.com"),
    ),
    variables=(
        Variable("GOOGLE_GENERATIVE_AI_API_KEY", _GOOGLE_KEY),
        Variable("GOOGLE_API_KEY", _GOOGLE_KEY, add=_google_key),
        Variable("GEMINI_API_KEY", _GOOGLE_KEY, add=False),
        # No credentials: they keep google-auth and Node's gcp-metadata from waiting for a metadata server.
        # GCE_METADATA_HOST is not set: Go and Node take it for a sign that they are on GCE.
        Variable("NO_GCE_CHECK", "true", replace=False, cloud=True),
        Variable("METADATA_SERVER_DETECTION", "none", replace=False, cloud=True),
    ),
    secrets=(
        Secret("AIza", "google-key", rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
        Secret("AQ.", "google-key", rb"AQ\.[A-Za-z0-9_-]{40,}", strict=True),
        Secret("ya29.", "google-token", rb"ya29\.[A-Za-z0-9_.-]{20,}"),
        Secret("GOCSPX-", "google-client-secret", rb"GOCSPX-[A-Za-z0-9_-]{20,}"),
        Secret("1//0", "google-refresh-token", rb"1//0[A-Za-z0-9_-]{30,}", strict=True),
    ),
    credential_headers="x-goog-api-key",
    redacted_headers="x-goog-iam-authorization-token",
    rotating="ya29.",
    key_headers="x-vertex-ai-",
    answer_headers="x-goog-request-id x-goog-upload-url x-goog-upload-status x-goog-upload-chunk-granularity",
)

DATABRICKS = Provider(
    name="databricks",
    docs="https://docs.databricks.com/dev-tools/auth",
    variables=(
        Variable("DATABRICKS_TOKEN", f"dapi-{PLACEHOLDER}", add=_databricks_token),
        Variable("DATABRICKS_CLIENT_SECRET", add=False),
    ),
    secrets=(Secret("dapi", "databricks-token", rb"dapi[0-9a-f]{32}(?:-[0-9])?" + _END),),
)

CLOUDS = (AWS, AZURE, GOOGLE, DATABRICKS)
