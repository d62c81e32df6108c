"""The table of all patches of mitmproxy: what each replaces, why, and what happens on a mitmproxy it does not know.

Fingerprints are those of mitmproxy 12.2.1 to 12.3.1. `scripts/patches` prints those of the mitmproxy that is installed.
A part whose inside cannot matter to its patch has its shape here instead.
"""

from __future__ import annotations

from .base import Doubt, Part, Patch

_STREAM = "mitmproxy.proxy.layers.http:HttpStream"
_H1 = "mitmproxy.proxy.layers.http._http1:"
_H2 = "mitmproxy.proxy.layers.http._http2:Http2Connection"
_SERVER = "mitmproxy.proxy.server:ConnectionHandler"
_BUFFER = "mitmproxy.proxy.utils:ReceiveBuffer"
_READ = "mitmproxy.net.http.http1.read:"
_MANAGER = "mitmproxy.addonmanager:AddonManager"
_EVENT = "(self, event) generator"
_SINCE = "12.2.1 or before"

OPEN_CONNECTION = "asyncio:open_connection"

_REQUEST_HEAD = Part(f"{_STREAM}.state_wait_for_request_headers", ("28a3262f4785",))
_OPEN = Part(f"{_SERVER}.open_connection", ("ba90166e303a",))
_READ_LOOP = Part(f"{_SERVER}.handle_connection", ("a4156ec2d30f",))
_READ_BODY = f"{_H1}Http1Client.read_body"
_LINES = (
    Part("h11._receivebuffer:ReceiveBuffer.__init__", ("5c1d78e126e0",)),
    Part("h11._receivebuffer:ReceiveBuffer.maybe_extract_lines", ("(self)",)),
)

ARRIVAL = Patch(
    "request-form",
    (f"{_STREAM}.state_wait_for_request_headers",),
    (
        _REQUEST_HEAD,
        Part(f"{_READ}read_request_head", ("5f9d72ccfa52",)),
        Part(f"{_READ}_read_request_line", ("1a04c10823c1", "c9efe6d9344f")),  # 12.2.1; from 12.2.2 on
    ),
    why="A request in origin form is meant for the proxy itself (SECURITY.md). mitmproxy drops the form of a request "
    "before its first hook.",
    since=_SINCE,
    without="plain http:// calls through the proxy are refused; calls to https:// and by base URL work",
    notice="test_arrival.py. Look for a field of `http.Request` that tells the form.",
    doubt=Doubt.REFUSES,
)
JUDGED_CONNECTIONS = Patch(
    "judged-connections",
    (OPEN_CONNECTION,),
    (_OPEN,),
    why="Whether a connection may be made is decided by the address that it is made to, in the same step "
    "(SECURITY.md). mitmproxy looks names up after its last hook.",
    since=_SINCE,
    without="calls of other machines, and base URLs that only a pattern of --hosts allows, are refused: name their "
    "hosts exactly with --hosts",
    notice="test_open_connection.py. Look for a hook between the lookup and the connection.",
    doubt=Doubt.REFUSES,
)
UPLOADS = Patch(
    "bounded-uploads",
    (f"{_STREAM}.check_body_size", f"{_STREAM}.start_request_stream", f"{_SERVER}.drain_writers"),
    (
        _REQUEST_HEAD,
        Part(f"{_STREAM}.check_body_size", ("30963712b2db",)),
        Part(f"{_STREAM}.start_request_stream", ("759e424c0390",)),
        Part(f"{_STREAM}.state_consume_request_body", ("469a19b5a8c1",)),
        Part(f"{_STREAM}.state_stream_request_body", ("c03e7ee1c897",)),
        Part(f"{_STREAM}.make_server_connection", ("(self) generator",)),
        Part("mitmproxy.proxy.layers.http:HttpLayer.__init__", ("847217f2e439",)),
        Part(f"{_H2}.__init__", ("173e309618be",)),
        Part(f"{_H2}.is_closed", ("(self, stream_id)",)),
        Part("mitmproxy.proxy.layers.http._http_h2:BufferedH2Connection.send_data", ("128bb8ea7423",)),
        Part(f"{_SERVER}.drain_writers", ("(self) coroutine",)),
        _READ_LOOP,
        Part(f"{_BUFFER}.__init__", ("593f4239679f",)),
        Part(f"{_BUFFER}.__iadd__", ("41feb527a947",)),
        Part(f"{_BUFFER}.clear", ("37e7db1de162",)),
    ),
    why="Unfinished uploads may not use up the memory (SECURITY.md). mitmproxy holds a body whole or not at all, and "
    "reads on while nobody takes what it has.",
    since=_SINCE,
    without="request bodies without a length, and those too large to hold, are refused by closing their connection",
    notice="test_request_bodies.py. Look for back pressure on requests and for a bound on all of them together.",
    doubt=Doubt.REFUSES,
)
INFORMATIONAL = Patch(
    "informational-answers",
    (f"{_H1}Http1Client.read_headers",),
    (
        Part(f"{_H1}Http1Client.read_headers", (_EVENT,)),
        Part(f"{_H1}Http1Connection._handle_event", ("35459eb2b6cb",)),
        *_LINES,
    ),
    why="A provider's 102 or 103 comes before its answer. mitmproxy takes it for the answer, and the client waits.",
    since=_SINCE,
    without="calls that a provider answers with 1xx first are cut off",
    notice="test_informational.py. Look for `Http1Client.read_headers` skipping 1xx.",
    doubt=Doubt.REFUSES,
)
ODD_ANSWERS = Patch(
    "surplus-of-an-answer",
    (_READ_BODY,),
    (Part(_READ_BODY, (_EVENT,)), Part(f"{_H1}Http1Connection._handle_event", ("35459eb2b6cb",)), _LINES[0]),
    why="A provider that sends more than its answer may have mixed up two. mitmproxy closes the connection and does "
    "not say why; such an answer is passed on and not kept.",
    since=_SINCE,
    without="answers that more bytes follow are kept like others",
    notice="test_odd_answers.py. Look for a flag on the response.",
)
UNREACHABLE = Patch(
    "unreachable-provider",
    (f"{_STREAM}.handle_protocol_error",),
    (
        Part(f"{_STREAM}.handle_protocol_error", ("d6899eaa2399",)),
        Part(f"{_STREAM}.send_response", ("2c8da78edee2",)),
    ),
    why="An answer that has gone stale is better than a 502. mitmproxy has no hook that may answer a request whose "
    "provider is away.",
    since=_SINCE,
    without="a provider that cannot be reached gives 502 where a stale answer would do",
    notice="test_connection_handling.py. Look for an `error` hook that may set `flow.response`.",
)
OUTLIVE_CLIENT = Patch(
    "shared-calls-go-on",
    (f"{_SERVER}.server_event",),
    (Part(f"{_SERVER}.server_event", ("(self, event) coroutine",)), _READ_LOOP),
    why="Others may wait for the answer to a call whose client leaves. mitmproxy closes the provider's connection "
    "then.",
    since=_SINCE,
    without="calls that share an answer break off when the first of their clients leaves",
    notice="test_connection_handling.py. Look for an option that keeps a provider's connection.",
)
MEMORY_ORIGIN = Patch(
    "shared-answers",
    (OPEN_CONNECTION,),
    (_OPEN, _READ_LOOP),
    why="Identical calls at the same time share one answer while it streams. mitmproxy streams only what it reads from "
    "a connection.",
    since=_SINCE,
    without="identical calls at the same time all go to the provider",
    notice="test_open_connection.py. Look for a response whose body an addon may write as a stream.",
)
CONNECTION_LIMIT = Patch(
    "connection-limit",
    (f"{_SERVER}.max_conns",),
    (_OPEN,),
    why="An HTTP/2 client may have as many calls as it likes. mitmproxy opens five connections to an HTTP/1.1 provider "
    "for it.",
    since=_SINCE,
    without="an HTTP/2 client has at most five calls at a time to an HTTP/1.1 provider",
    notice="test_connection_handling.py. Look for an option in the place of `asyncio.Semaphore(5)`.",
)
HOOK_TABLE = Patch(
    "hook-table",
    (f"{_MANAGER}.handle_lifecycle", f"{_MANAGER}.register", f"{_MANAGER}.remove"),
    (
        Part(f"{_MANAGER}.handle_lifecycle", ("d1585ae41348",)),
        Part(f"{_MANAGER}.trigger_event", ("16d2ce513710",)),
        Part(f"{_MANAGER}._iter_hooks", ("d6e9aa5c3996",)),
        Part(f"{_MANAGER}.invoke_addon", ("7c76cc1d7a87",)),
        Part(f"{_MANAGER}.register", ("(self, addon)",)),
        Part(f"{_MANAGER}.remove", ("(self, addon)",)),
        Part("mitmproxy.addonmanager:safecall", ("a86f31271dea",)),
        Part("mitmproxy.hooks:Hook.args", ("5087f7bf9308",)),
    ),
    why="mitmproxy asks every addon for every event whether it has a hook for it.",
    since=_SINCE,
    without="answers from the cache take longer",
    notice="test_hook_table.py, which runs random addons on both. Look for a table in the manager itself.",
    tunes=True,
)
WHOLE_ANSWERS = Patch(
    "whole-answers",
    (f"{_H1}Http1Server.send",),
    (Part(f"{_H1}Http1Server.send", ("80d0c840369f",)),),
    why="mitmproxy sends head and body of an answer one after the other: one more system call and record of TLS.",
    since=_SINCE,
    without="answers from the cache take longer",
    notice="test_tuning.py.",
    tunes=True,
)
CHUNKS_TOGETHER = Patch(
    "chunks-together",
    (_READ_BODY,),
    (Part(_READ_BODY, ("5b41c8e0ef86",)),),
    why="mitmproxy passes the chunks of a stream on one by one, although they arrived together.",
    since=_SINCE,
    without="streams take more time of the processor",
    notice="test_tuning.py.",
    tunes=True,
)
TRUSTED_MESSAGES = Patch(
    "trusted-messages",
    ("mitmproxy.http:MessageData.__post_init__",),
    (Part("mitmproxy.http:MessageData.__post_init__", ("f1a83cbce3e2",)),) if __debug__ else (),  # not there under -O
    why="mitmproxy looks at the types of all parts of a message, for the authors of scripts.",
    since=_SINCE,
    without="answers from the cache take longer",
    notice="test_tuning.py.",
    tunes=True,
)
REDIRECTED = Patch(
    "demo-provider",
    (OPEN_CONNECTION,),
    (_OPEN,),
    why="`ai-cache demo` and `doctor` lead the connections of mitmproxy to a provider of their own on this machine.",
    since=_SINCE,
    without="`ai-cache demo` and the clients of `ai-cache doctor` cannot be tried",
    notice="test_open_connection.py.",
    doubt=Doubt.STOPS,
)

PATCHES = (
    ARRIVAL,
    JUDGED_CONNECTIONS,
    UPLOADS,
    INFORMATIONAL,
    ODD_ANSWERS,
    UNREACHABLE,
    OUTLIVE_CLIENT,
    MEMORY_ORIGIN,
    CONNECTION_LIMIT,
    HOOK_TABLE,
    WHOLE_ANSWERS,
    CHUNKS_TOGETHER,
    TRUSTED_MESSAGES,
    REDIRECTED,
)


def complaints(tuned: bool = True) -> list[str]:
    """One line for each patch that a proxy misses, for its log. Those that only tune count where it is `tuned`."""
    needed = (patch for patch in PATCHES if patch.doubt is not Doubt.STOPS and (tuned or not patch.tunes))
    return [complaint for patch in needed if (complaint := patch.complaint())]


def markdown() -> str:
    """The table as the page docs/patches.md shows it."""
    heads = (
        "patch",
        "replaces",
        "why",
        "since mitmproxy",
        "what is lost without it",
        "in doubt",
        "how a change is noticed",
    )
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for patch in PATCHES:
        replaced = ", ".join(f"`{where.rpartition(':')[2]}`" for where in patch.replaces)
        cells = (f"`{patch.name}`", replaced, patch.why, patch.since, patch.without, patch.doubt.value, patch.notice)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
