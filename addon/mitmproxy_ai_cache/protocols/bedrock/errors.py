"""Errors as AWS's SDKs show them."""

from __future__ import annotations

from ...wire.messages import Response
from ..base import Protocol, json_response


class AwsErrors(Protocol):
    def error(self, status: int, code: str, message: str) -> Response:
        return aws_error(status, code, message)


def aws_error(status: int, code: str, message: str) -> Response:
    # boto3 shows a message only from `message`, and the code only from this header.
    return json_response(status, {"message": message}, [("x-amzn-errortype", code)])
