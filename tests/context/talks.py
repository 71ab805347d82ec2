"""Talks made by a draw: messages as programs hold them, with rounds of tools and thinking."""

from hypothesis import strategies as st

from ostler.context.messages import Message

lengths = st.integers(0, 600)
SENTENCE = "the plan was to move the barn because rain came in and we decided on slate for its roof after error 42 "


def words(chars: int) -> str:
    return (SENTENCE * (chars // len(SENTENCE) + 1))[:chars]


def call(number: int, chars: int) -> list[Message]:
    """A round of tools: thinking with a call, then its result."""
    name = f"t{number}"
    asked = {"id": name, "type": "function", "function": {"name": "read", "arguments": '{"path": "a.py"}'}}
    return [
        {"role": "assistant", "content": "", "reasoning_content": words(chars // 4), "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": name, "content": words(chars)},
    ]


@st.composite
def talks(draw: st.DrawFn) -> list[Message]:
    """System message or none, exchanges with rounds of tools, and a newest one that may be under way."""
    found: list[Message] = [{"role": "system", "content": words(draw(lengths))}] if draw(st.booleans()) else []
    number = 0
    for _ in range(draw(st.integers(0, 5))):
        found.append({"role": "user", "content": words(draw(lengths))})
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            found += call(number, draw(lengths))
        found.append({"role": "assistant", "content": words(draw(lengths))})
    found.append({"role": "user", "content": "last: " + words(draw(lengths))})
    for _ in range(draw(st.integers(0, 4))):
        number += 1
        found += call(number, draw(lengths))
    return found


def asked(messages: list[Message]) -> list[str]:
    """Ids of calls."""
    return [call["id"] for message in messages for call in message.get("tool_calls", ())]  # type: ignore[attr-defined]


def answered(messages: list[Message]) -> list[str]:
    """Ids of results."""
    return [str(message["tool_call_id"]) for message in messages if message.get("role") == "tool"]
