"""Requests to a proxy that no library sends."""

from __future__ import annotations

from ways_in import ADDRESS


def raw_requests(port: int, page: int) -> list[tuple[bytes, ...]]:
    """What no library sends: user names, escapes, wide digits, two hosts, forwarded addresses, tunnels in tunnels, two
    requests in one, odd methods. The parts of one are sent in turn, each after an answer."""
    targets = f"""
        http://ai-cache.internal@{ADDRESS}/entries //ai-cache.internal/entries http:///entries
        HTTP://AI-CACHE.INTERNAL/entries https://ai-cache.internal/entries http://ai-cache.internal:80/entries
        http://ai-cache.internal./entries http://ai-cache%2einternal/entries http://ai-cache。internal/entries
        http://127.0.0.1:{port}@ai-cache.internal/entries ftp://ai-cache.internal/entries ws://ai-cache.internal/entries
        http://[::1%25lo]:{page}/entries http://127.0.0.1%2f:{page}/entries http://①②⑦.0.0.1:{page}/entries
        http://127。0。0。1:{page}/entries http://%6c%6f%63alhost:{page}/entries http://x\\@127.0.0.1:{page}/entries
        http://127.0.0.1:0{page}/entries http://rebound.example:{page}/entries /http://rebound.example:{page}/entries
        /http://ai-cache.internal/entries /https://ai-cache.internal/entries /http:/127.0.0.1:{page}/entries
        /http://x@127.0.0.1:{page}/entries /http://127.0.0.1:{page}#x/entries /http://127.0.0.1:0{page}/entries
        /http://ai-cache.internal/http://ai-cache.internal/entries /http://{ADDRESS}:{port}/http://ai-cache.internal/
    """.split()
    hosts = (
        "Host: ai-cache.internal",
        "Host: 127.0.0.1",
        f"Host: {ADDRESS}:{port}",
        "X: y",
        "Host: ai-cache.internal\r\nHost: 127.0.0.1",
        "Host: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Real-IP: 127.0.0.1",
    )
    end = "X-AI-Cache: 1\r\nConnection: close\r\n\r\n"
    single = [
        f"GET {target} HTTP/1.{minor}\r\n{host}\r\n{end}" for target in targets for host in hosts for minor in "10"
    ]
    for method in ("OPTIONS", "TRACE", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"):
        for path in ("/ai-cache/status", "/ai-cache/scope", "/ai-cache/listeners", "/metrics", "/"):
            single.append(f"{method} {path} HTTP/1.1\r\nHost: {ADDRESS}:{port}\r\nContent-Length: 2\r\n{end}{{}}")
    single.append(f"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET http://ai-cache.internal/entries HTTP/1.1\r\n{end}")
    found = [(request.encode(),) for request in single]
    for tunnel in ("ai-cache.internal:80", f"rebound.example:{page}", f"127.0.0.1:{page}", f"{ADDRESS}:{port}"):
        first = f"CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n\r\n".encode()
        for path in ("/entries", "/ai-cache/status", "http://ai-cache.internal/entries", f"/http://127.0.0.1:{page}/"):
            for host in ("ai-cache.internal", f"127.0.0.1:{page}"):
                found.append((first, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{end}".encode()))
        found.append(
            (first, f"CONNECT 127.0.0.1:{page} HTTP/1.1\r\n\r\n".encode(), f"GET / HTTP/1.1\r\n{end}".encode())
        )
    return found
