"""A client's request in Anthropic's format, read as an `Ask`.

What has no place in `Ask` goes to `extra` under its path, such as `messages[3].content[0]` for a block of a tool that
Anthropic itself runs; for another format it is then dropped by that name. A block of an unknown type is refused, for
it is most likely misspelt.
"""

from collections.abc import Iterator

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.wire import anthropic_shapes as shapes
from ostler.wire.codec import Format
from ostler.wire.fields import converted, members, missing, text_of, typed, unknown
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
    Image,
    Json,
    Part,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)

ROLES = ("assistant", "system", "user")
SHARED_BLOCKS = frozenset({
    "document", "image", "redacted_thinking", "search_result", "text", "thinking", "tool_result", "tool_use",
})  # fmt: skip
OWN_BLOCKS = frozenset({
    "bash_code_execution_tool_result", "browser_state", "code_execution_tool_result", "compaction", "container_upload",
    "mcp_tool_result", "mcp_tool_use", "server_tool_use", "text_editor_code_execution_tool_result", "tool_reference",
    "tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result",
})  # fmt: skip
"""Blocks that only Anthropic's own servers understand."""
CHOICES = {"auto": "auto", "any": "required", "tool": "tool", "none": "none"}
THINKING = ("adaptive", "between_tools", "disabled", "enabled")

_REQUEST = msgspec.json.Decoder(shapes.Request)
_ANY: msgspec.json.Decoder[object] = msgspec.json.Decoder(object)
_CONSUMED = frozenset(shapes.Request.__struct_fields__)
_TOOL_FIELDS = frozenset(shapes.CustomTool.__struct_fields__)


_NOTHING = (b"", b"null", b"[]")


def decode_ask(body: bytes) -> Ask:
    """See `Codec.decode_ask`."""
    request = typed(_REQUEST, body)
    if not request.model:
        raise missing("model", "")
    extra: Json = {name: typed(_ANY, raw, under=name) for name, raw in members(body).items() if name not in _CONSUMED}
    choice = request.tool_choice
    return Ask(
        model=request.model,
        turns=(*_system(request, extra), *_turns(request, extra)),
        tools=tuple(_tools(request.tools or [], extra)),
        tool_choice=_choice(choice),
        parallel_tools=None
        if choice is None or choice.disable_parallel_tool_use is None
        else not choice.disable_parallel_tool_use,
        max_output_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        stop=tuple(request.stop_sequences or ()),
        shape=_shape(request),
        effort=_effort(request, extra),
        stream=bool(request.stream),
        user=_user(request.metadata, extra),
        extra=extra,
        origin=Format.ANTHROPIC,
    )


def _system(request: shapes.Request, extra: Json) -> Iterator[Turn]:
    if isinstance(request.system, str):
        if request.system:
            yield Turn(role="system", parts=(Text(text=request.system),))
    elif request.system:
        yield Turn(role="system", parts=tuple(blocks_as_parts(request.system, "system", extra)))


def _turns(request: shapes.Request, extra: Json) -> Iterator[Turn]:
    if not request.messages:
        raise InvalidInputError("holds no message", where="messages", remedy="send at least one turn of the user")
    for position, message in enumerate(request.messages):
        at = f"messages[{position}]"
        if message.role not in ROLES:
            raise unknown(message.role, ROLES, f"{at}.role")
        if isinstance(message.content, str):
            parts: tuple[Part, ...] = (Text(text=message.content),) if message.content else ()
        else:
            parts = tuple(blocks_as_parts(message.content, f"{at}.content", extra))
        yield Turn(role=message.role, parts=parts)


def blocks_as_parts(blocks: list[shapes.Block], under: str, extra: Json) -> Iterator[Part]:
    """The parts that blocks say; what has no place goes to `extra`. Raises `InvalidInputError`."""
    for position, block in enumerate(blocks):
        at = f"{under}[{position}]"
        if block.type in OWN_BLOCKS:
            extra[at] = _plain(block)
        elif block.type not in SHARED_BLOCKS:
            raise unknown(block.type, SHARED_BLOCKS | OWN_BLOCKS, f"{at}.type")
        else:
            if bytes(block.citations) not in _NOTHING:
                extra[f"{at}.citations"] = typed(_ANY, block.citations, under=f"{at}.citations")
            yield from _parts(block, at, extra)


def _parts(block: shapes.Block, at: str, extra: Json) -> Iterator[Part]:
    if block.type == "text":
        yield Text(text=_needed(block.text, "text", at), cache=block.cache_control)
    elif block.type == "tool_use":
        yield _tool_use(block, at)
    elif block.type == "tool_result":
        yield _tool_result(block, at, extra)
    elif block.type == "thinking":
        yield Thinking(text=_needed(block.thinking, "thinking", at), signature=block.signature or "")
    elif block.type == "redacted_thinking":
        yield Thinking(redacted=_needed(block.data, "data", at))
    elif block.type == "search_result":
        found = block.content if isinstance(block.content, list) else []
        yield Document(
            media_type="text/plain",
            data="".join(part.text or "" for part in found),
            name=block.title or (block.source if isinstance(block.source, str) else ""),
            cache=block.cache_control,
        )
    else:
        yield from _medium(block, at, extra)


def _medium(block: shapes.Block, at: str, extra: Json) -> Iterator[Part]:
    """An image or a document."""
    source = block.source
    if not isinstance(source, shapes.Source):
        raise missing("source", at)
    valid = ("base64", "file", "url") + (() if block.type == "image" else ("content", "text"))
    if source.type not in valid:
        raise unknown(source.type, valid, f"{at}.source.type")
    if block.context:
        extra[f"{at}.context"] = block.context
    if source.type == "file":
        extra[at] = _plain(block)
    elif block.type == "image":
        yield Image(media_type=source.media_type, data=source.data, url=source.url, cache=block.cache_control)
    elif isinstance(source.content, list):
        yield from blocks_as_parts(source.content, f"{at}.source.content", extra)
    else:
        yield Document(
            media_type=source.media_type or ("text/plain" if source.type == "content" else ""),
            data=source.data or source.content,
            url=source.url,
            name=block.title or "",
            cache=block.cache_control,
        )


def _tool_use(block: shapes.Block, at: str) -> ToolUse:
    arguments = text_of(block.input, where=f"{at}.input")
    if not arguments.startswith("{"):
        raise InvalidInputError(
            "the arguments of a tool are an object", where=f"{at}.input", remedy="send {} for a tool without arguments"
        )
    return ToolUse(
        id=_needed(block.id, "id", at),
        name=_needed(block.name, "name", at),
        arguments=arguments,
        cache=block.cache_control,
    )


def _tool_result(block: shapes.Block, at: str, extra: Json) -> ToolResult:
    content = block.content
    parts: tuple[Part, ...] = ()
    if isinstance(content, str):
        parts = (Text(text=content),) if content else ()
    elif isinstance(content, list):
        parts = tuple(blocks_as_parts(content, f"{at}.content", extra))
    kept = []
    for position, part in enumerate(parts):
        if not isinstance(part, Text | Image | Document):
            raise InvalidInputError(
                "the result of a tool holds text, images and documents",
                where=f"{at}.content[{position}].type",
                remedy="send other blocks beside the result",
            )
        kept.append(part)
    return ToolResult(
        tool_use_id=_needed(block.tool_use_id, "tool_use_id", at),
        parts=tuple(kept),
        is_error=bool(block.is_error),
        cache=block.cache_control,
    )


def _tools(tools: list[Json], extra: Json) -> Iterator[Tool]:
    for position, tool in enumerate(tools):
        at = f"tools[{position}]"
        kind = tool.get("type")
        if kind is not None and kind != "custom":
            extra[at] = tool
            continue
        custom = converted(shapes.CustomTool, tool, under=at)
        extra.update({f"{at}.{name}": value for name, value in tool.items() if name not in _TOOL_FIELDS})
        yield Tool(
            name=custom.name,
            description=custom.description,
            schema=custom.input_schema,
            strict=custom.strict,
            cache=custom.cache_control,
        )


def _choice(choice: shapes.Choice | None) -> ToolChoice | None:
    if choice is None:
        return None
    if choice.type not in CHOICES:
        raise unknown(choice.type, CHOICES, "tool_choice.type")
    if choice.type == "tool" and not choice.name:
        raise missing("name", "tool_choice")
    return ToolChoice(mode=CHOICES[choice.type], name=choice.name)


def _shape(request: shapes.Request) -> Shape | None:
    config = request.output_config
    where, wanted = "output_config.format", None if config is None else config.format
    if wanted is None:
        where, wanted = "output_format", request.output_format
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        raise unknown(wanted.type, ("json_schema",), f"{where}.type")
    if wanted.schema is None:
        raise missing("schema", where)
    return Shape(schema=wanted.schema)


def _effort(request: shapes.Request, extra: Json) -> Effort | None:
    thinking = request.thinking
    level = (request.output_config and request.output_config.effort) or ""
    if thinking is not None and thinking.type not in THINKING:
        raise unknown(thinking.type, THINKING, "thinking.type")
    if thinking is None or thinking.type == "between_tools":
        if thinking is not None:
            extra["thinking"] = {"type": thinking.type}
        return Effort(level=level) if level else None
    if thinking.type == "enabled" and thinking.budget_tokens is None:
        raise missing("budget_tokens", "thinking")
    return Effort(
        enabled=thinking.type != "disabled",
        budget_tokens=thinking.budget_tokens if thinking.type == "enabled" else None,
        level=level,
        adaptive=thinking.type == "adaptive",
        summary=thinking.display or "",
    )


def _user(metadata: Json | None, extra: Json) -> str:
    rest = dict(metadata or {})
    user = rest.pop("user_id", None)
    if rest:
        extra["metadata"] = rest
    if user is not None and not isinstance(user, str):
        raise InvalidInputError("expected text", where="metadata.user_id", remedy="send text or leave it out")
    return user or ""


def _needed(value: str | None, field: str, at: str) -> str:
    if value is None:
        raise missing(field, at)
    return value


def _plain(block: shapes.Block) -> Json:
    """A block as it was, as far as it was read."""
    said = {name: getattr(block, name) for name in block.__struct_fields__}
    return {
        name: value
        for name, value in said.items()
        if value is not None and not (isinstance(value, msgspec.Raw) and not bytes(value))
    }
