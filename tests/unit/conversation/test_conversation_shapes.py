"""Requests, answers and streams as conversations: the shapes that the corpus does not have, and the limits."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from conversing import MP3, PNG, got, of, said
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.conversation import (
    Audio,
    File,
    Image,
    Message,
    Other,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Vectors,
)

# Requests

REQUESTS: dict[str, tuple[Any, list[Message]]] = {
    "a developer, a picture, a call and its result (Chat)": (
        {
            "messages": [
                {"role": "developer", "content": "Be kind."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                        {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
                        {"type": "input_audio", "input_audio": {"data": MP3, "format": "mp3"}},
                        {"type": "file", "file": {"filename": "a.pdf", "file_id": "file-1"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
            ]
        },
        [
            Message("developer", (Text("Be kind."),)),
            Message(
                "user",
                (
                    Text("What is it?"),
                    Image("image/png", 30, PNG),
                    Image("", url="https://x.org/a.png"),
                    Audio("audio/mpeg", 30, MP3),
                    File("", url="file-1", name="a.pdf"),
                ),
            ),
            Message("assistant", (ToolCall("c1", "f", '{"a":1}'),)),
            Message("tool", (ToolResult("c1", (Text("42"),)),)),
        ],
    ),
    "blocks, thinking, a failed tool and a document (Anthropic)": (
        {
            "system": [{"type": "text", "text": "Be kind."}],
            "messages": [
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [
                        {"type": "text", "text": "no"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ]},
                    {"type": "document", "title": "T", "source": {"type": "text", "data": "words"}},
                ]},
            ],
        },
        [
            Message("system", (Text("Be kind."),)),
            Message("assistant", (Thinking("Hm."), Thinking(""), ToolCall("t1", "f", '{"a":1}'))),
            Message(
                "user",
                (
                    ToolResult("t1", (Text("no"), Image("image/png", 30, PNG)), error=True),
                    File("text/plain", name="T"),
                    Text("words"),
                ),
            ),
        ],
    ),
    "instructions and items (Responses)": (
        {
            "instructions": "Be kind.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hi"},
                                             {"type": "input_image", "image_url": "https://x.org/a.png"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "x"},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "42"},
            ],
        },
        [
            Message("system", (Text("Be kind."),)),
            Message("user", (Text("Hi"), Image("", url="https://x.org/a.png"))),
            Message("assistant", (Thinking("Hm."),)),
            Message("assistant", (ToolCall("c1", "f", "{}"),)),
            Message("tool", (ToolResult("c1", (Text("42"),)),)),
        ],
    ),
    "parts (Gemini)": (
        {
            "systemInstruction": {"parts": {"text": "Be kind."}},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PNG}},
                                           {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v"}}]},
                {"role": "model", "parts": [{"text": "Hm.", "thought": True},
                                            {"functionCall": {"name": "f", "args": {"a": 1}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 42}}}]},
            ],
        },
        [
            Message("system", (Text("Be kind."),)),
            Message("user", (Text("Hi"), Image("image/png", 30, PNG), File("video/mp4", url="gs://b/v"))),
            Message("assistant", (Thinking("Hm."), ToolCall("", "f", '{"a":1}'))),
            Message("user", (ToolResult("f", (Text('{"result":42}'),)),)),
        ],
    ),
    "content blocks (Converse)": (
        {
            "system": [{"text": "Be kind."}],
            "messages": [
                {"role": "user", "content": [{"text": "Hi"}, {"image": {"format": "png", "source": {"bytes": PNG}}},
                                             {"cachePoint": {"type": "default"}}]},
                {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}},
                    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
                ]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "t1", "content": [{"json": {"b": 2}}], "status": "error"}}
                ]},
            ],
        },
        [
            Message("system", (Text("Be kind."),)),
            Message("user", (Text("Hi"), Image("image/png", 30, PNG))),
            Message("assistant", (Thinking("Hm."), ToolCall("t1", "f", '{"a":1}'))),
            Message("user", (ToolResult("t1", (Text('{"b":2}'),), error=True),)),
        ],
    ),
    "history, documents and results (Cohere v1)": (
        {
            "preamble": "Be kind.",
            "chat_history": [{"role": "CHATBOT", "message": "Hello"}],
            "message": "Hi",
            "documents": [{"title": "T", "snippet": "words"}],
            "tool_results": [{"call": {"name": "f", "parameters": {"a": 1}}, "outputs": [{"b": 2}]}],
        },
        [
            Message("system", (Text("Be kind."),)),
            Message("assistant", (Text("Hello"),)),
            Message("user", (Text("Hi"),)),
            Message("document", (Text("words"),)),
            Message("assistant", (ToolCall("", "f", '{"a":1}'),)),
            Message("tool", (ToolResult("f", (Text('[{"b":2}]'),)),)),
        ],
    ),
    "a prompt with pictures (Ollama)": (
        {"system": "Be kind.", "prompt": "What is it?", "images": [PNG]},
        [
            Message("system", (Text("Be kind."),)),
            Message("user", (Text("What is it?"),)),
            Message("user", (Image("image/png", 30, PNG),)),
        ],
    ),
    "texts to embed": ({"input": ["a", "b"]}, [Message("user", (Text("a"), Text("b")))]),
    "tokens to embed": ({"input": [[1, 2], [3]]},
                        [Message("user", (Other("tokens", "2 tokens: [1,2]"), Other("tokens", "1 tokens: [3]")))]),
    "a question and documents (rerank)": (
        {"query": "Who?", "documents": ["a", {"text": "b"}]},
        [Message("user", (Text("Who?"),)), Message("document", (Text("a"), Text("b")))],
    ),
    "a prompt that the provider keeps": (
        {"prompt": {"id": "pmpt_1"}, "input": "Hi"},
        [Message("system", (Other("prompt", '{"id":"pmpt_1"}'),)), Message("user", (Text("Hi"),))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_what_was_asked(name: str) -> None:
    request, messages = REQUESTS[name]
    assert list(of(request).messages) == messages


@pytest.mark.parametrize(
    "tools",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": 1}}}]},
        {"tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"a": 1}}]},
        {"functions": [{"name": "f", "description": "d", "parameters": {"a": 1}}]},
        {"tools": [{"name": "f", "description": "d", "input_schema": {"a": 1}}]},
        {"tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"a": 1}}]}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"a": 1}}}}]}},
    ],
)
def test_tools_are_the_same_in_all_dialects(tools: dict[str, Any]) -> None:
    assert of({"messages": [], **tools}).tools == (conversation.Tool("f", "d", '{"a":1}'),)


def test_what_is_left_of_a_request_are_its_settings_the_model_first() -> None:
    request = {"temperature": 0.5, "messages": [], "model": "gpt", "stop": ["a"], "tools": []}
    assert of(request).settings == (("model", "gpt"), ("temperature", "0.5"), ("stop", '["a"]'))
    gemini = of({"contents": [], "generationConfig": {"topK": 3}}, model="gemini-x")
    assert gemini.settings == (("model", "gemini-x"), ("topK", "3"))


def test_a_form_has_its_files_and_its_fields() -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
        b"ID3abc\r\n--b--\r\n"
    )
    told = of(form, {"text": "Hello"}, request_headers=(("content-type", "multipart/form-data; boundary=b"),))
    assert told.settings == (("model", "whisper-1"),)
    assert said(told) == (Audio("audio/mpeg", 6, base64.b64encode(b"ID3abc").decode(), name="a.mp3"),)
    assert (told.question, told.text) == ("audio (a.mp3, audio/mpeg, 6 bytes)", "Hello")


# Answers

ANSWERS: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "thoughts, a refusal and a call (Chat)": (
        {"choices": [{"finish_reason": "stop", "message": {
            "role": "assistant", "reasoning_content": "Hm.", "content": "Hi", "refusal": "No",
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        }}]},
        (Thinking("Hm."), Text("Hi"), Refusal("No"), ToolCall("c", "f", "{}")),
        "stop",
    ),
    "sound (Chat)": (
        {"choices": [{"message": {"content": None, "audio": {"id": "a1", "data": MP3, "transcript": "Hi"}}}]},
        (Audio("audio/mpeg", 30, MP3, url="a1", transcript="Hi"),),
        "",
    ),
    "parts of thinking (Mistral)": (
        {"choices": [{"message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Hi"}]}}]},
        (Thinking("Hm."), Text("Hi")),
        "",
    ),
    "items of hosted tools (Responses)": (
        {"status": "completed", "output": [
            {"type": "web_search_call", "id": "w", "status": "completed", "action": {"query": "q"}},
            {"type": "image_generation_call", "id": "i", "result": PNG},
            {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "output": "42"},
            {"type": "message", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
        ]},
        (
            ToolCall("w", "web_search", '{"query":"q"}'), Image("image/png", 30, PNG), ToolCall("m", "f", "{}"),
            ToolResult("m", (Text("42"),)), Text("Hi"),
        ),
        "completed",
    ),
    "a blocked prompt (Gemini)": (
        {"promptFeedback": {"blockReason": "SAFETY"}},
        (Other("blocked", '{"blockReason":"SAFETY"}'),),
        "SAFETY",
    ),
    "vectors (Cohere v2)": ({"embeddings": {"float": [[1.0, 2.0], [3.0, 4.0]]}}, (Vectors(2, 2),), ""),
    "packed vectors (OpenAI)": ({"data": [{"embedding": base64.b64encode(b"\0" * 12).decode()}]}, (Vectors(1, 3),), ""),
    "one vector (Gemini)": ({"embedding": {"values": [1, 2, 3]}}, (Vectors(1, 3),), ""),
    "vectors (Vertex)": ({"predictions": [{"embeddings": {"values": [1, 2]}}]}, (Vectors(1, 2),), ""),
    "a vector (Titan)": ({"embedding": [1, 2, 3], "inputTextTokenCount": 2}, (Vectors(1, 3),), ""),
    "pictures (Images)": (
        {"data": [{"b64_json": PNG}, {"url": "https://x.org/a"}], "output_format": "webp"},
        (Image("image/webp", 30, PNG), Image("image/webp", url="https://x.org/a")),
        "",
    ),
    "pictures (Vertex)": (
        {"predictions": [{"bytesBase64Encoded": PNG, "mimeType": "image/png"}]}, (Image("image/png", 30, PNG),), "",
    ),
    "a ranking": (
        {"results": [{"index": 1, "relevance_score": 0.5, "document": {"text": "b"}}]},
        (Text("0.5  documents[1]  b"),),
        "",
    ),
    "a moderation": (
        {"results": [{"flagged": True, "categories": {"a": True, "b": False}}, {"flagged": False, "categories": {}}]},
        (Text("flagged: a"), Text("not flagged")),
        "",
    ),
    "a count": ({"totalTokens": 7}, (Text("7 tokens"),), ""),
    "a message of a thread": (
        {"role": "assistant", "content": [{"type": "text", "text": {"value": "Hi", "annotations": []}}]},
        (Text("Hi"),),
        "",
    ),
    "something else": ({"id": "x"}, (Other("answer", '{"id":"x"}'),), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_was_answered(name: str) -> None:
    answer, parts, finish = ANSWERS[name]
    told = of({}, answer)
    assert (got(told), told.finish) == (parts, finish)


def test_several_choices_are_several_answers() -> None:
    told = of({}, {"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b", "finish_reason": "length"}]})
    assert [message.parts for message in told.answer] == [(Text("a"),), (Text("b"),)]
    assert told.finish == "stop, length"


def test_sound_that_is_the_whole_answer_has_its_type_and_size() -> None:
    told = of({"input": "Hi", "voice": "x"}, b"\xff\xf3\x00\x00", form="raw", media="audio/mpeg")
    assert got(told) == (Audio("audio/mpeg", 4, "//MAAA=="),)
    assert (told.question, told.text) == ("Hi", "audio (audio/mpeg, 4 bytes)")


def test_a_transcript_that_is_no_json_is_text() -> None:
    told = of({}, b"1\n00:00:00 --> 00:00:01\nHello\n", form="raw", media="text/srt")
    assert told.text == "1 00:00:00 --> 00:00:01 Hello"


# One line


@pytest.mark.parametrize(
    ("request_", "question"),
    [
        ([("user", "first"), ("user", " a\n\tb\x1b[31m ")], "a b [31m"),
        ([("user", "Why?"), ("user", [{"type": "tool_result", "tool_use_id": "t", "content": "x"}])], "Why?"),
        ([("user", [{"type": "image_url", "image_url": {"url": "https://x.org/a"}}])], "image (https://x.org/a)"),
        ({"input": ["one", "two", "three", "four"]}, "one (and 3 more)"),
        ({"prompt": "x" * 500}, "x" * 117 + "..."),
        (b"", "POST https://api.example.com/v1/x"),
    ],
)  # fmt: skip
def test_a_question_is_what_the_user_said_last(request_: Any, question: str) -> None:
    if isinstance(request_, list):
        request_ = {"messages": [{"role": role, "content": content} for role, content in request_]}
    assert of(request_).question == question


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"choices": [{"message": {"content": "\n\nHi\nthere"}}]}, "Hi there"),
        ({"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hi"}]}, "Hi"),
        ({"content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]}, 'f({"a":1})'),
        ({"data": [{"embedding": [0.5] * 1536}] * 3}, "3 vectors of 1,536"),
        ({"data": [{"embedding": [0.5] * 8}]}, "1 vector of 8"),
        ({"data": [{"b64_json": PNG}]}, "image (image/png, 30 bytes)"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, ""),
    ],
)
def test_an_answer_in_one_line(answer: Any, text: str) -> None:
    assert of({}, answer).text == text


# What is not understood, and what is too much


def test_a_body_that_is_no_json_is_shown_as_it_begins() -> None:
    told = of(b'{"messages": [', b'{"choices": [')
    assert said(told) == (Other("unread", "14 bytes that are no JSON"), Text('{"messages": ['))
    assert got(told) == (Other("unread", "13 bytes that are no JSON"), Text('{"choices": ['))


def test_json_that_only_some_parsers_take_is_read() -> None:
    told = of(b'{"temperature":NaN,"seed":1e999,"messages":[{"role":"user","content":"\\ud800 Hi\x01"}]}')
    assert told.question.endswith("Hi")
    told.question.encode()
    assert dict(told.settings)["temperature"] == "NaN"


def test_a_media_type_is_a_media_type_and_data_are_base64() -> None:
    url = 'data:image/svg+xml" onload="x;base64,<script>'
    (picture,) = said(of({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]}))
    assert picture.media_type == ""
    assert base64.b64decode(picture.data, validate=True) == b"<script>"
