"""A Responses request of a client, read into the shared form. Pure.

`instructions` are the first system turn. Items that follow one another from the same side are one turn: thinking, text
and calls of the assistant; results of tools and what the user says next.

Items of tools that OpenAI itself runs have no place in the shared form. They are kept in `Ask.extra` under their path
(`input[3]`), as are tools and fields of this format alone; `wire.extra` tells which of them another format can go
without.
"""

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
REDACTED = "redacted:"
"""Marks thinking of another provider that was shown to the client as encrypted, so that it is known when it returns."""

_ROLES = ("user", "assistant", "system", "developer")
_SHARED_ITEMS = ("message", "function_call", "function_call_output", "reasoning")
_OWN_ITEMS = (
    "additional_tools", "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction",
    "compaction_trigger", "computer_call", "computer_call_output", "configuration_update", "custom_tool_call",
    "custom_tool_call_output", "file_search_call", "image_generation_call", "item_reference", "local_shell_call",
    "local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools",
    "program", "program_output", "shell_call", "shell_call_output", "tool_search_call", "tool_search_output",
    "web_search_call",
)  # fmt: skip
_MODES = ("auto", "none", "required")
_CONTENT = ("input_text", "input_image", "input_file", "output_text", "refusal", "text")
_HELD_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""With one of these a request may have no input of its own."""
_KNOWN = frozenset({
    "model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
    "temperature", "top_p", "text", "reasoning", "user",
})  # fmt: skip


def decode_ask(body: bytes) -> Ask:
    """The request that a body is. Raises `InvalidInputError` naming the field."""
    top = Fields.read(body)
    extra = top.rest(_KNOWN)
    return Ask(
        model=top.named("model", MODEL_REMEDY),
        turns=_turns(top, extra),
        tools=_tools(top, extra),
        tool_choice=_tool_choice(top, extra),
        parallel_tools=top.flag("parallel_tool_calls"),
        max_output_tokens=_limit(top),
        temperature=top.number("temperature"),
        top_p=top.number("top_p"),
        shape=_shape(top, extra),
        effort=_effort(top, extra),
        stream=bool(top.flag("stream")),
        user=top.text("user"),
        extra=extra,
        origin=Format.OPENAI_RESPONSES,
    )


def _limit(top: Fields) -> int | None:
    value = top.integer("max_output_tokens")
    if value is not None and value < 1:
        where = top.at("max_output_tokens")
        raise InvalidInputError(f"must be at least 1, not {value}", where=where, remedy="or leave it out")
    return value


def _effort(top: Fields, extra: Json) -> Effort | None:
    reasoning = top.inner("reasoning")
    if reasoning is None:
        return None
    if others := reasoning.rest({"effort", "summary", "generate_summary"}):
        extra["reasoning"] = others
    level = reasoning.text("effort")
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    if level == "none":
        return Effort(enabled=False, summary=summary)
    return Effort(level=level, summary=summary) if level or summary else None


def _shape(top: Fields, extra: Json) -> Shape | None:
    text = top.inner("text")
    if text is None:
        return None
    if others := text.rest({"format"}):
        extra["text"] = others
    form = text.inner("format")
    kind = form.choice("type", ("text", "json_object", "json_schema")) if form else "text"
    if form is None or kind != "json_schema":
        return Shape() if kind == "json_object" else None
    return Shape(
        schema=form.needed("schema").value,
        name=form.text("name"),
        description=form.text("description"),
        strict=form.flag("strict"),
    )


def _tools(top: Fields, extra: Json) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    others: list[Json] = []
    for item in top.objects("tools"):
        if item.named("type") != "function":
            others.append(item.value)
            continue
        tool = Tool(
            name=item.named("name"),
            description=item.text("description"),
            schema=item.json("parameters") or {},
            strict=item.flag("strict"),
        )
        tools.append(tool)
    if others:
        extra["tools"] = others
    return tuple(tools)


def _tool_choice(top: Fields, extra: Json) -> ToolChoice | None:
    value = top.get("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        return ToolChoice(mode=top.choice("tool_choice", _MODES))
    choice = top.needed("tool_choice")
    if choice.named("type") == "function":
        return ToolChoice(mode="tool", name=choice.named("name"))
    extra["tool_choice"] = value
    return None


def _turns(top: Fields, extra: Json) -> tuple[Turn, ...]:
    turns = Turns()
    if instructions := top.text("instructions"):
        turns.add(Turn(role="system", parts=(Text(text=instructions),)))
    given = top.get("input")
    if isinstance(given, str):
        turns.add(Turn(role="user", parts=(Text(text=given),) if given else ()))
    elif given is not None and not isinstance(given, list):
        raise top.wrong("input", "a string or a list of items")
    else:
        for item in top.objects("input"):
            _add_item(turns, item, extra)
    if not given and not any(extra.get(name) for name in _HELD_ELSEWHERE):
        raise InvalidInputError("is missing or empty", where="input", remedy="give a text or a list of items")
    return turns.all()


def _add_item(turns: Turns, item: Fields, extra: Json) -> None:
    kind = item.text("type") or ("message" if item.has("role") else "item_reference")
    if kind == "message":
        _add_message(turns, item)
    elif kind == "function_call":
        name, arguments = item.named("name"), item.text("arguments")
        call_id = item.named("call_id", "give each call the id that its result refers to")
        turns.add_said((ToolUse(id=call_id, name=name, arguments=arguments if arguments.strip() else "{}"),))
    elif kind == "function_call_output":
        call_id = item.named("call_id", "give the id of the call that this is the result of")
        parts = tuple(part for part in _content(item, "output") if isinstance(part, Text | Image | Document))
        turns.add_user(Turn(role="user", parts=(ToolResult(tool_use_id=call_id, name=item.text("name"), parts=parts),)))
    elif kind == "reasoning":
        if (thinking := _thinking(item)) is not None:
            turns.add_said((thinking,))
    elif kind in _OWN_ITEMS:
        extra[item.where] = item.value
    else:
        remedy = nearest(kind, (*_SHARED_ITEMS, *_OWN_ITEMS))
        raise InvalidInputError(f"{short(kind)} is no known item", where=item.at("type"), remedy=remedy)


def _add_message(turns: Turns, item: Fields) -> None:
    role = item.choice("role", _ROLES)
    parts = tuple(_content(item, "content"))
    if role == "assistant":
        turns.add_said(parts)
    elif role == "user":
        turns.add_user(Turn(role=role, parts=parts))
    else:
        turns.add(Turn(role="system", parts=parts))


def _thinking(item: Fields) -> Thinking | None:
    """Thinking by its summary, or by its text where a server shows that (open models)."""
    texts = [part.text("text") for field in ("summary", "content") for part in item.objects(field)]
    text, proof = "\n\n".join(texts), item.text("encrypted_content")
    if proof.startswith(REDACTED):
        return Thinking(redacted=proof.removeprefix(REDACTED))
    return Thinking(text=text, signature=proof) if text or proof else None


def _content(item: Fields, name: str) -> list[Part]:
    value = item.get(name)
    if value is None or isinstance(value, str):
        return [Text(text=value)] if value else []
    if not isinstance(value, list):
        raise item.wrong(name, "a string or a list of parts")
    return [part for inner in item.objects(name) if (part := _part(inner)) is not None]


def _part(item: Fields) -> Part | None:
    kind = item.choice("type", _CONTENT)
    if kind == "input_image":
        return _image(item)
    if kind == "input_file":
        return _file(item)
    if kind == "refusal":
        return Refusal(text=item.text("refusal", None))
    text = item.text("text", None)
    return Text(text=text) if text else None


def _image(item: Fields) -> Image:
    _no_file_id(item, "send it as image_url, an address or data:image/png;base64,...")
    url, detail = item.named("image_url"), item.text("detail").replace("auto", "")
    if not url.startswith("data:"):
        return Image(url=url, detail=detail)
    media_type, data = from_data_url(url, item.at("image_url"), "image/jpeg")
    return Image(media_type=media_type, data=data, detail=detail)


def _file(item: Fields) -> Document:
    _no_file_id(item, "send its content as file_data, or its address as file_url")
    if url := item.text("file_url"):
        return Document(url=url, name=item.text("filename"))
    return document(item.named("file_data"), item.at("file_data"), name=item.text("filename"), cache=None)


def _no_file_id(item: Fields, remedy: str) -> None:
    if item.has("file_id"):
        what = "a file that is kept by a provider cannot be translated"
        raise InvalidInputError(what, where=item.at("file_id"), remedy=remedy)
