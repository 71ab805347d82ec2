"""A chat completions request to an endpoint, written from the shared form. Pure.

Order within a user turn is the format's: results of tools first, each a message of its own, for nothing may stand
between a call and its result. A tool message holds text alone, so images and files of a result go into the user
message that follows. Plain text documents are written as text, which every server reads.

What cannot be said is named in `Encoded.dropped`. What the model was to read is never dropped: a document known by its
address alone raises `InvalidInputError`.
"""

from collections.abc import Iterable

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.extra import own_extra
from ostler.wire.media import data_url, document_url
from ostler.wire.openai_request import NO_PARAMETERS, RequestWriter
from ostler.wire.talk import (
    Ask,
    Document,
    Encoded,
    Image,
    Json,
    Part,
    Refusal,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where servers of one format differ. The default is what most take: llama.cpp, vLLM, OpenRouter, DeepSeek."""

    limit_field: str = "max_tokens"
    """`max_completion_tokens` for OpenAI's newer models."""
    samplers: bool = True
    """It takes `top_k` and `min_p`, which OpenAI itself refuses."""
    thinking: bool = True
    """It takes back what was thought (`reasoning_content`) in turns of the assistant."""
    flat_text: bool = False
    """It takes only strings where several texts could be a list."""


STRICT = Dialect(limit_field="max_completion_tokens", samplers=False, thinking=False)
"""OpenAI's own API."""


def encode_ask(ask: Ask, dialect: Dialect) -> Encoded:
    """The request in this format. Raises `InvalidInputError` for what it cannot say and may not drop."""
    body, dropped = own_extra(ask, Format.OPENAI_CHAT)
    said = _Writer(dialect, dropped)
    tools = [*map(said.tool, ask.tools), *_foreign(body.pop("tools", ()))]
    options: dict[str, object] = {"include_usage": True} if ask.stream and ask.stream_counts else {}
    options |= _object(body.pop("stream_options", None))
    fields: dict[str, object] = {
        "model": ask.model,
        "messages": [message for turn in ask.turns for message in said.turn(turn)],
        "stream": True if ask.stream else None,
        "stream_options": options or None,
        "tools": tools or None,
        "tool_choice": _tool_choice(ask.tool_choice),
        "parallel_tool_calls": ask.parallel_tools,
        dialect.limit_field: ask.max_output_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "seed": ask.seed,
        "stop": ask.stop or None,
        "presence_penalty": ask.presence_penalty,
        "frequency_penalty": ask.frequency_penalty,
        "response_format": None if ask.shape is None else _shape(ask.shape),
        "reasoning_effort": said.effort(ask.effort),
        "user": ask.user or None,
    } | said.samplers(ask)
    said.drop("effort.summary", ask.effort and ask.effort.summary)
    said.drop_engine_fields(ask)
    written = {name: value for name, value in fields.items() if value is not None}
    return Encoded(body=msgspec.json.encode(written | body), dropped=tuple(said.dropped))


class _Writer(RequestWriter):
    """Writes turns and tools of chat completions."""

    def __init__(self, dialect: Dialect, dropped: Iterable[str]) -> None:
        super().__init__(dropped)
        self._dialect = dialect

    def samplers(self, ask: Ask) -> dict[str, object]:
        said: dict[str, object] = {"top_k": ask.top_k, "min_p": ask.min_p}
        if self._dialect.samplers:
            return said
        for name, value in said.items():
            self.drop(name, value is not None)
        return {}

    def tool(self, tool: Tool) -> Json:
        self.drop("cache_control", tool.cache)
        function: Json = {"name": tool.name, "parameters": tool.schema or NO_PARAMETERS}
        if tool.description:
            function["description"] = tool.description
        if tool.strict is not None:
            function["strict"] = tool.strict
        return {"type": "function", "function": function}

    def turn(self, turn: Turn) -> list[Json]:
        """The messages of a turn."""
        if turn.role == "assistant":
            return [self._assistant(turn)]
        messages: list[Json] = []
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                messages.append(self._result(part))
                parts += [inner for inner in part.parts if not isinstance(inner, Text)]
            else:
                parts.append(part)
        if parts or not messages:
            messages.append(_named({"role": turn.role, "content": self._content(parts)}, turn.name))
        return messages

    def _result(self, result: ToolResult) -> Json:
        self.drop("cache_control", result.cache)
        self.drop("is_error", result.is_error)
        texts = [part for part in result.parts if isinstance(part, Text)]
        message: Json = {"role": "tool", "tool_call_id": result.tool_use_id, "content": self._content(texts)}
        return _named(message, result.name)

    def _assistant(self, turn: Turn) -> Json:
        calls: list[Json] = []
        refusals: list[str] = []
        thoughts: list[str] = []
        shown: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolUse):
                self.drop("cache_control", part.cache)
                calls.append(call(part))
            elif isinstance(part, Refusal):
                refusals.append(part.text)
            elif isinstance(part, Thinking):
                self.drop("thinking", part.text and not self._dialect.thinking)
                self.drop("thinking.signature", part.signature)
                self.drop("thinking.redacted", part.redacted)
                thoughts.append(part.text)
            else:
                shown.append(part)
        message: Json = {"role": "assistant", "content": self._content(shown) or (None if calls or refusals else "")}
        if self._dialect.thinking and any(thoughts):
            message["reasoning_content"] = "".join(thoughts)
        if refusals:
            message["refusal"] = "".join(refusals)
        if calls:
            message["tool_calls"] = calls
        return _named(message, turn.name)

    def _content(self, parts: Iterable[Part]) -> str | list[Json]:
        """One text is a string; everything else a list of parts."""
        items = [item for part in parts if (item := self._part(part)) is not None]
        texts = [str(item["text"]) for item in items if item["type"] == "text"]
        if len(texts) == len(items) and (len(texts) < 2 or self._dialect.flat_text):  # noqa: PLR2004 -- one or none
            return "\n\n".join(texts)
        return items

    def _part(self, part: Part) -> Json | None:
        if isinstance(part, Text):
            self.drop("cache_control", part.cache)
            return {"type": "text", "text": part.text}
        if isinstance(part, Image):
            self.drop("cache_control", part.cache)
            url = part.url or data_url(part.media_type or "image/jpeg", part.data)
            return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}
        if isinstance(part, Document):
            self.drop("cache_control", part.cache)
            return _document(part)
        self.drop(type(part).__name__.lower(), True)  # noqa: FBT003 -- a part that has no place in this turn
        return None


def call(part: ToolUse) -> Json:
    """A call of a tool."""
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}


def _document(part: Document) -> Json:
    if part.url:
        what = f"this model's endpoint cannot fetch documents ({part.url[:80]})"
        raise InvalidInputError(what, where="messages", remedy="send the content of the document instead")
    if part.media_type == "text/plain":
        return {"type": "text", "text": f"{part.name}\n\n{part.data}" if part.name else part.data}
    file: Json = {"filename": part.name} if part.name else {}
    file["file_data"] = document_url(part)
    return {"type": "file", "file": file}


def _named(message: Json, name: str) -> Json:
    if name:
        message["name"] = name
    return message


def _tool_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "function": {"name": choice.name}}


def _shape(shape: Shape) -> Json:
    if shape.schema is None:
        return {"type": "json_object"}
    schema: Json = {"name": shape.name or "answer", "schema": shape.schema}
    if shape.description:
        schema["description"] = shape.description
    if shape.strict is not None:
        schema["strict"] = shape.strict
    return {"type": "json_schema", "json_schema": schema}


def _foreign(tools: object) -> list[object]:
    """Tools of this format that are no functions, as they came."""
    return list(tools) if isinstance(tools, list) else []


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
