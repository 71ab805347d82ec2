"""What goes over the wire: requests with a number in them, and the answers that must repeat it.

The number is what makes an answer checkable: one that was swapped with another call's, or made up, does not hold it.
It always has the same width, so that lengths and offsets are known once. A request may also hold an order to wait.
"""

import json

MARK = b"stable-"
"""The number follows, `DIGITS` wide."""
DIGITS = 8
BLANK = "0" * DIGITS
WAIT = b"wait-ms-"
"""How long the endpoint is to take, `DIGITS` wide."""

CONTENT_EVENTS = 100
EVENTS = CONTENT_EVENTS + 2
"""Of a stream: content, the finish, the end marker."""
FIRST_EVENT_S = 0.020
NEXT_EVENT_S = 0.010
END_MARKER = b"data: [DONE]\n\n"

_SYSTEM = (
    "You are the assistant of a stable. Answer in one short sentence, name horses only by their own names, and say so "
    "when a question cannot be answered from what the stable keeps about its horses, riders and lessons. "
)
_QUESTION = "Which horses of ours can be ridden by a beginner who has had three lessons, and which of them should wait?"


def chat(model: str, *, stream: bool = False, wait_ms: int = 0) -> bytes:
    """A small request of about 0.5 KB; with the number zero."""
    order = f" {WAIT.decode()}{wait_ms:0{DIGITS}}" if wait_ms else ""
    messages = [
        {"role": "system", "content": _SYSTEM + "Say the number of the stable with each answer." + order},
        {"role": "user", "content": f"{_QUESTION} {MARK.decode()}{BLANK}"},
    ]
    body = {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 256}
    return json.dumps(body | ({"stream": True} if stream else {}), separators=(",", ":")).encode()


def agent(model: str) -> bytes:
    """A request as an agent sends it late in its work: 60 messages and 20 tools, 84 KB."""
    said: list[dict[str, object]] = [{"role": "system", "content": _SYSTEM * 20}]
    for turn in range(29):
        call = {"name": f"tool_{turn % 20}", "arguments": json.dumps({"path": f"src/stable_{turn}.py", "lines": 80})}
        said += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{turn}", "type": "function", "function": call}],
            },
            {
                "role": "tool",
                "tool_call_id": f"c{turn}",
                "content": f"def feed_{turn}(horse):\n    return 'hay'\n" * 45,
            },
        ]
    said.append({"role": "user", "content": f"{_QUESTION} {MARK.decode()}{BLANK}"})
    names = {name: {"type": "string", "description": _QUESTION} for name in ("path", "pattern", "text", "reason")}
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": _SYSTEM * 2,
                "parameters": {"type": "object", "properties": names, "required": ["path"]},
            },
        }
        for number in range(20)
    ]
    body = {"model": model, "messages": said, "tools": tools, "temperature": 0.2, "max_tokens": 256}
    return json.dumps(body, separators=(",", ":")).encode()


def split(body: bytes) -> tuple[bytes, bytes]:
    """Before and after the number of a request."""
    at = body.index(MARK) + len(MARK)
    return body[:at], body[at + DIGITS :]


def number_in(body: bytes) -> bytes:
    """The number a request holds. Raises `ValueError` when it holds none: somebody has changed the request."""
    at = body.index(MARK) + len(MARK)
    return body[at : at + DIGITS]


def wait_s_in(body: bytes) -> float:
    """How long the endpoint is to take."""
    at = body.find(WAIT)
    return int(body[at + len(WAIT) : at + len(WAIT) + DIGITS]) / 1_000 if at >= 0 else 0.0


def answer() -> bytes:
    """A whole answer of about 0.4 KB; with the number zero."""
    said = f"Dobbin and Juno can be ridden; Star should wait. {MARK.decode()}{BLANK}"
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "completion_tokens": 21, "total_tokens": 141}
    body = _head("chat.completion") | {"choices": [choice], "usage": usage, "system_fingerprint": "fp_simulated"}
    return json.dumps(body, separators=(",", ":")).encode()


def events(*, counts: bool) -> list[bytes]:
    """The events of a stream, of about 170 bytes each; the number is zero in each piece of content."""
    steps: list[tuple[dict[str, str], str | None]] = [({"content": f" {MARK.decode()}{BLANK}"}, None)] * CONTENT_EVENTS
    out = [
        _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        for delta, finish in [*steps, ({}, "stop")]
    ]
    if counts:
        usage = {"prompt_tokens": 120, "completion_tokens": CONTENT_EVENTS, "total_tokens": 120 + CONTENT_EVENTS}
        out.append(_event({"choices": [], "usage": usage}))
    return [*out, END_MARKER]


def _head(kind: str) -> dict[str, object]:
    return {"id": "call-01", "object": kind, "created": 1_700_000_000, "model": "m"}


def _event(more: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(_head("chat.completion.chunk") | more, separators=(",", ":")).encode() + b"\n\n"
