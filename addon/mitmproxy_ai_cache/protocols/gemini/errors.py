"""Errors as Google's SDKs show them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class GeminiErrors(Protocol):
    own_hosts = (".googleapis.com",)

    def error(self, status: int, code: str, message: str) -> Response:
        return json_response(
            status, {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION", "reason": code}}
        )

    def error_of_no_call(self, status: int, code: str, message: str) -> Response:
        """Other services of Google's have no `reason` beside the status."""
        return json_response(status, {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION"}})
