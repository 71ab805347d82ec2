"""A client's request in Ollama's formats, read as an `Ask`. Without `stream` it asks for a stream.

Results of tools are messages of their own here, tied to a call by its name, by newer clients by its id. A call without
an id gets one from its place in the talk; a result takes the id of the first call of its name that has none yet, else
of the first call at all. A request without messages, or with an empty prompt, loads the model: it has no turns.
"""

from collections.abc import Iterator

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire import ollama_shapes as shapes
from ostler.wire.codec import Format
from ostler.wire.fields import members, missing, text_of, typed, unknown
from ostler.wire.talk import Ask, Effort, Image, Json, Part, Shape, Text, Thinking, Tool, ToolResult, ToolUse, Turn

ROLES = ("assistant", "system", "tool", "user")
NO_LIMIT = -1
LEVELS = ("high", "low", "max", "medium")
_SIGNS = (("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
_INTEGERS = {"num_predict": "max_output_tokens", "num_ctx": "context_tokens", "top_k": "top_k", "seed": "seed"}
_NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty")

_CHAT = msgspec.json.Decoder(shapes.ChatRequest)
_GENERATE = msgspec.json.Decoder(shapes.GenerateRequest)
_ANY: msgspec.json.Decoder[object] = msgspec.json.Decoder(object)


def decode_chat(body: bytes) -> Ask:
    """A request to `/api/chat`."""
    request = typed(_CHAT, body)
    tools = tuple(
        Tool(
            name=tool.function.name,
            description=tool.function.description or "",
            schema=tool.function.parameters or {},
        )
        for tool in request.tools or ()
    )
    ask = Ask(model=request.model, turns=tuple(_Talk().turns(request.messages or [])), tools=tools)
    return _settled(ask, request, body, Format.OLLAMA_CHAT)


def decode_generate(body: bytes) -> Ask:
    """A request to `/api/generate`."""
    request = typed(_GENERATE, body)
    turns: list[Turn] = []
    if request.prompt:
        if request.system:
            turns.append(Turn(role="system", parts=(Text(text=request.system),)))
        turns.append(Turn(role="user", parts=(Text(text=request.prompt), *_images(request.images))))
    ask = Ask(model=request.model, turns=tuple(turns), raw_prompt=bool(request.raw), suffix=request.suffix or "")
    return _settled(ask, request, body, Format.OLLAMA_GENERATE)


def media_type(data: str) -> str:
    """What kind of image base64 data holds, by its first bytes; a PNG if nothing is known.

    >>> media_type("/9j/4AAQ"), media_type("AAAA")
    ('image/jpeg', 'image/png')
    """
    return next((kind for sign, kind in _SIGNS if data.startswith(sign)), "image/png")


def _settled(ask: Ask, request: shapes.Request, body: bytes, origin: Format) -> Ask:
    """With what both endpoints share: options, form, thinking, and the rest of the fields."""
    if not request.model:
        raise missing("model", "")
    known = request.__struct_fields__
    extra: Json = {name: typed(_ANY, raw, under=name) for name, raw in members(body).items() if name not in known}
    return msgspec.structs.replace(
        ask,
        stream=request.stream is not False,
        keep_alive=request.keep_alive,
        shape=_shape(request.format),
        effort=_effort(request.think),
        origin=origin,
        **_options(request.options or {}, extra),
        extra=extra,
    )


class _Talk:
    """Reads messages in order and ties results to calls."""

    def __init__(self) -> None:
        self._calls = 0
        self._waiting: list[ToolUse] = []
        """Calls that have no result yet."""

    def turns(self, messages: list[shapes.Message]) -> Iterator[Turn]:
        """Results in a row, and what the user adds to them, are one turn of the user."""
        results: list[Part] = []
        for position, message in enumerate(messages):
            at = f"messages[{position}]"
            if message.role not in ROLES:
                raise unknown(message.role, ROLES, f"{at}.role")
            if message.role == "tool":
                results.append(self._result(message))
                continue
            parts = (*self._parts(message, at),)
            if message.role == "user":
                yield Turn(role="user", parts=(*results, *parts))
            else:
                if results:
                    yield Turn(role="user", parts=tuple(results))
                yield Turn(role=message.role, parts=parts)
            results = []
        if results:
            yield Turn(role="user", parts=tuple(results))

    def _parts(self, message: shapes.Message, at: str) -> Iterator[Part]:
        if message.thinking:
            yield Thinking(text=message.thinking)
        if message.content:
            yield Text(text=message.content)
        yield from _images(message.images)
        for position, call in enumerate(message.tool_calls or ()):
            where = f"{at}.tool_calls[{position}].function.arguments"
            arguments = text_of(call.function.arguments, where=where) or "{}"
            if not arguments.startswith("{"):
                raise InvalidInputError(
                    "the arguments of a tool are an object", where=where, remedy="send an object, not its JSON text"
                )
            use = ToolUse(id=call.id or f"call_{self._calls}", name=call.function.name, arguments=arguments)
            self._calls += 1
            self._waiting.append(use)
            yield use

    def _result(self, message: shapes.Message) -> ToolResult:
        name, given = message.tool_name or "", message.tool_call_id or ""
        if given:
            fitting = [use for use in self._waiting if use.id == given]
        else:
            fitting = [use for use in self._waiting if use.name == name] or self._waiting
        use = fitting[0] if fitting else None
        if use is not None:
            self._waiting.remove(use)
        text: tuple[Text, ...] = (Text(text=message.content),) if message.content else ()
        return ToolResult(
            tool_use_id=given or (f"call_{self._calls}" if use is None else use.id),
            parts=(*text, *_images(message.images)),
            name=name or ("" if use is None else use.name),
        )


def _images(images: list[str] | None) -> Iterator[Image]:
    for data in images or ():
        yield Image(media_type=media_type(data), data=data)


def _shape(form: msgspec.Raw) -> Shape | None:
    value = typed(_ANY, form, under="format") if bytes(form) else None
    if value is None or value == "":
        return None
    if isinstance(value, dict):
        return Shape(schema=value)
    if value != "json":
        raise InvalidInputError(
            f"unknown form of answer {str(value)[:40]!r}", where="format", remedy='send "json" or a JSON schema'
        )
    return Shape()


def _effort(think: bool | str | None) -> Effort | None:  # noqa: FBT001 -- the field is a boolean or a word
    if think is None or think == "":
        return None
    if isinstance(think, bool):
        return Effort(enabled=think)
    if think not in LEVELS:
        raise unknown(think, LEVELS, "think")
    return Effort(level=think)


def _options(options: Json, extra: Json) -> Json:
    """Options as fields of `Ask`; those that have no place stay together.

    A limit of -1 is none; other numbers below 0 mean something to Ollama alone.
    """
    rest = {name: value for name, value in options.items() if value is not None}
    found: Json = {}
    for name, field in _INTEGERS.items():
        value = rest.pop(name, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise _not_that(name, "an integer")
        if name == "seed" or value >= 0:
            found[field] = int(value)
        elif value != NO_LIMIT:
            rest[name] = value
    for name in _NUMBERS:
        value = rest.pop(name, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _not_that(name, "a number")
        found[name] = value
    stop = rest.pop("stop", None)
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list) or not all(isinstance(sequence, str) for sequence in stops):
            raise _not_that("stop", "a list of strings")
        found["stop"] = tuple(stops)
    if rest:
        extra["options"] = rest
    return found


def _not_that(name: str, must: str) -> InvalidInputError:
    return InvalidInputError(f"must be {must}", where=f"options.{name}", remedy="correct it or leave it out")
