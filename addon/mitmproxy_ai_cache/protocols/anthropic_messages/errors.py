"""Errors as Anthropic's SDKs show them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class AnthropicErrors(Protocol):
    def error(self, status: int, code: str, message: str) -> Response:
        return anthropic_error(status, code, message)


def anthropic_error(status: int, code: str, message: str) -> Response:
    return json_response(status, {"type": "error", "error": {"type": code, "message": message}})
