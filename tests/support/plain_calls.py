"""Run behind the proxy as a process of its own, standard library alone: sends the requests that a JSON file lists.

Each is `{"method", "url", "headers", "body"}`, the body in base64. Prints a JSON list of what came back:
`[status, X-AI-Cache-Status, body in base64]`, with status 0 and the error's text where no answer came.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import sys
from urllib.parse import urlsplit


def connect(host: str) -> http.client.HTTPSConnection:
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    connection = http.client.HTTPSConnection(proxy.hostname or "", proxy.port, context=trust, timeout=60)
    connection.set_tunnel(host, 443)
    return connection


def main(file: str) -> None:
    connections: dict[str, http.client.HTTPSConnection] = {}
    results: list[tuple[int, str, str]] = []
    with open(file, encoding="utf-8") as listed:
        requests = json.load(listed)
    for request in requests:
        parts = urlsplit(request["url"])
        connection = connections.get(parts.netloc) or connect(parts.netloc)
        connections[parts.netloc] = connection
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(request["method"], target, base64.b64decode(request["body"]), request["headers"])
            answer = connection.getresponse()
            body = base64.b64encode(answer.read()).decode()
            results.append((answer.status, answer.headers.get("x-ai-cache-status", ""), body))
        except OSError as error:
            del connections[parts.netloc]
            results.append((0, str(error), ""))
    print(json.dumps(results))


main(sys.argv[1])
