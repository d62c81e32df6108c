"""Which protocol a request belongs to: ours first, then those of other distributions."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import key_of, rules_of
from mitmproxy_ai_cache.protocols import Body, Call, Protocol, Registry, Request
from mitmproxy_ai_cache.protocols.foreign import wrong
from mitmproxy_ai_cache.wire import body
from plugged import installed, on_path

FOLDERS = sorted(path for path in Path(protocols.__file__).parent.iterdir() if (path / "calls.py").exists())

SOURCE = """
from mitmproxy_ai_cache.protocols import Call, Protocol

class Acme(Protocol):
    name = "acme-chat"
    tokens = ("completions", "talk")
    ignored = ("trace",)

    def recognise(self, request, body):
        if body.object.get("fault"):
            raise RuntimeError("a fault of Acme's")
        return Call(self, "acme-1", False, body, request.host, request.path)
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """All protocols, with one of another distribution."""
    installed(tmp_path, "acme-ai-cache", "ai_cache.protocols", {"acme": "acme_chat:Acme"}, acme_chat=SOURCE)
    on_path(monkeypatch, tmp_path)
    return protocols.standard()


def recognised(registry: Registry, path: str, **members: object) -> Call | None:
    request = Request("POST", "https", "api.acme.example", 443, path, body=json.dumps(members).encode())
    return registry.recognise(request, body.read(request, 1 << 20))


def name_of(call: Call | None) -> str:
    return call.protocol.name if call else ""


def test_a_request_that_nobody_else_knows_is_a_call_of_the_plugin(acme: Registry) -> None:
    assert acme.may_be_call("POST", "/v1/talk")
    assert name_of(recognised(acme, "/v1/talk", say="Hello")) == "acme-chat"


def test_a_plugin_takes_no_call_from_a_protocol_of_ours(acme: Registry) -> None:
    assert name_of(recognised(acme, "/v1/chat/completions", messages=[])) == "openai-chat"
    assert name_of(recognised(acme, "/v1/chat/completions", say="Hello")) == "acme-chat"


def test_a_protocol_is_found_by_the_name_that_entries_have(acme: Registry) -> None:
    assert acme.by_name["acme-chat"] in acme.protocols
    assert acme.by_name["exchange"] is protocols.ANYTHING


def test_a_plugin_that_stumbles_has_not_recognised_the_request_and_is_named_once(
    acme: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "ai-cache"):
        assert recognised(acme, "/v1/talk", fault=True) is None
        assert recognised(acme, "/v1/talk", fault=True) is None
    (line,) = caplog.messages
    assert line.startswith("ai-cache: the plug-in acme-ai-cache 1.2 cannot read some requests")
    assert "a fault of Acme's" in caplog.text


def test_a_protocol_of_ours_must_not_stumble() -> None:
    class Broken(Protocol):
        name = "broken"
        tokens = ("talk",)

        def recognise(self, request: Request, body: Body) -> Call | None:
            raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        recognised(Registry([Broken()]), "/v1/talk")


def test_a_plugin_is_left_out_that_has_the_name_of_a_protocol_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = SOURCE.replace("acme-chat", "openai-chat")
    installed(tmp_path, "acme-ai-cache", "ai_cache.protocols", {"acme": "acme_as_ours:Acme"}, acme_as_ours=source)
    on_path(monkeypatch, tmp_path)
    assert protocols.plugins() == ()
    assert "the name openai-chat is one of ai-cache's own" in caplog.text


# What tells that keys may have changed


def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> str:
    folder = tmp_path / version
    installed(folder, "acme-ai-cache", "ai_cache.protocols", {"acme": "acme_rules:Acme"}, version, acme_rules=SOURCE)
    with monkeypatch.context() as patched:
        on_path(patched, folder)
        return rules_of(Settings().identity)


def test_keys_may_change_with_a_plugin_and_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {rules_of(Settings().identity), *(rules(tmp_path, monkeypatch, version) for version in ("1.0", "1.1"))}
    assert len(told) == 3


def entry_of(protocol: str, **members: object) -> Entry:
    return Entry(
        key="",
        created=0.0,
        ttl=0.0,
        status=200,
        headers=(),
        format="json",
        body=b"{}",
        protocol=protocol,
        method="POST",
        url="https://api.acme.example:443/v1/talk",
        request=json.dumps(members).encode(),
    )


def test_recordings_have_the_keys_that_a_plugin_gives_them(acme: Registry) -> None:
    key = key_of(Settings().identity)
    one, other = (entry_of("acme-chat", trace=trace) for trace in ("one", "other"))
    assert key(one) == key(other)


def test_a_recording_of_a_protocol_that_is_not_installed_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    key = key_of(Settings().identity)
    assert key(entry_of("acme-chat", trace="one")) != key(entry_of("acme-chat", trace="other"))
    (line,) = caplog.messages
    assert line.startswith("ai-cache: recordings of acme-chat may not answer")


# What a protocol must be


class Whole(Protocol):
    name = "whole"
    tokens = ("talk",)

    def recognise(self, request: Request, body: Body) -> Call | None:
        return None


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("name", "Acme Chat", "its name is 'Acme Chat'; it may have letters a to z, digits, dots and hyphens"),
        ("name", "acme/chat", "its name is 'acme/chat'; it may have letters a to z, digits, dots and hyphens"),
        ("name", None, "its name is None; it may have letters a to z, digits, dots and hyphens"),
        ("tokens", "talk", "the tokens of whole are 'talk'; they are a tuple of the last words of its paths"),
        ("tokens", (), "the tokens of whole are (); they are a tuple of the last words of its paths"),
        ("ignored", "trace", "ignored of whole is 'trace'; it is a tuple of JSON paths"),
        (
            "key_headers",
            {"Acme-Version"},
            "key_headers of whole is {'Acme-Version'}; it is a set of names in lower case",
        ),
        ("recognise", Protocol.recognise, "whole has no method recognise"),
    ],
)
def test_what_would_go_wrong_later_is_said_when_a_protocol_is_loaded(attribute: str, value: object, says: str) -> None:
    assert wrong(Whole()) == ""
    assert wrong(type("Wrong", (Whole,), {attribute: value})()) == says


def test_no_protocol_of_ours_is_wrong() -> None:
    assert [wrong(protocol) for protocol in protocols.standard().protocols if wrong(protocol)] == []


# The folders


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_folder_has_the_files_that_the_rule_names(folder: Path) -> None:
    names = {path.stem for path in folder.glob("*.py")}
    assert {"__init__", "calls", "answers"} <= names <= {"__init__", "calls", "answers", "usage", "errors"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_protocol_of_a_folder_is_in_the_registry(folder: Path) -> None:
    ours = {type(protocol) for protocol in protocols.standard().protocols}
    module = getattr(protocols, folder.name)
    assert set(module.PROTOCOLS) <= ours
