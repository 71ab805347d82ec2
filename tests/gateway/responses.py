"""The Responses API as OpenAI serves it, written by hand from its documentation: what Codex speaks.

It stands beside the formats of `tests.gateway.dialects`: no upstream of ours speaks it, only clients do.
"""

import json

from tests.gateway.dialects import (
    ANSWER_TOKENS,
    CACHED_TOKENS,
    MODEL,
    PROMPT_TOKENS,
    AnswerDialect,
    Error,
    OpenAI,
    Said,
    Tool,
    cut,
    sse,
)
from tests.gateway.upstream import Json

USAGE: Json = {
    "input_tokens": PROMPT_TOKENS,
    "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
    "output_tokens": ANSWER_TOKENS,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": PROMPT_TOKENS + ANSWER_TOKENS,
}


class Responses(AnswerDialect):
    """Responses, streamed or whole."""

    name = "responses"
    answers = ("/responses",)
    stream_type = "text/event-stream"
    end_markers = 1
    opening_frames = 1

    def fixed(self, method: str, path: str, body: bytes) -> Json | None:
        return OpenAI(self.models).fixed(method, path, body)

    def whole(self, said: Said) -> Json:
        cut_short = said.finish == "length"
        return {
            **self._base("incomplete" if cut_short else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
            "output": _items(said),
            "usage": USAGE,
        }

    def frames(self, said: Said) -> list[bytes]:
        whole = self.whole(said)
        rows: list[Json] = [{"type": "response.created", "response": {**self._base("in_progress"), "output": []}}]
        for index, item in enumerate(whole["output"]):
            empty: Json = {"content": []} if "content" in item else {"arguments": ""}
            opened = {**item, "status": "in_progress", **empty}
            rows.append({"type": "response.output_item.added", "output_index": index, "item": opened})
            kind, pieces = ("output_text", said.cut_text) if "content" in item else ("", cut(item["arguments"], 3))
            place = {"output_index": index, "item_id": item["id"]}
            for piece in pieces:
                delta = {"content_index": 0} if kind else {}
                name = f"response.{kind or 'function_call_arguments'}.delta"
                rows.append({"type": name, **place, **delta, "delta": piece})
            rows.append({"type": "response.output_item.done", "output_index": index, "item": item})
        rows.append({"type": f"response.{whole['status']}", "response": whole})
        return [sse({**row, "sequence_number": number}, row["type"]) for number, row in enumerate(rows)]

    def error(self, error: Error) -> tuple[int, Json]:
        return OpenAI().error(error)

    def error_frame(self, error: Error) -> bytes:
        _, body = self.error(error)
        failed = {**self._base("failed"), "error": {"code": "server_error", "message": body["error"]["message"]}}
        return sse({"type": "response.failed", "response": failed}, "response.failed")

    def malformed_frame(self) -> bytes:
        return b'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", "del\n\n'

    def last_turn(self, body: Json) -> tuple[str, bool]:
        last = body["input"][-1]
        return last.get("role", "tool"), last.get("type", "").endswith("_output")

    def _base(self, status: str) -> Json:
        return {"id": "resp_simulated", "object": "response", "created_at": 1_767_225_600, "model": MODEL} | {
            "status": status,
            "error": None,
        }


def _items(said: Said) -> list[Json]:
    items: list[Json] = []
    if said.text:
        content = [{"type": "output_text", "text": said.text, "annotations": []}]
        items.append({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content})
    return [*items, *(_call(tool) for tool in said.tools)]


def _call(tool: Tool) -> Json:
    arguments = json.dumps(tool.arguments, ensure_ascii=False)
    call = {"id": "fc_1", "type": "function_call", "call_id": tool.id, "name": tool.name, "arguments": arguments}
    return {**call, "status": "completed"}
