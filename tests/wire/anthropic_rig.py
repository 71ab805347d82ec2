"""A codec of the Messages API beside the vendor's own types, which check what it writes."""

import json
from typing import Any

from anthropic.types import (
    ContentBlockParam,
    MessageParam,
    TextBlockParam,
    ToolUnionParam,
    message_create_params,
)
from pydantic import TypeAdapter

from ostler.wire.anthropic import Anthropic
from ostler.wire.talk import (
    Ask,
    Encoded,
    Text,
    Turn,
)

CODEC = Anthropic()
SDK = TypeAdapter[Any](message_create_params.MessageCreateParams)
# Lists inside of the vendor's types are looked at when they are used; so each member is checked by itself.
SDK_MEMBERS = {
    "block": TypeAdapter[Any](ContentBlockParam),
    "message": TypeAdapter[Any](MessageParam),
    "system": TypeAdapter[Any](TextBlockParam),
    "tool": TypeAdapter[Any](ToolUnionParam),
}
CACHE: dict[str, object] = {"type": "ephemeral", "ttl": "1h"}


HELLO = {"role": "user", "content": "hi"}


def read(**fields: object) -> Ask:
    return CODEC.decode_ask(json.dumps({"model": "m", "max_tokens": 10, "messages": [HELLO]} | fields).encode())


def said(text: str, role: str = "user") -> Turn:
    return Turn(role=role, parts=(Text(text=text),))


def written(ask: Ask) -> dict[str, Any]:
    return checked(CODEC.encode_ask(ask))


def checked(encoded: Encoded) -> dict[str, Any]:
    """The body, once the vendor's own types have taken it."""
    body: dict[str, Any] = json.loads(encoded.body)
    SDK.validate_python(body)
    members("system", body, "system")
    members("tools", body, "tool")
    members("messages", body, "message")
    for message in body["messages"]:
        members("content", message, "block")
        for block in message["content"]:
            if isinstance(block, dict) and block["type"] == "tool_result":
                members("content", block, "block")
    return body


def members(field: str, holder: dict[str, Any], kind: str) -> None:
    """Check what stands in a list of the body; a plain string stands for a text."""
    found = holder.get(field, [])
    for member in found if isinstance(found, list) else []:
        SDK_MEMBERS[kind].validate_python(member)


FULL: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": CACHE}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "document",
                    "title": "Paper",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                },
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "eHh4"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": 1}, "cache_control": CACHE},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "way"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Go on."},
            ],
        },
    ],
    "tools": [
        {
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
            "cache_control": CACHE,
        }
    ],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "metadata": {"user_id": "u1"},
    "service_tier": "auto",
    "stream": True,
}
