"""Which requests are text generation by Hugging Face."""

from __future__ import annotations

import re

from ...wire.body import Body
from ...wire.messages import Request
from ..base import ANYWHERE, Call
from .answers import GenerationAnswers

_HF_MODEL = re.compile(r"^/models/(.+)$")


class HuggingFaceGeneration(GenerationAnswers):
    """`{"inputs": ...}` to a model or to an endpoint of one's own."""

    name = "huggingface-generation"
    tokens: tuple[str, ...] = ("generate", "generate_stream", "", ANYWHERE)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.host.endswith((".huggingface.co", ".huggingface.cloud")) or "inputs" not in body.object:
            return None
        named = _HF_MODEL.match(request.path)
        stream = body.object.get("stream") is True or request.path.endswith("/generate_stream")
        return Call(self, named[1] if named else "", stream, body, request.host, request.path)
