"""Which requests are calls of the Bedrock runtime."""

from __future__ import annotations

import re
from urllib.parse import unquote

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call
from .answers import ConverseAnswers, GuardrailAnswers, InvokeAnswers
from .errors import AwsErrors
from .usage import InvokeUsage

_MODEL = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream)$")
_GUARDRAIL = re.compile(r"/guardrail/([^/]+)/version/[^/]+/apply$")


class _Runtime(AwsErrors):
    key_headers: frozenset[str] = frozenset({"accept"})

    def recognise(self, request: Request, body: Body) -> Call | None:
        match = _MODEL.search(request.path)
        if not match or match[2] not in self.tokens or body.kind not in ("json", "duplicate-members", "raw"):
            return None
        return Call(
            protocol=self,
            model=unquote(match[1]).rpartition("/")[2],
            stream=match[2] in ("converse-stream", "invoke-with-response-stream"),
            body=body,
            host=request.host,
            path=request.path,
        )


class BedrockConverse(ConverseAnswers, _Runtime):
    name = "bedrock-converse"
    tokens: tuple[str, ...] = ("converse", "converse-stream")
    ignored: tuple[str, ...] = ("requestMetadata",)


class BedrockInvoke(InvokeAnswers, InvokeUsage, _Runtime):
    name = "bedrock-invoke"
    tokens: tuple[str, ...] = ("invoke", "invoke-with-response-stream")


class BedrockGuardrail(GuardrailAnswers, _Runtime):
    name = "bedrock-guardrail"
    tokens: tuple[str, ...] = ("apply",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        match = _GUARDRAIL.search(request.path)
        if not match or "content" not in body.object:
            return None
        # What a guardrail does may be changed in the console, versions excepted; DRAFT is a working copy.
        draft = "/version/DRAFT/" in request.path
        return Call(self, unquote(match[1]), False, body, request.host, request.path, live_input=draft)
