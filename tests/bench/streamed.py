"""What misses are measured against: a script for a stock mitmdump that streams every answer."""

from mitmproxy import http


def responseheaders(flow: http.HTTPFlow) -> None:
    if flow.response is not None:
        flow.response.stream = True
