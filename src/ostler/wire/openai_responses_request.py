"""A Responses request to an endpoint, written from the shared form. Pure.

A first system turn of one text is `instructions`; others are messages in their place. Thinking goes back only with its
proof, and only if it was read from this format: another provider's proof would be refused, and a summary without proof
refers to something the server does not have.

Functions are strict here unless told otherwise, elsewhere they are not: so a tool that says nothing is written as not
strict, except in a request that was read from this format.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from ostler.wire.codec import Format
from ostler.wire.extra import own_extra
from ostler.wire.media import data_url, document_url
from ostler.wire.openai_request import NO_PARAMETERS, RequestWriter
from ostler.wire.openai_responses_ask import REDACTED
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
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

_ITEM = re.compile(r"input\[\d{1,9}\]")
"""Path of an item that is kept for this format alone."""
_NOT_SAID = ("top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")


def encode_ask(ask: Ask) -> Encoded:
    """The request in this format. Raises `InvalidInputError` for what it cannot say and may not drop."""
    own, dropped = own_extra(ask, Format.OPENAI_RESPONSES)
    said = _Writer(ask, dropped)
    foreign = {name: own.pop(name) for name in list(own) if _ITEM.fullmatch(name)}
    instructions, turns = _instructions(ask)
    fields: dict[str, object] = {
        "model": ask.model,
        "instructions": instructions,
        "input": _with_foreign([item for turn in turns for item in said.turn(turn)], foreign),
        "stream": True if ask.stream else None,
        "tools": [*map(said.tool, ask.tools), *_list(own.pop("tools", None))] or None,
        "tool_choice": tool_choice(ask.tool_choice),
        "parallel_tool_calls": ask.parallel_tools,
        "max_output_tokens": ask.max_output_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "text": _object(own.pop("text", None)) | text_form(ask.shape),
        "reasoning": _object(own.pop("reasoning", None)) | said.reasoning(ask.effort),
        "user": ask.user or None,
    }
    for name in _NOT_SAID:
        said.drop(name, getattr(ask, name) is not None)
    said.drop("stop", ask.stop)
    said.drop_engine_fields(ask)
    written = {name: value for name, value in fields.items() if value is not None and value != {}}
    return Encoded(body=msgspec.json.encode(written | own), dropped=tuple(said.dropped))


def tool_choice(choice: ToolChoice | None) -> object:
    """A choice of tools in this format."""
    if choice is None or choice.mode != "tool":
        return choice and choice.mode
    return {"type": "function", "name": choice.name}


def text_form(shape: Shape | None) -> Json:
    """The `text` object for the form of an answer; empty for plain text."""
    if shape is None:
        return {}
    if shape.schema is None:
        return {"format": {"type": "json_object"}}
    form: Json = {"type": "json_schema", "name": shape.name or "answer", "schema": shape.schema}
    if shape.description:
        form["description"] = shape.description
    if shape.strict is not None:
        form["strict"] = shape.strict
    return {"format": form}


def function_tool(tool: Tool, *, strict: bool | None) -> Json:
    """A function in this format, flat."""
    fields: Json = {
        "type": "function",
        "name": tool.name,
        "parameters": tool.schema or NO_PARAMETERS,
        "strict": strict if tool.strict is None else tool.strict,
    }
    return fields | ({"description": tool.description} if tool.description else {})


class _Writer(RequestWriter):
    """Writes turns and tools of Responses."""

    def __init__(self, ask: Ask, dropped: Iterable[str]) -> None:
        super().__init__(dropped)
        self._own = ask.origin == Format.OPENAI_RESPONSES

    def reasoning(self, effort: Effort | None) -> Json:
        said = {"effort": self.effort(effort), "summary": effort.summary if effort else None}
        return {name: value for name, value in said.items() if value}

    def tool(self, tool: Tool) -> Json:
        self.drop("cache_control", tool.cache)
        return function_tool(tool, strict=None if self._own else False)

    def turn(self, turn: Turn) -> Iterator[Json]:
        """The items of a turn."""
        self.drop("name", turn.name)
        if turn.role == "assistant":
            yield from self._said(turn)
            return
        parts: list[Part] = []
        results = 0
        for part in turn.parts:
            if isinstance(part, ToolResult):
                results += 1
                self.drop("cache_control", part.cache)
                self.drop("is_error", part.is_error)
                yield {
                    "type": "function_call_output",
                    "call_id": part.tool_use_id,
                    "output": self._content(part.parts),
                }
            else:
                parts.append(part)
        if parts or not results:
            yield {"type": "message", "role": turn.role, "content": self._content(parts)}

    def _said(self, turn: Turn) -> Iterator[Json]:
        spoken: list[Text | Refusal] = []
        for part in turn.parts:
            if isinstance(part, Text | Refusal):
                spoken.append(part)
                continue
            yield from _message(spoken)
            spoken = []
            if isinstance(part, ToolUse):
                self.drop("cache_control", part.cache)
                yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
            elif isinstance(part, Thinking):
                yield from self._thinking(part)
            else:
                self.drop(type(part).__name__.lower(), part)
        yield from _message(spoken)

    def _thinking(self, part: Thinking) -> Iterator[Json]:
        if self._own and part.signature:
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            yield {"type": "reasoning", "summary": summary, "encrypted_content": part.signature}
            return
        self.drop("thinking", part.text)
        self.drop("thinking.signature", part.signature)
        self.drop("thinking.redacted", part.redacted)

    def _content(self, parts: Iterable[Part]) -> str | list[Json]:
        items = [item for part in parts if (item := self._part(part)) is not None]
        if not items or (len(items) == 1 and items[0]["type"] == "input_text"):
            return str(items[0]["text"]) if items else ""
        return items

    def _part(self, part: Part) -> Json | None:
        if isinstance(part, Text):
            self.drop("cache_control", part.cache)
            return {"type": "input_text", "text": part.text}
        if isinstance(part, Image):
            self.drop("cache_control", part.cache)
            url = part.url or data_url(part.media_type or "image/jpeg", part.data)
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        if isinstance(part, Document):
            self.drop("cache_control", part.cache)
            place: Json = {"file_url": part.url} if part.url else {"file_data": document_url(part)}
            return {"type": "input_file"} | ({"filename": part.name} if part.name else {}) | place
        self.drop(type(part).__name__.lower(), part)
        return None


def reasoning_proof(part: Thinking) -> str:
    """What stands for `encrypted_content` of a thought that is shown to a client."""
    return REDACTED + part.redacted if part.redacted else part.signature


def _message(spoken: list[Text | Refusal]) -> Iterator[Json]:
    """One text is a string, which every server reads; more are parts."""
    if not spoken:
        return
    content: str | list[Json] = [
        {"type": "output_text", "text": part.text, "annotations": []}
        if isinstance(part, Text)
        else {"type": "refusal", "refusal": part.text}
        for part in spoken
    ]
    if len(spoken) == 1 and isinstance(spoken[0], Text):
        content = spoken[0].text
    yield {"type": "message", "role": "assistant", "content": content}


def _instructions(ask: Ask) -> tuple[str | None, tuple[Turn, ...]]:
    first = ask.turns[0] if ask.turns else None
    if first is None or first.role != "system" or len(first.parts) != 1 or not isinstance(first.parts[0], Text):
        return None, ask.turns
    return first.parts[0].text or None, ask.turns[1:]


def _with_foreign(items: list[Json], foreign: dict[str, object]) -> list[object]:
    """Items of this format alone, back where they stood."""
    whole: list[object] = list(items)
    for name in sorted(foreign, key=lambda path: int(path[len("input[") : -1])):
        whole.insert(int(name[len("input[") : -1]), foreign[name])
    return whole


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
