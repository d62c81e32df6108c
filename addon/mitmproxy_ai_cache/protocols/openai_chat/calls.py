"""Which requests are calls of Chat Completions or legacy Completions, on OpenAI, Azure and all who speak the same."""

from __future__ import annotations

import re

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, Protocol, text
from .answers import CompletionAnswers
from .usage import CompletionUsage

OPENAI_KEY_HEADERS = frozenset(
    {
        "openai-beta",
        "openai-organization",
        "openai-project",
        "azureml-model-deployment",
        "extra-parameters",
        "groq-model-version",
    }
)

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_VERTEX_MODEL = re.compile(r"/models/([^/:]+):")
_PORTKEY_PROMPT = re.compile(r"/prompts/([^/]+)/completions$")


class OpenAIChat(CompletionAnswers, CompletionUsage):
    name = "openai-chat"
    tokens: tuple[str, ...] = ("completions", "chat", "rawPredict", "streamRawPredict")
    ignored: tuple[str, ...] = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata")
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not isinstance(body.object.get("messages"), list):
            return None
        if request.path.endswith("/agents/completions"):  # Mistral: what the agent is told stands on its server
            return openai_call(self, request, body, model=text(body.object.get("agent_id")), live_input=True)
        if not (request.path.endswith("/chat/completions") or _is_writer(request) or _is_vertex_partner(request)):
            return None
        return openai_call(self, request, body)


class OpenAICompletions(OpenAIChat):
    name = "openai-completions"
    tokens: tuple[str, ...] = ("completions",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith("/completions") or "messages" in body.object:
            return None
        if prompt := _PORTKEY_PROMPT.search(request.path):
            # Portkey's prompt templates live on its server: an id without a version may change under us.
            return openai_call(self, request, body, model=prompt[1], live_input=True) if body.object else None
        if "prompt" not in body.object:
            return None
        return openai_call(self, request, body)


def openai_call(
    protocol: Protocol,
    request: Request,
    body: Body,
    *,
    model: str = "",
    bypass: str = "",
    live_input: bool = False,
) -> Call:
    """A call whose body holds `model` and `stream` as OpenAI has them; Azure names the deployment in the path."""
    wanted = body.object
    return Call(
        protocol=protocol,
        model=model or text(wanted.get("model")) or body.field("model") or _model_in_path(request.path),
        stream=wanted.get("stream") is True
        or body.field("stream") == "true"
        or request.path.endswith(":streamRawPredict"),
        body=body,
        host=request.host,
        path=request.path,
        bypass=bypass,
        live_input=live_input,
    )


def _model_in_path(path: str) -> str:
    named = _DEPLOYMENT.search(path) or _VERTEX_MODEL.search(path)
    return named[1] if named else ""


def _is_vertex_partner(request: Request) -> bool:
    """Mistral and others on Vertex speak as OpenAI does; Anthropic as Anthropic does."""
    return "/publishers/" in request.path and "/publishers/anthropic/" not in request.path


def _is_writer(request: Request) -> bool:
    return request.host == "api.writer.com" and request.path == "/v1/chat"
