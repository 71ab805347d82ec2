"""A request in Anthropic's format, written to the rules that its servers enforce.

* System text goes into a field of its own. A system turn in the middle moves there too, for most models refuse one in
  its place; that it moved is said.
* Turns alternate: neighbours of one role become one. The first is the user's, results of tools stand first in their
  turn, there are no blocks without text, and a last turn of the assistant does not end in white space.
* Ids of tools hold letters, digits, `_` and `-`; others are replaced, the same id always by the same.
* Thinking that nobody signed is refused by the API, so it is dropped.
* `max_tokens` must be there. Where nobody said it, it is `DEFAULT_MAX_TOKENS` (beyond a budget for thinking): no model
  of this API allows fewer.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2s

import msgspec

from ostler.wire.arguments import as_object, in_object
from ostler.wire.codec import Format
from ostler.wire.extra import own_extra
from ostler.wire.talk import (
    Ask,
    Document,
    Encoded,
    Image,
    Json,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)

DEFAULT_MAX_TOKENS = 4096
OPENING = "(continue)"
"""Stands for the user's turn where a talk begins with the assistant's."""
EFFORTS = ("low", "medium", "high", "xhigh", "max")
_GOOD_ID = re.compile(r"[a-zA-Z0-9_-]+")
_BAD_ID_CHARS = re.compile(r"[^a-zA-Z0-9_-]")
_EXTRA_TOOL = re.compile(r"tools\[(\d+)\](?:\.(\w+))?")
_CHOICE = {"auto": "auto", "required": "any", "tool": "tool", "none": "none"}
_PLACES: Mapping[type[Part], str] = {Thinking: "assistant", ToolUse: "assistant", ToolResult: "user"}
_UNSAID = ("seed", "min_p", "presence_penalty", "frequency_penalty", "context_tokens", "keep_alive", "suffix")


def encode_ask(ask: Ask) -> Encoded:
    """See `Codec.encode_ask`."""
    return _Writer(ask).encoded()


def tool_id(given: str) -> str:
    """An id that the API takes.

    >>> tool_id("call_1"), tool_id("functions.get:0")
    ('call_1', 'functions_get_0_8d6b2c7a')
    """
    if _GOOD_ID.fullmatch(given):
        return given
    return f"{_BAD_ID_CHARS.sub('_', given) or 'toolu'}_{blake2s(given.encode(), digest_size=4).hexdigest()}"


class _Writer:
    """Writes one request and keeps what could not be said."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._own, foreign = own_extra(ask, Format.ANTHROPIC)
        self._dropped: dict[str, None] = dict.fromkeys(foreign)
        self._added: list[str] = []

    def encoded(self) -> Encoded:
        ask = self._ask
        body: Json = {"model": ask.model}
        system = self._system()
        if system:
            alone = len(system) == 1 and system[0].keys() == {"type", "text"}
            body["system"] = system[0]["text"] if alone else system
        body["messages"] = self._messages()
        body["max_tokens"] = self._max_tokens()
        self._sampling(body)
        self._tools(body)
        self._output(body)
        if ask.user:
            body["metadata"] = {"user_id": ask.user}
        if ask.stream:
            body["stream"] = True
        self._extra(body)
        return Encoded(body=msgspec.json.encode(body), dropped=tuple(self._dropped), added=tuple(self._added))

    def _drop(self, name: str) -> None:
        self._dropped[name] = None

    def _system(self) -> list[Json]:
        blocks: list[Json] = []
        leading = True
        for position, turn in enumerate(self._ask.turns):
            leading = leading and turn.role == "system"
            if turn.role != "system":
                continue
            at = f"turns[{position}]"
            if not leading:
                self._drop(f"{at}: its place in the talk")
            for part in turn.parts:
                if not isinstance(part, Text):
                    self._drop(f"{at}: {_kind(part)} in a system turn")
                elif part.text.strip():
                    blocks.append(_marked({"type": "text", "text": part.text}, part))
        return blocks

    def _messages(self) -> list[Json]:
        merged: list[tuple[str, list[Json]]] = []
        for position, turn in enumerate(self._ask.turns):
            if turn.role == "system":
                continue
            if turn.name:
                self._drop(f"turns[{position}].name")
            blocks = list(self._blocks(turn, f"turns[{position}]"))
            if not blocks:
                continue
            if merged and merged[-1][0] == turn.role:
                merged[-1][1].extend(blocks)
            else:
                merged.append((turn.role, blocks))
        if merged and merged[0][0] == "assistant":
            merged.insert(0, ("user", [{"type": "text", "text": OPENING}]))
            self._added.append(f"an opening turn of the user: {OPENING!r}")
        if merged and merged[-1][0] == "assistant":
            _trimmed(merged[-1][1])
        for _, blocks in merged:
            blocks.sort(key=lambda block: block["type"] != "tool_result")
        return [{"role": role, "content": _short(blocks)} for role, blocks in merged if blocks]

    def _blocks(self, turn: Turn, at: str) -> Iterator[Json]:
        for part in turn.parts:
            place = _PLACES.get(type(part), turn.role)
            if place != turn.role:
                self._drop(f"{at}: {_kind(part)} in a turn of the {turn.role}")
            elif (block := self._block(part, at)) is not None:
                yield block

    def _block(self, part: Part, at: str) -> Json | None:
        if isinstance(part, ToolUse):
            if as_object(part.arguments) is None and part.arguments.strip():
                self._drop(f"{at}: arguments of {part.name} that are no JSON object (sent as text)")
            made: Json = {"type": "tool_use", "id": tool_id(part.id), "name": part.name}
            return _marked(made | {"input": in_object(part.arguments)}, part)
        if isinstance(part, ToolResult):
            return self._result(part, at)
        if isinstance(part, Thinking):
            return self._thinking(part, at)
        if isinstance(part, Text | Refusal):
            return _marked({"type": "text", "text": part.text}, part) if part.text.strip() else None
        return self._medium(part, at)

    def _result(self, part: ToolResult, at: str) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": tool_id(part.tool_use_id)}
        inner = [made for inside in part.parts if (made := self._block(inside, at)) is not None]
        if inner:
            block["content"] = _short(inner)
        if part.is_error:
            block["is_error"] = True
        return _marked(block, part)

    def _thinking(self, part: Thinking, at: str) -> Json | None:
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.redacted}
        if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        self._drop(f"{at}: thinking without a signature")
        return None

    def _medium(self, part: Image | Document, at: str) -> Json | None:
        if isinstance(part, Image) and part.detail:
            self._drop(f"{at}: detail of an image")
        if part.url:
            source: Json = {"type": "url", "url": part.url}
        elif isinstance(part, Document) and part.media_type == "text/plain":
            source = {"type": "text", "media_type": part.media_type, "data": part.data}
        else:
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
        if not part.url and not part.data:
            self._drop(f"{at}: {_kind(part)} without content")
            return None
        block: Json = {"type": _kind(part), "source": source}
        if isinstance(part, Document) and part.name:
            block["title"] = part.name
        return _marked(block, part)

    def _max_tokens(self) -> int:
        ask = self._ask
        if ask.max_output_tokens is not None:
            return ask.max_output_tokens
        budget = ask.effort.budget_tokens if ask.effort is not None and ask.effort.enabled else None
        chosen = DEFAULT_MAX_TOKENS + (budget or 0)
        self._added.append(f"max_tokens: {chosen}")
        return chosen

    def _sampling(self, body: Json) -> None:
        ask = self._ask
        if ask.temperature is not None:
            body["temperature"] = min(ask.temperature, 1)
            if ask.temperature > 1:
                self._drop("temperature above 1")
        for name in ("top_p", "top_k"):
            if (value := getattr(ask, name)) is not None:
                body[name] = value
        stop = [sequence for sequence in ask.stop if sequence.strip()]
        if stop:
            body["stop_sequences"] = stop
        if len(stop) < len(ask.stop):
            self._drop("stop: sequences of white space")
        for name in _UNSAID:
            if getattr(ask, name) not in (None, ""):
                self._drop(name)
        if ask.raw_prompt:
            self._drop("raw_prompt")

    def _tools(self, body: Json) -> None:
        ask = self._ask
        tools = [_tool(tool) for tool in ask.tools]
        for position, name, value in sorted(_extra_tools(self._own), key=lambda found: (found[1] != "", found[0])):
            if not name and isinstance(value, dict):
                tools.insert(position, value)
            elif name and position < len(tools):
                tools[position][name] = value
        if tools:
            body["tools"] = tools
        choice, parallel = ask.tool_choice, ask.parallel_tools
        mode = choice.mode if choice is not None else "auto"
        if not tools or mode not in _CHOICE:
            if choice is not None and mode not in {"auto", "none"}:
                self._drop("tool_choice")
            return
        if choice is None and parallel is not False:
            return
        made: Json = {"type": _CHOICE[mode]}
        if choice is not None and mode == "tool":
            made["name"] = choice.name
        if parallel is not None and mode != "none":
            made["disable_parallel_tool_use"] = not parallel
        body["tool_choice"] = made

    def _output(self, body: Json) -> None:
        config = self._effort(body)
        shape = self._ask.shape
        if shape is not None and shape.schema is None:
            self._drop("shape: any JSON object, without a schema")
        elif shape is not None:
            config["format"] = {"type": "json_schema", "schema": shape.schema}
            for name in ("name", "description"):
                if getattr(shape, name):
                    self._drop(f"shape.{name}")
            if shape.strict is False:
                self._drop("shape.strict")
        if config:
            body["output_config"] = config

    def _effort(self, body: Json) -> Json:
        effort = self._ask.effort
        if effort is None:
            return {}
        thinking: Json | None = None
        if not effort.enabled:
            thinking = {"type": "disabled"}
        elif effort.budget_tokens is not None:
            thinking = {"type": "enabled", "budget_tokens": effort.budget_tokens}
        elif effort.adaptive or effort.summary or not effort.level:
            thinking = {"type": "adaptive"}
        if thinking is not None:
            if effort.summary and effort.enabled:
                thinking["display"] = "omitted" if effort.summary == "omitted" else "summarized"
            body["thinking"] = thinking
        level = "low" if effort.level == "minimal" else effort.level
        if level != effort.level or (level and level not in EFFORTS):
            self._drop(f"effort {effort.level}")
        return {"effort": level} if level in EFFORTS else {}

    def _extra(self, body: Json) -> None:
        for name, value in self._own.items():
            if name.startswith(("messages[", "system[")):
                self._drop(name)
            elif name == "metadata" and isinstance(value, dict):
                body["metadata"] = value | ({"user_id": self._ask.user} if self._ask.user else {})
            elif not _EXTRA_TOOL.fullmatch(name):
                body[name] = value


def _extra_tools(extra: Json) -> Iterator[tuple[int, str, object]]:
    for name, value in extra.items():
        if match := _EXTRA_TOOL.fullmatch(name):
            yield int(match[1]), match[2] or "", value


def _tool(tool: Tool) -> Json:
    made: Json = {"name": tool.name, "input_schema": {"type": "object"} | tool.schema}
    if tool.description:
        made["description"] = tool.description
    if tool.strict is not None:
        made["strict"] = tool.strict
    return made | ({"cache_control": tool.cache} if tool.cache is not None else {})


def _marked(block: Json, part: Text | Image | Document | ToolUse | ToolResult | Refusal) -> Json:
    cache = None if isinstance(part, Refusal) else part.cache
    return block if cache is None else block | {"cache_control": cache}


def _short(blocks: list[Json]) -> object:
    """A single plain text may be said without a block."""
    alone = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
    return blocks[0]["text"] if alone else blocks


def _trimmed(blocks: list[Json]) -> None:
    text = blocks[-1].get("text")
    if isinstance(text, str):
        blocks[-1]["text"] = text.rstrip()


def _kind(part: Part) -> str:
    kind = type(part).__struct_config__.tag
    return str(kind)
