"""The items a Responses answer is made of, and the response object around them, written for clients. Pure.

Ids of items follow from the id of the response and their place, so that the events of a stream and the whole answer
name the same things. What the client asked for is repeated in the object, as official clients require it.
"""

import re

from ostler.wire.openai_responses_request import function_tool, reasoning_proof, text_form, tool_choice
from ostler.wire.talk import Answer, Ask, Finish, Json, Part, Refusal, Text, Thinking, Tokens, ToolUse

_PREFIX = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]+")

INCOMPLETE: dict[Finish, str] = {
    Finish.LENGTH: "max_output_tokens",
    Finish.CONTEXT: "max_output_tokens",
    Finish.REFUSAL: "content_filter",
}
"""Ends that make an answer incomplete, and the reason given."""


def item_id(kind: str, answer_id: str, index: int) -> str:
    """Id of an item.

    >>> item_id("message", "resp_7", 0)
    'msg_7_0'
    """
    return f"{_PREFIX[kind]}_{_NOT_IN_ID.sub('', answer_id.removeprefix('resp_'))}_{index}"


def output_items(parts: tuple[Part, ...], answer_id: str, status: str = "completed") -> list[Json]:
    """The items of an answer: texts and refusals that stand together are one message."""
    items: list[Json] = []
    for part in parts:
        index = len(items)
        if isinstance(part, Thinking):
            items.append(reasoning_item(part, item_id("reasoning", answer_id, index)))
        elif isinstance(part, ToolUse):
            items.append(call_item(part, item_id("function_call", answer_id, index), "completed"))
        elif isinstance(part, Text | Refusal):
            if not items or items[-1]["type"] != "message":
                items.append(message_item([], item_id("message", answer_id, index), status))
            content = items[-1]["content"]
            if isinstance(content, list):
                content.append(content_part(part))
    return items


def message_item(content: list[Json], id_: str, status: str) -> Json:
    """What was said."""
    return {"type": "message", "id": id_, "status": status, "role": "assistant", "content": content}


def content_part(part: Text | Refusal) -> Json:
    """A part of what was said."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}


def reasoning_item(part: Thinking, id_: str) -> Json:
    """What was thought."""
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    item: Json = {"type": "reasoning", "id": id_, "summary": summary}
    proof = reasoning_proof(part)
    return item | ({"encrypted_content": proof} if proof else {})


def call_item(part: ToolUse, id_: str, status: str) -> Json:
    """A call of a function."""
    return {
        "type": "function_call",
        "id": id_,
        "call_id": part.id,
        "name": part.name,
        "arguments": part.arguments,
        "status": status,
    }


def response_object(answer: Answer, ask: Ask, output: list[Json], status: str, error: Json | None = None) -> Json:
    """The response around the items. `status` as the format has it; an `incomplete` one says why."""
    effort = ask.effort
    reason = INCOMPLETE.get(answer.finish) if status == "incomplete" else None
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created_s or 0,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": ask.max_output_tokens,
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": ask.parallel_tools is not False,
        "previous_response_id": None,
        "reasoning": {"effort": effort.level or None if effort else None, "summary": None},
        "store": False,
        "temperature": ask.temperature,
        "text": text_form(ask.shape) or {"format": {"type": "text"}},
        "tool_choice": tool_choice(ask.tool_choice) or "auto",
        "tools": [function_tool(tool, strict=False) for tool in ask.tools],
        "top_p": ask.top_p,
        "truncation": "disabled",
        "usage": usage_object(answer.tokens),
        "user": ask.user or None,
        "metadata": {},
    }


def final_status(finish: Finish) -> str:
    """Status of a response that ended so."""
    return "incomplete" if finish in INCOMPLETE else "completed"


def usage_object(tokens: Tokens) -> Json | None:
    """Counts; the format has no way to say that a detail is not known, so such a one is zero."""
    if tokens.input_tokens is None and tokens.output_tokens is None:
        return None
    read, written = tokens.input_tokens or 0, tokens.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": tokens.cache_read_tokens or 0,
            "cache_write_tokens": tokens.cache_write_tokens or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning_tokens or 0},
        "total_tokens": read + written,
    }
