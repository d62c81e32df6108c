"""OpenAI Chat Completions and legacy Completions, Azure OpenAI, and every host that speaks the same.

Source: OpenAI API reference "Chat" and "Streaming"; what other hosts do differently was measured on the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from ..wire.body import Body
from ..wire.framing import Stream
from ..wire.messages import Request
from .base import Call, Finding, Protocol, has_error, index_of, members, text

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


class OpenAIChat(Protocol):
    name = "openai-chat"
    tokens: tuple[str, ...] = ("completions", "chat", "rawPredict", "streamRawPredict")
    ignored: tuple[str, ...] = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata")
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def __init__(self, no_done_hosts: tuple[str, ...] = ()) -> None:
        self.no_done_hosts = no_done_hosts

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not isinstance(body.object.get("messages"), list):
            return None
        if request.path.endswith("/agents/completions"):  # Mistral: what the agent is told stands on its server
            return openai_call(self, request, body, model=text(body.object.get("agent_id")), live_input=True)
        if not (request.path.endswith("/chat/completions") or _is_writer(request) or _is_vertex_partner(request)):
            return None
        return openai_call(self, request, body)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        choices = members(value, "choices")
        if has_error(value):
            found.problem = "error-in-body"
        elif not any(choices):
            found.problem = "no-choices"
        for choice in choices:
            self._choice(choice, found)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        finished: dict[str, bool] = {}
        done = usage = False
        for event in stream.events:
            if event.data.strip() == b"[DONE]":
                done = True
                break
            if event.name == "error" or has_error(event.object):
                found.problem = "error-in-stream"
            elif event.value is None and event.data.strip():
                found.problem = found.problem or "malformed"
            for choice in members(event.value, "choices"):
                index = index_of(choice)
                finished[index] = self._choice(choice, found) or finished.get(index, False)
            usage = usage or bool(event.object.get("usage"))
        options = call.body.object.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        answered = bool(finished) and all(finished.values())
        if not finished:
            found.problem = found.problem or "no-choices"
        if found.problem:
            found.terminal, found.needs_framing = done, True
        elif any(fnmatchcase(call.host, host) for host in self.no_done_hosts) and not done:
            found.needs_framing = answered and (usage or not (wants_usage or call.host == "api.writer.com"))
        else:
            found.terminal = done and answered and (usage or not wants_usage)

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        groq = value.get("x_groq")  # its own name in streams
        return (groq.get("usage") if isinstance(groq, dict) else None, value.get("usage"))

    @staticmethod
    def _choice(choice: dict[str, Any], found: Finding) -> bool:
        """Whether this choice is finished."""
        reason = text(choice.get("finish_reason"))
        if choice.get("error") or reason == "error":
            found.problem = "error-in-body"
        if reason:
            found.stop.append(reason)
        return bool(reason)


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
