"""Plain messages, as programs hold them: dictionaries of OpenAI's, Ollama's or Anthropic's form, read without change.

What is read: `role`, `content` (text, or a list of blocks), `tool_calls`, and thinking under the names that servers
give it. Whatever else a message carries stays in it and counts nothing.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ostler.context.exchanges import Role, Turned
from ostler.context.measure import Count
from ostler.context.trim import IMAGE_TOKENS

Message = Mapping[str, object]

THINKING = ("reasoning_content", "reasoning", "thinking", "redacted_thinking")
_IMAGES = ("image", "image_url", "input_image")
_RESULT_ROLES = ("tool", "function")
_SYSTEM_ROLES = ("system", "developer")


def role_of(message: Message) -> Role:
    """What a message is to its neighbours; an unknown role counts as the user's."""
    role = message.get("role")
    if role in _SYSTEM_ROLES:
        return Role.SYSTEM
    if role in _RESULT_ROLES or any(block.get("type") == "tool_result" for block in blocks(message)):
        return Role.RESULTS
    return Role.ASSISTANT if role in ("assistant", "model") else Role.USER


def blocks(message: Message) -> Iterator[Message]:
    """The blocks of a message whose content is a list of them."""
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        yield from (block for block in content if isinstance(block, Mapping))


def text_of(message: Message) -> str:
    """What is said in it, thinking and calls of tools left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(text for block in blocks(message) for text in _said(block))


def _said(block: Message) -> Iterator[str]:
    if isinstance(text := block.get("text"), str):
        yield text
    elif block.get("type") == "tool_result":
        yield text_of(block)


def tokens_of(message: Message, count: Count) -> int:
    """Length of a message: text, thinking, calls with their arguments, and images at a fixed price."""
    return sum(count(text) for text in _texts(message)) + IMAGE_TOKENS * _images(message)


def turned(message: Message, count: Count) -> Turned:
    """As a turn that may have to go."""
    return Turned(role_of(message), tokens_of(message, count))


def _texts(message: Message) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    yield from (text for name in THINKING if isinstance(text := message.get(name), str))
    for block in blocks(message):
        yield from _block_texts(block)
    calls = message.get("tool_calls")
    if isinstance(calls, Sequence) and not isinstance(calls, str | bytes):
        for call in calls:
            asked = call.get("function", call) if isinstance(call, Mapping) else {}
            if isinstance(asked, Mapping):
                yield str(asked.get("name") or "") + _as_text(asked.get("arguments"))


def _block_texts(block: Message) -> Iterator[str]:
    kind = block.get("type")
    if kind == "tool_use":
        yield str(block.get("name") or "") + _as_text(block.get("input"))
    elif kind == "tool_result":
        yield from _texts(block)
    elif kind not in _IMAGES:
        yield from (text for name in ("text", "data", *THINKING) if isinstance(text := block.get(name), str))


def _as_text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def _images(message: Message) -> int:
    found = [*blocks(message), *(inner for block in blocks(message) for inner in blocks(block))]
    listed = message.get("images")
    more = len(listed) if isinstance(listed, Sequence) and not isinstance(listed, str | bytes) else 0
    return sum(block.get("type") in _IMAGES for block in found) + more
