"""Messages of every form that programs hold are read for what they are, and for how long they are."""

import pytest

from ostler.context.exchanges import Role
from ostler.context.messages import Message, role_of, text_of, tokens_of, turned

CALL = {"id": "t1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}


@pytest.mark.parametrize(
    ("message", "role"),
    [
        ({"role": "system", "content": "x"}, Role.SYSTEM),
        ({"role": "developer", "content": "x"}, Role.SYSTEM),
        ({"role": "user", "content": "x"}, Role.USER),
        ({"role": "assistant", "content": "x"}, Role.ASSISTANT),
        ({"role": "model", "content": "x"}, Role.ASSISTANT),
        ({"role": "tool", "tool_call_id": "t1", "content": "x"}, Role.RESULTS),
        ({"role": "function", "name": "read", "content": "x"}, Role.RESULTS),
        ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]}, Role.RESULTS),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, Role.USER),
        ({"role": "narrator", "content": "x"}, Role.USER),
        ({}, Role.USER),
    ],
)
def test_a_message_is_told_for_what_it_is(message: Message, role: Role) -> None:
    """OpenAI's, Ollama's and Anthropic's; who has no known role counts as the user."""
    assert role_of(message) is role
    assert turned(message, len).role is role


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "user", "content": "hi"}, "hi"),
        ({"role": "user", "content": None}, ""),
        ({"role": "user"}, ""),
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, ""),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}, "a\nb"),
        ({"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}]}, "42"),
        ({"role": "user", "content": [{"type": "tool_result", "content": "42"}]}, "42"),
        ({"role": "user", "content": ["no block", 3]}, ""),
    ],
)
def test_what_is_said_is_found(message: Message, text: str) -> None:
    """Thinking, calls and images aside."""
    assert text_of(message) == text


@pytest.mark.parametrize(
    ("message", "chars"),
    [
        ({"role": "user", "content": "four"}, 4),
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, len('read{"path": "a"}')),
        ({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, 8),
        ({"role": "assistant", "content": "ab", "reasoning_content": "cde"}, 5),
        ({"role": "assistant", "content": "ab", "thinking": "cde"}, 5),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "abc", "signature": "s"}]}, 3),
        ({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "abcd"}]}, 4),
        ({"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]}, 8),
        ({"role": "user", "content": [{"type": "tool_result", "content": "four"}]}, 4),
        ({"role": "assistant", "tool_calls": "none of it"}, 0),
        ({"role": "assistant", "tool_calls": ["nor this"]}, 0),
        ({"role": "user", "content": 7}, 0),
    ],
)
def test_every_part_that_is_sent_counts(message: Message, chars: int) -> None:
    """Text, thinking, names and arguments of calls; what is none of these counts nothing and breaks nothing."""
    assert tokens_of(message, len) == chars
