"""What a decision needs of a request in Ollama's formats, found without building the whole of it. One pass."""

import msgspec

from ostler.wire.codec import Peek
from ostler.wire.fields import missing, typed


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    images: msgspec.Raw = msgspec.Raw()


class _Options(msgspec.Struct):
    num_predict: int | float | None = None
    num_ctx: int | float | None = None


class _Request(msgspec.Struct):
    model: str
    stream: bool | None = None
    messages: list[_Message] | None = None
    images: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    think: bool | str | None = None
    options: _Options | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_NOTHING = (b"", b"null", b"[]")


def peek(body: bytes) -> Peek:
    """See `Codec.peek`. Messages without text, which load a model, are seen when the request is read."""
    request = typed(_REQUEST, body)
    if not request.model:
        raise missing("model", "")
    messages = request.messages or []
    images = [bytes(request.images), *(bytes(message.images) for message in messages)]
    options = request.options or _Options()
    return Peek(
        model=request.model,
        stream=request.stream is not False,
        max_output_tokens=_count(options.num_predict),
        tools=bytes(request.tools) not in _NOTHING,
        images=any(image not in _NOTHING for image in images),
        thinking=request.think not in (None, False, ""),
        prefill=bool(messages) and messages[-1].role == "assistant",
        context_tokens=_count(options.num_ctx) or None,
        prompt_chars=len(body) - sum(map(len, images)),
    )


def _count(value: float | None) -> int | None:
    """Below 0 means no limit."""
    return None if value is None or value < 0 else int(value)
