from google import genai


def test_content_is_generated() -> None:
    client = genai.Client()
    assert client.models.generate_content(model="gemini-2.5-flash", contents="Count to two.").text == "two."


def test_content_is_streamed() -> None:
    client = genai.Client()
    chunks = client.models.generate_content_stream(model="gemini-2.5-flash", contents="Count to two.")
    assert [chunk.text for chunk in chunks] == ["h", "i"]
