"""Errors as Google's SDKs show them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class GeminiErrors(Protocol):
    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(
            status, {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION", "reason": code}}
        )
