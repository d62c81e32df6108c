import boto3

MODEL = "us.anthropic.claude-haiku-4-5-v1:0"
ASK = [{"role": "user", "content": [{"text": "Say something."}]}]


def test_a_conversation_is_answered() -> None:
    client = boto3.client("bedrock-runtime", region_name="us-east-1")
    answer = client.converse(modelId=MODEL, messages=ASK)
    assert answer["output"]["message"]["content"][0]["text"] == "something."


def test_a_conversation_is_streamed() -> None:
    client = boto3.client("bedrock-runtime", region_name="us-east-1")
    answer = client.converse_stream(modelId=MODEL, messages=ASK)
    events = [next(iter(event)) for event in answer["stream"]]
    assert events[-1] == "metadata"
