"""The Messages API in structs: what its requests, answers and events look like, as far as they are read here.

One struct stands for all kinds of content blocks, told apart by `type`: kinds that a newer API adds are then seen and
named instead of refused. Token counts of this API exclude what was read from and written to the prompt cache.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from ostler.wire.talk import Finish, Json, Tokens

Count = Annotated[int, msgspec.Meta(ge=0)]


class Source(msgspec.Struct):
    """Where an image or document comes from."""

    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: "str | list[Block]" = ""


class Block(msgspec.Struct):
    """A block of content, of any kind."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: str | None = None
    content: "str | list[Block] | Json | None" = None
    is_error: bool | None = None
    citations: msgspec.Raw = msgspec.Raw()
    cache_control: Json | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Choice(msgspec.Struct):
    """`tool_choice`."""

    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(msgspec.Struct):
    """`thinking`."""

    type: str
    budget_tokens: Count | None = None
    display: str | None = None


class OutputFormat(msgspec.Struct):
    """The form of the answer."""

    type: str
    schema: Json | None = None


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    effort: str | None = None
    format: OutputFormat | None = None


class CustomTool(msgspec.Struct):
    """A tool that the caller runs."""

    name: str
    input_schema: Json
    description: str = ""
    type: str | None = None
    strict: bool | None = None
    cache_control: Json | None = None


class Request(msgspec.Struct):
    """A request, as far as it has a place in `Ask`."""

    model: str
    messages: list[Message]
    max_tokens: Count | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count | None = None
    stop_sequences: list[str] | None = None
    tools: list[Json] | None = None
    tool_choice: Choice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    metadata: Json | None = None


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class Usage(msgspec.Struct):
    """Token counts as this API gives them."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None

    def update(self, newer: "Usage") -> None:
        """Take over what a later event says: it repeats and corrects earlier ones."""
        for name in self.__struct_fields__:
            if (value := getattr(newer, name)) is not None:
                setattr(self, name, value)

    def tokens(self) -> Tokens:
        """The same as totals."""
        whole = self.input_tokens
        if whole is not None:
            whole += (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        details = self.output_tokens_details
        return Tokens(
            input_tokens=whole,
            cache_read_tokens=self.cache_read_input_tokens,
            cache_write_tokens=self.cache_creation_input_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=None if details is None else details.thinking_tokens,
        )


class StopDetails(msgspec.Struct):
    """Why the model refused."""

    explanation: str | None = None
    category: str | None = None


class Reply(msgspec.Struct):
    """A whole answer; also the opening of a streamed one. Some proxies name no type in errors of their own."""

    id: str = ""
    model: str = ""
    type: str = ""
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class EventDelta(msgspec.Struct):
    """What an event adds."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class Event(msgspec.Struct):
    """One event of a stream. Some proxies name no type in errors of their own."""

    type: str = ""
    error: msgspec.Raw = msgspec.Raw()
    index: int = 0
    message: Reply | None = None
    content_block: Block | None = None
    delta: EventDelta | None = None
    usage: Usage | None = None


_FINISH: Mapping[str, Finish] = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.CONTEXT,
    "tool_use": Finish.TOOLS,
    "refusal": Finish.REFUSAL,
    "pause_turn": Finish.PAUSE,
}
_STOP_REASON: Mapping[Finish, str] = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.CONTEXT: "model_context_window_exceeded",
    Finish.TOOLS: "tool_use",
    Finish.REFUSAL: "refusal",
    Finish.PAUSE: "pause_turn",
}


def finish_of(stop_reason: str | None) -> Finish:
    """Our word for a stop reason; one that nobody knows yet is an end."""
    return _FINISH.get(stop_reason or "", Finish.STOP)


def stop_reason(finish: Finish, stop_sequence: str | None, *, tools: bool, refused: bool) -> str:
    """Their word. Clients go by it, so calls of tools and refusals are named even by an answer that says `stop`."""
    if refused:
        return "refusal"
    if finish is Finish.STOP and stop_sequence is not None:
        return "stop_sequence"
    return "tool_use" if finish is Finish.STOP and tools else _STOP_REASON[finish]


def usage_json(tokens: Tokens) -> Json:
    """Totals as this API counts them. What is not known is 0 where the API demands a number."""
    read, written = tokens.cache_read_tokens, tokens.cache_write_tokens
    usage: Json = {
        "input_tokens": max(0, (tokens.input_tokens or 0) - (read or 0) - (written or 0)),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": tokens.output_tokens or 0,
    }
    if tokens.reasoning_tokens is not None:
        usage["output_tokens_details"] = {"thinking_tokens": tokens.reasoning_tokens}
    return usage
