"""Which requests are text generation by IBM watsonx."""

from __future__ import annotations

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, text
from .answers import GenerationAnswers


class WatsonxGeneration(GenerationAnswers):
    name = "watsonx-generation"
    tokens: tuple[str, ...] = ("text", "text_stream")

    def recognise(self, request: Request, body: Body) -> Call | None:
        if not request.path.endswith(("/generation/text", "/generation/text_stream")) or "input" not in body.object:
            return None
        stream = request.path.endswith("text_stream")
        return Call(self, text(body.object.get("model_id")), stream, body, request.host, request.path)
