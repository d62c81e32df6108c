"""Errors as Cohere's SDK shows them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class CohereErrors(Protocol):
    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(status, {"id": code, "message": message})
