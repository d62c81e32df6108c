"""Which requests are completions by Aleph Alpha."""

from __future__ import annotations

from ...wire.body import Body
from ...wire.messages import Request
from ..base import Call, text
from .answers import CompleteAnswers


class AlephAlphaComplete(CompleteAnswers):
    name = "alephalpha-complete"
    tokens: tuple[str, ...] = ("complete",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        if request.path != "/complete" or not {"prompt", "maximum_tokens"} <= body.object.keys():
            return None
        return Call(self, text(body.object.get("model")), False, body, request.host, request.path)
