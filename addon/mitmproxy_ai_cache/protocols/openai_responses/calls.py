"""Which requests are calls of Responses, or count their tokens."""

from __future__ import annotations

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, text
from ..openai_chat import OPENAI_KEY_HEADERS, openai_call
from .answers import CountAnswers, ResponseAnswers
from .usage import ResponseUsage


class OpenAIResponses(ResponseAnswers, ResponseUsage):
    name = "openai-responses"
    tokens: tuple[str, ...] = ("responses", "compact")
    ignored: tuple[str, ...] = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata")
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def recognise(self, request: Request, body: Body) -> Call | None:
        wanted = body.object
        if not request.path.endswith(("/responses", "/responses/compact")) or not (
            {"input", "prompt", "previous_response_id"} & wanted.keys()
        ):
            return None
        bypass = (
            "background" if wanted.get("background") is True else "conversation" if wanted.get("conversation") else ""
        )
        prompt = wanted.get("prompt")
        unversioned = isinstance(prompt, dict) and not prompt.get("version")
        return openai_call(self, request, body, bypass=bypass, live_input=unversioned)

    def names(self, call: Call) -> str:
        return text(call.body.object.get("previous_response_id"))


class OpenAIInputTokens(CountAnswers):
    """`POST /v1/responses/input_tokens`: counts the tokens of a request."""

    name = "openai-count-tokens"
    tokens: tuple[str, ...] = ("input_tokens",)
    key_headers: frozenset[str] = OPENAI_KEY_HEADERS

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith("/responses/input_tokens") or not body.object:
            return None
        return openai_call(self, request, body, bypass="conversation" if body.object.get("conversation") else "")
