from openai import OpenAI

CAPITALS = [{"role": "user", "content": "Where is Rome?"}]


def test_a_question_has_an_answer() -> None:
    answer = OpenAI().chat.completions.create(model="gpt-5-mini", messages=CAPITALS)
    assert answer.choices[0].message.content == "Rome?"


def test_the_same_question_twice_has_two_answers() -> None:
    client = OpenAI()
    ask = [{"role": "user", "content": "Throw a die."}]
    answers = [client.chat.completions.create(model="gpt-5-mini", messages=ask) for _ in range(2)]
    assert answers[0].id != answers[1].id


def test_a_stream_comes_in_pieces() -> None:
    stream = OpenAI().chat.completions.create(
        model="gpt-5-mini",
        messages=CAPITALS,
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert pieces == ["h", "i", None]


def test_a_limit_that_is_met_is_waited_for() -> None:
    answer = OpenAI(max_retries=3).responses.create(model="gpt-5-mini", input="How busy are you?")
    assert answer.output_text == "you?"


def test_responses_come_as_events() -> None:
    events = OpenAI().responses.create(model="gpt-5-mini", input="Tell me a story.", stream=True)
    assert [event.type for event in events][-1] == "response.completed"


def test_embeddings_are_numbers() -> None:
    vector = OpenAI().embeddings.create(model="text-embedding-3-small", input="Rome").data[0].embedding
    assert vector == [0.25, -0.5]
