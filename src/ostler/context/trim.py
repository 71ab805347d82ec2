"""A request cut to a number of tokens by whole exchanges (`ostler.context.exchanges`): system turns and tools stay.

Tokens are estimated as characters / 4; an image counts `IMAGE_TOKENS`. Whoever knows better how many characters a token
of a model has says the limit in such tokens (`measure.TokenRates.as_estimated`). Linear in the length of the talk.
"""

import msgspec

from ostler.context.exchanges import Role, Turned, left_out
from ostler.wire.talk import Ask, Document, Image, Part, Refusal, Text, Thinking, ToolResult, ToolUse, Turn

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1_000


class Trimmed(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a request."""

    ask: Ask
    dropped_turns: int
    tokens: int
    """Estimated length of its prompt."""


def estimate(ask: Ask) -> int:
    """Estimated length of a whole prompt in tokens."""
    return _tools(ask) + sum(map(_tokens, ask.turns))


def trimmed(ask: Ask, limit_tokens: int, *, turns_max: int | None = None) -> Trimmed:
    """The request with as much of its oldest turns gone as its prompt needs to fit, and as it has more than
    `turns_max`; what must stay stays, even where that is too long.
    """
    turns = [Turned(_role(turn), _tokens(turn)) for turn in ask.turns]
    total = _tools(ask) + sum(turn.tokens for turn in turns)
    fixed = total - sum(turn.tokens for turn in turns if turn.role is not Role.SYSTEM)
    gone = set(left_out(turns, tokens=limit_tokens - fixed, turns_max=turns_max))
    if not gone:
        return Trimmed(ask=ask, dropped_turns=0, tokens=total)
    kept = tuple(turn for index, turn in enumerate(ask.turns) if index not in gone)
    left = total - sum(turns[index].tokens for index in gone)
    return Trimmed(ask=msgspec.structs.replace(ask, turns=kept), dropped_turns=len(gone), tokens=left)


def _role(turn: Turn) -> Role:
    if turn.role == "user":
        return Role.RESULTS if any(isinstance(part, ToolResult) for part in turn.parts) else Role.USER
    return Role.SYSTEM if turn.role == "system" else Role.ASSISTANT


def _tools(ask: Ask) -> int:
    chars = sum(len(tool.name) + len(tool.description) + len(msgspec.json.encode(tool.schema)) for tool in ask.tools)
    return -(-chars // CHARS_PER_TOKEN)


def _tokens(turn: Turn) -> int:
    return sum(map(_part, turn.parts))


def _part(part: Part) -> int:
    match part:
        case Text() | Refusal():
            chars = len(part.text)
        case Thinking():
            chars = len(part.text) + len(part.redacted)
        case ToolUse():
            chars = len(part.name) + len(part.arguments)
        case ToolResult():
            return sum(_part(inner) for inner in part.parts)
        case Image():
            return IMAGE_TOKENS
        case Document():
            chars = len(part.data)
    return -(-chars // CHARS_PER_TOKEN)
