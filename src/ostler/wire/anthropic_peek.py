"""What a decision needs of a request in Anthropic's format, found without building the whole of it.

One pass over the body into structs that hold little more than types of blocks. The size of the prompt is that of the
body without its images: near enough to choose a window by.
"""

import msgspec

from ostler.wire.codec import Peek
from ostler.wire.fields import missing, typed


class _Block(msgspec.Struct, gc=False):
    type: str
    source: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct, gc=False):
    role: str
    content: list[_Block] | str = ""


class _Thinking(msgspec.Struct):
    type: str = ""


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message] = []
    max_tokens: int | None = None
    stream: bool | None = None
    tools: msgspec.Raw = msgspec.Raw()
    thinking: _Thinking | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_BLOCKS = msgspec.json.Decoder(list[_Block])
_NO_TOOLS = (b"", b"null", b"[]")


def peek(body: bytes) -> Peek:
    """See `Codec.peek`."""
    request = typed(_REQUEST, body)
    if not request.model:
        raise missing("model", "")
    images, image_bytes = 0, 0
    for position, message in enumerate(request.messages):
        if isinstance(message.content, list):
            found, size = _images(message.content, position)
            images, image_bytes = images + found, image_bytes + size
    return Peek(
        model=request.model,
        stream=bool(request.stream),
        max_output_tokens=request.max_tokens,
        tools=bytes(request.tools) not in _NO_TOOLS,
        images=images > 0,
        thinking=request.thinking is not None and request.thinking.type != "disabled",
        prefill=bool(request.messages) and request.messages[-1].role == "assistant",
        prompt_chars=len(body) - image_bytes,
    )


def _images(blocks: list[_Block], position: int) -> tuple[int, int]:
    """How many images stand among blocks and in results of tools, and their bytes."""
    found, size = 0, 0
    for block in blocks:
        if block.type == "image":
            found, size = found + 1, size + len(memoryview(block.source))
        elif block.type == "tool_result" and bytes(block.content).startswith(b"["):
            inner = _images(typed(_BLOCKS, block.content, under=f"messages[{position}].content"), position)
            found, size = found + inner[0], size + inner[1]
    return found, size
