"""What of a request belongs to the format it was read from, and to no other. Pure.

Most such fields are wishes: another format goes without them, and says so. A few hold part of the talk itself, kept by
the provider; without them the model would answer something else, so translating is refused.
"""

from collections.abc import Mapping

from ostler.domain.errors import InvalidInputError
from ostler.wire.talk import Ask

_HOLDS_TALK: Mapping[str, str] = {
    "previous_response_id": "send the earlier turns in `input` instead",
    "conversation": "send the earlier turns in `input` instead",
    "prompt": "send the text of the prompt in `input` or `instructions` instead",
    "background": "ask for the answer at once, without `background`",
}
"""Field of OpenAI's Responses format to what a client does instead."""

_MAY_GO = frozenset({
    "additional_tools", "code_interpreter_call", "configuration_update", "file_search_call", "image_generation_call",
    "mcp_approval_request", "mcp_call", "mcp_list_tools", "web_search_call",
})  # fmt: skip
"""Items of an input that a model can go without: its answer has what came of them. Others are part of the talk."""


def own_extra(ask: Ask, form: str) -> tuple[dict[str, object], tuple[str, ...]]:
    """Fields to be sent to this format as they came, and names of those that cannot be.

    Raises `InvalidInputError` if the request was read from another format and part of what the model is to read, or
    the way the answer is fetched, is known to its own provider only.
    """
    if ask.origin == form:
        return dict(ask.extra), ()
    if ask.origin == "openai-responses":
        _require_portable(ask.extra, form)
    return {}, tuple(name for field, value in sorted(ask.extra.items()) for name in _names(field, value))


def _require_portable(extra: Mapping[str, object], form: str) -> None:
    what = f"this model is served in another format ({form}), which has no such thing"
    for field, value in sorted(extra.items()):
        remedy = _HOLDS_TALK.get(field, "")
        if field.startswith("input[") and isinstance(value, dict) and value.get("type") not in _MAY_GO:
            remedy = "send it as a message or as a call of a function, or use a model that is served in this format"
        if remedy and value:
            raise InvalidInputError(what, where=field, remedy=remedy)


def _names(field: str, value: object) -> list[str]:
    """A field by its name, an item of an input by its type, a list of tools by the type of each."""
    if field.startswith("input[") and isinstance(value, dict):
        return [f"{field} ({value.get('type', '?')})"]
    if field == "tools" and isinstance(value, list):
        return [f"tools ({tool.get('type', '?')})" for tool in value if isinstance(tool, dict)]
    return [field]
