"""Requests of chat completions as clients send them."""

import msgspec

from ostler.wire.talk import Json

HELLO: Json = {"role": "user", "content": "hello"}


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "auto", "messages": [HELLO]} | fields)


AGENT = {
    "model": "auto",
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "max_completion_tokens": 400,
    "reasoning_effort": "low",
    "parallel_tool_calls": False,
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Look", "parameters": {"type": "object"}}},
        {"type": "custom", "custom": {"name": "shell"}},
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "out", "strict": True, "schema": {"a": 1}}},
    "stop": "END",
    "service_tier": "flex",
    "metadata": None,
    "messages": [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "look", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "user", "content": "and now?"},
    ],
}
