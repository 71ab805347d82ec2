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


def own_extra(ask: Ask, form: str) -> tuple[dict[str, object], tuple[str, ...]]:
    """Fields to be sent to this format as they came, and names of those that cannot be.

    Raises `InvalidInputError` if the request was read from another format and part of what the model is to read, or
    the way the answer is fetched, is known to its own provider only.
    """
    if ask.origin == form:
        return dict(ask.extra), ()
    if ask.origin == "openai-responses":
        for name, remedy in _HOLDS_TALK.items():
            if ask.extra.get(name):
                what = f"this model is served in another format ({form}), which has no such thing"
                raise InvalidInputError(what, where=name, remedy=remedy)
    return {}, tuple(name for field, value in sorted(ask.extra.items()) for name in _names(field, value))


def _names(field: str, value: object) -> list[str]:
    """A field by its name; a list of tools by the type of each."""
    if field == "tools" and isinstance(value, list):
        return [f"tools ({tool.get('type', '?')})" for tool in value if isinstance(tool, dict)]
    return [field]
