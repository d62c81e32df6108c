import pytest
from anthropic import Anthropic, BadRequestError

ASK = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "Name a colour."}]}


def test_a_message_has_a_text() -> None:
    assert Anthropic().messages.create(**ASK).content[0].text == "colour."


def test_a_stream_has_a_text() -> None:
    with Anthropic().messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == "hi"


def test_a_mistake_of_ours_is_told() -> None:
    with pytest.raises(BadRequestError, match="max_tokens"):
        Anthropic().messages.create(**{**ASK, "max_tokens": -1})
