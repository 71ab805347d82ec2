"""A chat completions request of a client, read into the shared form. Pure.

Accepted beyond what OpenAI documents today, because clients send it: `functions` and `function_call` (the older form of
tools), `reasoning_content` or `reasoning` in turns of the assistant, `top_k` and `min_p`, arguments of a call as an
object, and Anthropic's cache marks on parts.

Results of tools become one user turn with what the user says next. Calls in the older form have no ids: they get one
from the place of their message. Fields without a place in the shared form are kept in `Ask.extra`.
"""

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.wire.codec import Format
from ostler.wire.fields import Fields, short
from ostler.wire.media import document, from_data_url
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
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
from ostler.wire.turns import Turns

MODEL_REMEDY = "name a model, an alias, tier:NAME, or auto"
ELSEWHERE = "use a model that is served in this format, or leave it out"

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MODES = ("auto", "none", "required")
_KNOWN = frozenset({
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call",
    "parallel_tool_calls", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "seed",
    "stop", "presence_penalty", "frequency_penalty", "response_format", "reasoning_effort", "user",
})  # fmt: skip


def decode_ask(body: bytes) -> Ask:
    """The request that a body is. Raises `InvalidInputError` naming the field."""
    top = Fields.read(body)
    extra = top.rest(_KNOWN)
    stream = bool(top.flag("stream"))
    tools, legacy = _tools(top, extra)
    return Ask(
        model=top.named("model", MODEL_REMEDY),
        turns=_turns(top),
        tools=tools,
        tool_choice=_tool_choice(top, extra),
        legacy_functions=legacy,
        parallel_tools=top.flag("parallel_tool_calls"),
        max_output_tokens=limit(top),
        temperature=top.number("temperature"),
        top_p=top.number("top_p"),
        top_k=top.integer("top_k"),
        min_p=top.number("min_p"),
        seed=top.integer("seed"),
        stop=top.texts("stop"),
        presence_penalty=top.number("presence_penalty"),
        frequency_penalty=top.number("frequency_penalty"),
        shape=_shape(top),
        effort=_effort(top),
        stream=stream,
        stream_counts=_stream_counts(top, extra) if stream else True,
        user=top.text("user"),
        extra=extra,
        origin=Format.OPENAI_CHAT,
    )


def limit(top: Fields) -> int | None:
    """The limit of output tokens under its newer or older name."""
    newer = top.integer("max_completion_tokens")
    value = top.integer("max_tokens") if newer is None else newer
    if value is not None and value < 1:
        name = "max_tokens" if newer is None else "max_completion_tokens"
        raise InvalidInputError(f"must be at least 1, not {value}", where=top.at(name), remedy="or leave it out")
    return value


def _stream_counts(top: Fields, extra: Json) -> bool:
    options = top.inner("stream_options")
    if options is None:
        return False
    if others := options.rest({"include_usage"}):
        extra["stream_options"] = others
    return bool(options.flag("include_usage"))


def _effort(top: Fields) -> Effort | None:
    level = top.text("reasoning_effort")
    if not level:
        return None
    return Effort(enabled=False) if level == "none" else Effort(level=level)


def _shape(top: Fields) -> Shape | None:
    form = top.inner("response_format")
    if form is None:
        return None
    kind = form.choice("type", ("text", "json_object", "json_schema"))
    if kind != "json_schema":
        return Shape() if kind == "json_object" else None
    schema = form.needed("json_schema")
    return Shape(
        schema=schema.json("schema") or {},
        name=schema.text("name"),
        description=schema.text("description"),
        strict=schema.flag("strict"),
    )


def _tools(top: Fields, extra: Json) -> tuple[tuple[Tool, ...], bool]:
    """Tools, and whether the caller named them in the older form. Tools that are no functions go to `extra`."""
    functions = list(top.objects("functions"))
    if functions:
        return tuple(_function(item) for item in functions), True
    tools: list[Tool] = []
    others: list[Json] = []
    for item in top.objects("tools"):
        if item.text("type", "function") == "function":
            tool = _function(item.needed("function"))
            tools.append(msgspec.structs.replace(tool, cache=item.json("cache_control")))
        else:
            others.append(item.value)
    if others:
        extra["tools"] = others
    return tuple(tools), False


def _function(item: Fields) -> Tool:
    return Tool(
        name=item.named("name"),
        description=item.text("description"),
        schema=item.json("parameters") or {},
        strict=item.flag("strict"),
    )


def _tool_choice(top: Fields, extra: Json) -> ToolChoice | None:
    field = "tool_choice" if top.has("tool_choice") else "function_call"
    value = top.get(field)
    if value is None:
        return None
    if isinstance(value, str):
        return ToolChoice(mode=top.choice(field, _MODES))
    choice = top.needed(field)
    if field == "function_call":
        return ToolChoice(mode="tool", name=choice.named("name"))
    kind = choice.text("type", "function")
    if kind == "function":
        return ToolChoice(mode="tool", name=choice.needed("function").named("name"))
    if kind not in ("allowed_tools", "custom"):
        remedy = nearest(kind, ("function", "allowed_tools", "custom"))
        raise InvalidInputError(f"{short(kind)} is not known here", where=choice.at("type"), remedy=remedy)
    extra[field] = value
    return None


def _turns(top: Fields) -> tuple[Turn, ...]:
    turns = Turns()
    call_id = ""
    for index, message in enumerate(top.objects("messages")):
        role = message.choice("role", _ROLES)
        if role in ("tool", "function"):
            turns.add_user(Turn(role="user", parts=(_result(message, role, call_id),)))
        elif role == "assistant":
            call_id = f"call_{index}"
            turns.add(Turn(role=role, parts=tuple(_said(message, call_id)), name=message.text("name")))
        else:
            content, name = tuple(_content(message, "content")), message.text("name")
            if role == "user":
                turns.add_user(Turn(role=role, parts=content, name=name))
            else:
                turns.add(Turn(role="system", parts=content, name=name))
    if not turns.all():
        raise InvalidInputError("must hold at least one message", where=top.at("messages"))
    return turns.all()


def _result(message: Fields, role: str, call_id: str) -> ToolResult:
    parts = tuple(part for part in _content(message, "content") if isinstance(part, Text | Image | Document))
    if role == "function":
        return ToolResult(tool_use_id=call_id, name=message.named("name"), parts=parts)
    return ToolResult(
        tool_use_id=message.named("tool_call_id", "give the id of the call that this is the result of"),
        name=message.text("name"),
        parts=parts,
        cache=message.json("cache_control"),
    )


def _said(message: Fields, call_id: str) -> list[Part]:
    """What the assistant said and called."""
    parts: list[Part] = []
    thinking = message.text("reasoning_content") or message.text("reasoning")
    if thinking:
        parts.append(Thinking(text=thinking))
    parts += _content(message, "content")
    if refusal := message.text("refusal"):
        parts.append(Refusal(text=refusal))
    for call in message.objects("tool_calls"):
        if (kind := call.text("type", "function")) != "function":
            what = f"calls of {short(kind)} tools cannot be translated"
            raise InvalidInputError(what, where=call.at("type"), remedy=ELSEWHERE)
        function = call.needed("function")
        id_ = call.named("id", "give each call the id that its result refers to")
        parts.append(ToolUse(id=id_, name=function.named("name"), arguments=_arguments(function)))
    if (function_call := message.inner("function_call")) is not None:
        name, arguments = function_call.named("name"), _arguments(function_call)
        parts.append(ToolUse(id=call_id, name=name, arguments=arguments))
    return parts


def _arguments(function: Fields) -> str:
    value = function.get("arguments")
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    text = function.text("arguments")
    return text if text.strip() else "{}"


def _content(message: Fields, name: str) -> list[Part]:
    value = message.get(name)
    if value is None or isinstance(value, str):
        return [Text(text=value)] if value else []
    if not isinstance(value, list):
        raise message.wrong(name, "a string or a list of parts")
    return [part for item in message.objects(name) if (part := _part(item)) is not None]


def _part(item: Fields) -> Part | None:
    kind = item.choice("type", ("text", "image_url", "file", "refusal", "input_audio", "video_url", "audio_url"))
    if kind == "text":
        text = item.text("text", None)
        return Text(text=text, cache=item.json("cache_control")) if text else None
    if kind == "image_url":
        return _image(item)
    if kind == "file":
        return _file(item)
    if kind == "refusal":
        return Refusal(text=item.text("refusal", None))
    raise InvalidInputError(f"{kind} parts cannot be translated", where=item.at("type"), remedy=ELSEWHERE)


def _image(item: Fields) -> Image:
    given = item.get("image_url")
    image = Fields({"url": given}, item.at("image_url")) if isinstance(given, str) else item.needed("image_url")
    url = image.named("url")
    cache, detail = item.json("cache_control"), image.text("detail")
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, cache=cache)
    media_type, data = from_data_url(url, image.at("url"), "image/jpeg")
    return Image(media_type=media_type, data=data, detail=detail, cache=cache)


def _file(item: Fields) -> Document:
    file = item.needed("file")
    if file.has("file_id"):
        what = "a file that is kept by a provider cannot be translated"
        raise InvalidInputError(what, where=file.at("file_id"), remedy="send its content as file_data")
    data, cache = file.named("file_data"), item.json("cache_control")
    return document(data, file.at("file_data"), name=file.text("filename"), cache=cache)
