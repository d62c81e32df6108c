"""Run as a process of its own behind the proxy: each call of each SDK once; prints what it got as JSON.

Does so for each line of its input, which has the variables that name the proxy: the SDKs take seconds to import. Each
call makes its client anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

MESSAGES: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def openai_chat() -> Any:
    answer = _openai().chat.completions.create(model="m", messages=MESSAGES)
    return [answer.choices[0].message.content, answer._request_id]


def openai_chat_stream() -> Any:
    options: Any = {"include_usage": True}
    stream = _openai().chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options)
    return [chunk.choices[0].delta.content if chunk.choices else chunk.usage.total_tokens for chunk in stream]


def openai_tool_call() -> Any:
    answer = _openai().chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS)
    return answer.choices[0].message.tool_calls[0].function.arguments


def openai_embeddings() -> Any:
    return _openai().embeddings.create(model="e", input="hi").data[0].embedding


def openai_responses_stream() -> Any:
    return [event.type for event in _openai().responses.create(model="m", input="hi", stream=True)]


def azure_chat() -> Any:
    from openai import AzureOpenAI

    client = AzureOpenAI(
        azure_endpoint="https://x.openai.azure.com", api_key="k", api_version="2024-10-21", max_retries=0
    )
    return client.chat.completions.create(model="deployment", messages=MESSAGES).choices[0].message.content


def anthropic_message() -> Any:
    return _anthropic().messages.create(model="c", max_tokens=9, messages=MESSAGES).content[0].text


def anthropic_stream() -> Any:
    with _anthropic().messages.stream(model="c", max_tokens=9, messages=MESSAGES) as stream:
        return list(stream.text_stream)


def gemini_generate() -> Any:
    client = _gemini()  # a client that is collected closes its connections
    return client.models.generate_content(model="g", contents="hi").text


def gemini_stream() -> Any:
    client = _gemini()
    return [chunk.text for chunk in client.models.generate_content_stream(model="g", contents="hi")]


def bedrock_converse() -> Any:
    answer = _bedrock().converse(
        modelId="us.vendor.model-v1:0", messages=[{"role": "user", "content": [{"text": "hi"}]}]
    )
    return answer["output"]["message"]["content"][0]["text"]


def bedrock_converse_stream() -> Any:
    answer = _bedrock().converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    return [next(iter(event)) for event in answer["stream"]]


def _openai() -> Any:
    from openai import OpenAI

    return OpenAI(api_key="sk-test", max_retries=0)


def _anthropic() -> Any:
    from anthropic import Anthropic

    return Anthropic(api_key="sk-ant-test", max_retries=0)


def _gemini() -> Any:
    from google import genai

    return genai.Client(api_key="AIzaTest")


def _bedrock() -> Any:
    import boto3
    from botocore.config import Config

    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    return boto3.client("bedrock-runtime", **keys, config=Config(retries={"total_max_attempts": 1}))


CALLS: dict[str, Callable[[], Any]] = {
    call.__name__: call
    for call in (
        openai_chat,
        openai_chat_stream,
        openai_tool_call,
        openai_embeddings,
        openai_responses_stream,
        azure_chat,
        anthropic_message,
        anthropic_stream,
        gemini_generate,
        gemini_stream,
        bedrock_converse,
        bedrock_converse_stream,
    )
}


def _all() -> dict[str, Any]:
    results = {}
    for name, call in CALLS.items():
        try:
            results[name] = call()
        except Exception as error:  # the test reads it
            results[name] = f"{type(error).__name__}: {error}"
    return results


if __name__ == "__main__":
    for line in sys.stdin:
        os.environ.update(json.loads(line))
        print(json.dumps(_all()), flush=True)
