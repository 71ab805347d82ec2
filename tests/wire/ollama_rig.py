"""Codecs of Ollama's two endpoints, and a full request."""

import json
from typing import Any

from ostler.wire.ollama import OllamaChat, OllamaGenerate
from ostler.wire.talk import (
    Ask,
    Text,
    Turn,
)

CHAT = OllamaChat()
GENERATE = OllamaGenerate()
PNG = "iVBORw0KGgo="


def chat(**fields: object) -> Ask:
    return CHAT.decode_ask(json.dumps({"model": "m"} | fields).encode())


def generate(**fields: object) -> Ask:
    return GENERATE.decode_ask(json.dumps({"model": "m"} | fields).encode())


def written(ask: Ask) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CHAT.encode_ask(ask).body)
    return body


def said(text: str, role: str = "user") -> Turn:
    return Turn(role=role, parts=(Text(text=text),))


FULL: dict[str, Any] = {
    "model": "llama3.2:3b",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [PNG]},
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "hm",
            "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "a horse", "tool_call_id": "c1", "tool_name": "look"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
    ],
    "stream": False,
    "keep_alive": "5m",
    "format": {"type": "object"},
    "think": "high",
    "options": {
        "num_predict": 100,
        "num_ctx": 8192,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "seed": -1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "stop": ["END"],
        "mirostat": 1,
    },
    "truncate": False,
    "logprobs": True,
}
