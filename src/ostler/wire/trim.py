"""A talk cut to a number of tokens: the oldest goes first, and nothing that belongs together is parted.

What never goes: system turns, the tools, and the newest exchange's beginning and end. A talk is a row of *exchanges*,
each from a turn of the user to the next one that brings more than results of tools. Whole exchanges go first, the
oldest ones; when only the newest is left, its own oldest rounds of tools go: an assistant's turn together with the
results of its calls and with its thinking. So no result is without its call, no call without its result, and the first
turn that is left is the user's.

Tokens are estimated as characters / 4; an image counts `IMAGE_TOKENS`. Linear in the length of the talk.
"""

import msgspec

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
    return _fixed(ask) + sum(_turn(turn) for turn in ask.turns if turn.role != "system")


def trimmed(ask: Ask, limit_tokens: int) -> Trimmed:
    """The request with as much of its oldest turns gone as its prompt needs to fit; what must stay stays, even where
    that is too long.
    """
    system = [turn for turn in ask.turns if turn.role == "system"]
    exchanges = _exchanges([turn for turn in ask.turns if turn.role != "system"])
    total = estimate(ask)
    dropped = 0
    while len(exchanges) > 1 and total > limit_tokens:
        gone = exchanges.pop(0)
        dropped += len(gone)
        total -= sum(map(_turn, gone))
    if exchanges and total > limit_tokens:
        rest, gone = _newest(exchanges[0], total - limit_tokens)
        exchanges = [rest]
        dropped += len(gone)
        total -= sum(map(_turn, gone))
    if not dropped:
        return Trimmed(ask=ask, dropped_turns=0, tokens=total)
    kept = [turn for exchange in exchanges for turn in exchange]
    return Trimmed(ask=msgspec.structs.replace(ask, turns=(*system, *kept)), dropped_turns=dropped, tokens=total)


def _exchanges(turns: list[Turn]) -> list[list[Turn]]:
    found: list[list[Turn]] = []
    for turn in turns:
        if not found or (turn.role == "user" and not _brings_results(turn)):
            found.append([])
        found[-1].append(turn)
    return found


def _newest(exchange: list[Turn], excess: int) -> tuple[list[Turn], list[Turn]]:
    """Drop its oldest rounds until the excess is gone, the last round excepted."""
    starts = [index for index, turn in enumerate(exchange) if turn.role == "assistant"]
    starts = [
        index for position, index in enumerate(starts) if position == 0 or exchange[index - 1].role != "assistant"
    ]
    if len(starts) < 2:  # noqa: PLR2004 -- the only round is the last one
        return exchange, []
    end = starts[0]
    for after in starts[1:]:
        if sum(map(_turn, exchange[starts[0] : end])) >= excess:
            break
        end = after
    return exchange[: starts[0]] + exchange[end:], exchange[starts[0] : end]


def _brings_results(turn: Turn) -> bool:
    return any(isinstance(part, ToolResult) for part in turn.parts)


def _fixed(ask: Ask) -> int:
    tools = sum(len(tool.name) + len(tool.description) + len(msgspec.json.encode(tool.schema)) for tool in ask.tools)
    system = sum(_turn(turn) for turn in ask.turns if turn.role == "system")
    return system + -(-tools // CHARS_PER_TOKEN)


def _turn(turn: Turn) -> int:
    return sum(_part(part) for part in turn.parts)


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
