"""What a simulated model answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.simulate.reply import (
    CHARS_PER_TOKEN,
    Finish,
    Message,
    PieceKind,
    ReplyRequest,
    compose,
    embedding,
    estimate_tokens,
    fit_messages,
)


def request(text: str = "hello", **settings: object) -> ReplyRequest:
    fields: dict[str, object] = {"model": "m:1b", "natural_tokens": 40, **settings}
    return ReplyRequest(messages=(Message("user", text),), **fields)  # type: ignore[arg-type]


@given(st.text(), st.integers(0, 300), st.one_of(st.none(), st.integers(0, 300)), st.integers(0, 50))
def test_tokens_reported_are_tokens_sent(text: str, natural: int, limit: int | None, thinking: int) -> None:
    """The pieces are the text, four characters a token, never more of them than the limit."""
    reply = compose(request(text, natural_tokens=natural, max_tokens=limit, thinking_tokens=thinking))

    assert reply.tokens == estimate_tokens(reply.thinking) + estimate_tokens(reply.content)
    assert limit is None or reply.tokens <= limit
    assert all(len(piece.text) <= CHARS_PER_TOKEN for piece in reply.pieces)


@given(st.text(), st.integers(0, 5))
def test_equal_requests_have_equal_answers(text: str, seed: int) -> None:
    """And another seed, model or prompt another one."""
    reply = compose(request(text, seed=seed))

    assert compose(request(text, seed=seed)) == reply
    assert compose(request(text, seed=seed + 1)) != reply
    assert compose(request(text + "?", seed=seed)) != reply
    assert compose(request(text, seed=seed, model="n:1b")) != reply


def test_an_answer_says_that_it_is_simulated() -> None:
    """With the model's name, at the very start."""
    assert compose(request()).content.startswith("[simulated m:1b] ")


@pytest.mark.parametrize(
    ("settings", "tokens", "finish"),
    [
        ({}, 40, Finish.STOP),
        ({"max_tokens": 500}, 40, Finish.STOP),
        ({"max_tokens": 40}, 40, Finish.STOP),
        ({"max_tokens": 39}, 39, Finish.LENGTH),
        ({"max_tokens": 0}, 0, Finish.LENGTH),
        ({"text": "say it in [tokens:7] please"}, 7, Finish.STOP),
        ({"text": "[tokens:700]", "max_tokens": 5}, 5, Finish.LENGTH),
    ],
)
def test_a_limit_cuts_and_a_marker_sets_the_length(settings: dict[str, object], tokens: int, finish: Finish) -> None:
    """A limit above the natural length does not make an answer longer, as with a real model."""
    reply = compose(request(**settings))  # type: ignore[arg-type]

    assert (reply.tokens, reply.finish) == (tokens, finish)


def test_thinking_spends_the_limit_and_may_leave_nothing() -> None:
    """The trap of thinking models: the limit is used up and the visible answer is empty."""
    reply = compose(request(thinking_tokens=30, max_tokens=30))

    assert reply.content == ""
    assert reply.thinking.startswith("[simulated thinking of m:1b]")
    assert reply.finish is Finish.LENGTH


def test_a_marker_calls_a_tool_with_its_arguments() -> None:
    """Nested JSON with brackets in it is taken as it stands."""
    text = 'now [tool:write_file {"path": "a.py", "lines": ["x[0]", {"y": 1}]}] go'

    reply = compose(request(text, tools_offered=True))

    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("write_file", {"path": "a.py", "lines": ["x[0]", {"y": 1}]})
    assert (reply.finish, reply.content) == (Finish.TOOL_CALLS, "")
    assert [piece.kind for piece in reply.pieces] == [PieceKind.TOOL_CALL]


def test_several_markers_call_in_parallel() -> None:
    """In order, each with an id of its own; without arguments they are empty."""
    calls = compose(request("[tool:a][tool:b {}]", tools_offered=True)).tool_calls

    assert [(call.index, call.name, call.arguments) for call in calls] == [(0, "a", {}), (1, "b", {})]
    assert calls[0].serial != calls[1].serial


@pytest.mark.parametrize("text", ["[tool:a {broken}]", "[tool:a [1]]", '[tool:a {"x": 1}', "tool:a"])
def test_what_is_no_marker_is_text(text: str) -> None:
    """A marker that cannot be read is answered like any other words."""
    assert compose(request(text, tools_offered=True)).finish is Finish.STOP


def test_a_tool_is_called_only_when_offered_and_only_once() -> None:
    """After the tool's result the last message is another one, and text follows."""
    marked = Message("user", "[tool:a {}]")
    done = (marked, Message("assistant", "a{}"), Message("tool", "42"))

    assert compose(request(marked.text)).finish is Finish.STOP
    assert compose(ReplyRequest(model="m", messages=done, natural_tokens=9, tools_offered=True)).finish is Finish.STOP


def test_a_stop_sequence_ends_the_answer_before_itself() -> None:
    """Of several, the one that comes first."""
    reply = compose(request(stop=("m:1b", "simul")))

    assert (reply.content, reply.finish, reply.stop_sequence) == ("[", Finish.STOP, "simul")


def test_json_can_be_demanded() -> None:
    """The answer is an object that still says it is simulated."""
    reply = compose(request(wants_json=True))

    assert reply.content.startswith('{"simulated": "[simulated m:1b]')
    assert reply.content.endswith('"}')


def test_a_prompt_that_does_not_fit_loses_its_oldest_turns() -> None:
    """Not the system prompt, not the last message; nothing tells the client."""
    system, last = Message("system", "s" * 40), Message("user", "u" * 40)
    turns = tuple(Message("user", str(number) * 40) for number in range(5))

    kept, tokens = fit_messages((system, *turns, last), 45)

    assert kept == (system, *turns[3:], last)
    assert tokens == 40


def test_a_last_message_that_does_not_fit_is_cut() -> None:
    """The count stops at the context."""
    messages = (Message("system", "s" * 400), Message("user", "u" * 4000))

    assert fit_messages(messages, 256) == (messages, 256)


def test_an_embedding_is_a_unit_vector_of_its_text() -> None:
    """The same text gives the same vector, another text another."""
    vector = embedding("m", "text", 16)

    assert len(vector) == 16
    assert abs(sum(value * value for value in vector) - 1.0) < 1e-5
    assert vector == embedding("m", "text", 16)
    assert vector != embedding("m", "texts", 16)
