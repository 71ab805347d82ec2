"""A request in Ollama's formats.

Text of one turn is one string here, its parts kept apart by a blank line; images stand beside it, base64 only. Each
result of a tool is a message of its own, with the name of the tool that was called. A choice among tools cannot be
said: `none` sends no tools, the rest is dropped by name.

Ollama cuts the front of a prompt that does not fit, and pushes it out while answering. Clients of other formats expect
an error instead, so both are turned off unless the request was made for Ollama.
"""

from collections.abc import Iterator

import msgspec

from ostler.wire.arguments import as_object, in_object
from ostler.wire.codec import Format
from ostler.wire.extra import own_extra
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
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

PARAGRAPH = "\n\n"
_OPTIONS = {
    "num_predict": "max_output_tokens",
    "num_ctx": "context_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_SHARED_EXTRA = ("options", "truncate", "shift", "logprobs", "top_logprobs")
"""Fields that both endpoints of Ollama understand."""


def encode_chat(ask: Ask) -> Encoded:
    """A request to `/api/chat`."""
    writer = _Writer(ask, Format.OLLAMA_CHAT)
    body: Json = {"model": ask.model, "messages": list(writer.messages())}
    choice = ask.tool_choice
    if ask.tools and not (choice is not None and choice.mode == "none"):
        body["tools"] = [writer.tool(tool) for tool in ask.tools]
    if choice is not None and choice.mode not in {"auto", "none"}:
        writer.drop("tool_choice")
    if ask.parallel_tools is False:
        writer.drop("parallel_tools")
    if ask.raw_prompt:
        writer.drop("raw_prompt")
    if ask.suffix:
        writer.drop("suffix")
    return writer.encoded(body)


def encode_generate(ask: Ask) -> Encoded:
    """A request to `/api/generate`, which knows one prompt: a longer talk is told as a text."""
    writer = _Writer(ask, Format.OLLAMA_GENERATE)
    messages = list(writer.messages())
    system = PARAGRAPH.join(str(said["content"]) for said in messages if said["role"] == "system")
    talk = [said for said in messages if said["role"] != "system"]
    if len(talk) == 1:
        prompt = str(talk[0]["content"])
    else:
        prompt = PARAGRAPH.join(f"{said['role']}: {said['content']}" for said in talk)
    if len(talk) > 1:
        writer.drop("turns: their roles (told as text)")
    body: Json = {"model": ask.model, "prompt": prompt}
    if system:
        body["system"] = system
    images = [image for said in talk if isinstance(found := said.get("images"), list) for image in found]
    if images:
        body["images"] = images
    if any("tool_calls" in said for said in talk):
        writer.drop("turns: calls of tools")
    if ask.tools:
        writer.drop("tools")
    if ask.raw_prompt:
        body["raw"] = True
    if ask.suffix:
        body["suffix"] = ask.suffix
    return writer.encoded(body)


class _Writer:
    """Writes one request and keeps what could not be said."""

    def __init__(self, ask: Ask, form: Format) -> None:
        self._ask = ask
        self._form = form
        self._dropped: dict[str, None] = {}
        self._names = {part.id: part.name for turn in ask.turns for part in turn.parts if isinstance(part, ToolUse)}

    def drop(self, name: str) -> None:
        """Something cannot be said."""
        self._dropped[name] = None

    def encoded(self, body: Json) -> Encoded:
        """The body with what both endpoints share."""
        ask = self._ask
        body["stream"] = ask.stream
        if ask.keep_alive is not None:
            body["keep_alive"] = ask.keep_alive
        if ask.shape is not None:
            body["format"] = "json" if ask.shape.schema is None else ask.shape.schema
            for name in ("name", "description"):
                if getattr(ask.shape, name):
                    self.drop(f"shape.{name}")
        if ask.effort is not None:
            body["think"] = self._think(ask.effort)
        if ask.user:
            self.drop("user")
        options = {name: value for name, field in _OPTIONS.items() if (value := getattr(ask, field)) is not None}
        if ask.stop:
            options["stop"] = list(ask.stop)
        if options:
            body["options"] = options
        self._extra(body)
        return Encoded(body=msgspec.json.encode(body), dropped=tuple(self._dropped))

    def messages(self) -> Iterator[Json]:
        """The turns as messages; results of tools first, then what else a turn says."""
        for position, turn in enumerate(self._ask.turns):
            at = f"turns[{position}]"
            if turn.name:
                self.drop(f"{at}.name")
            rest: list[Part] = []
            for part in turn.parts:
                if isinstance(part, ToolResult):
                    yield self._result(part, at)
                else:
                    rest.append(part)
            if rest or not turn.parts:
                yield self._message(turn, rest, at)

    def tool(self, tool: Tool) -> Json:
        """The definition of a tool."""
        if tool.strict:
            self.drop(f"strict arguments of {tool.name}")
        function: Json = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
        return {"type": "function", "function": function}

    def _message(self, turn: Turn, parts: list[Part], at: str) -> Json:
        message: Json = {"role": turn.role, "content": self._text(parts, at)}
        thoughts = [part for part in parts if isinstance(part, Thinking)]
        if any(part.text for part in thoughts):
            message["thinking"] = PARAGRAPH.join(part.text for part in thoughts if part.text)
        for part in thoughts:
            if part.redacted or part.signature:
                self.drop(f"{at}: {'redacted thinking' if part.redacted else 'signature of thinking'}")
        self._add_images(message, parts, at)
        calls = [self._call(part, at) for part in parts if isinstance(part, ToolUse)]
        if calls:
            message["tool_calls"] = calls
        return message

    def _result(self, part: ToolResult, at: str) -> Json:
        message: Json = {"role": "tool", "content": self._text(part.parts, at), "tool_call_id": part.tool_use_id}
        if name := part.name or self._names.get(part.tool_use_id, ""):
            message["tool_name"] = name
        if part.is_error:
            self.drop(f"{at}: mark of a result as an error")
        self._add_images(message, part.parts, at)
        return message

    def _text(self, parts: list[Part] | tuple[Part, ...], at: str) -> str:
        texts = []
        for part in parts:
            if isinstance(part, Text | Refusal):
                texts.append(part.text)
            elif isinstance(part, Document) and part.media_type.startswith("text/") and part.data:
                texts.append(f"{part.name}:\n{part.data}" if part.name else part.data)
            elif isinstance(part, Document):
                self.drop(f"{at}: document {part.name or part.media_type or part.url}")
        return PARAGRAPH.join(text for text in texts if text)

    def _add_images(self, message: Json, parts: list[Part] | tuple[Part, ...], at: str) -> None:
        images = [part for part in parts if isinstance(part, Image)]
        if any(part.detail for part in images):
            self.drop(f"{at}: detail of an image")
        if any(not part.data for part in images):
            self.drop(f"{at}: image by its address")
        found = [part.data for part in images if part.data]
        if found:
            message["images"] = found

    def _call(self, part: ToolUse, at: str) -> Json:
        if part.arguments.strip() and as_object(part.arguments) is None:
            self.drop(f"{at}: arguments of {part.name} that are no JSON object (sent as text)")
        return {"id": part.id, "function": {"name": part.name, "arguments": in_object(part.arguments)}}

    def _think(self, effort: Effort) -> bool | str:
        if effort.budget_tokens is not None:
            self.drop("effort.budget_tokens")
        if effort.summary:
            self.drop("effort.summary")
        if not effort.enabled or not effort.level:
            return effort.enabled
        level = _LEVELS.get(effort.level)
        if level != effort.level:
            self.drop(f"effort {effort.level}")
        return True if level is None else level

    def _extra(self, body: Json) -> None:
        origin, extra = self._ask.origin, dict(self._ask.extra)
        own: Json = {}
        if origin in {Format.OLLAMA_CHAT, Format.OLLAMA_GENERATE}:
            own = {name: extra.pop(name) for name in _SHARED_EXTRA if name in extra}
        else:
            body["truncate"] = body["shift"] = False
        rest, foreign = own_extra(msgspec.structs.replace(self._ask, extra=extra), self._form)
        for name in foreign:
            self.drop(name)
        for name, value in (own | rest).items():
            said = body.get(name)
            body[name] = value | said if isinstance(value, dict) and isinstance(said, dict) else value
