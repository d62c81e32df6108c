"""Errors as Ollama's clients show them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class OllamaErrors(Protocol):
    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(status, {"error": message})
