"""Which turns of a talk go when it is too long: the oldest first, and nothing that belongs together is parted.

A talk is a row of *exchanges*, each from a turn of the user to the next one that brings more than results of tools.
1. Whole exchanges go first, the oldest ones.
2. When only the newest is left, its own oldest *rounds* go: an assistant's turns together with the results of its calls
   and with its thinking.
The newest exchange keeps its beginning and its last round, whatever they take. So no result is without its call, no
call without its result, and the first turn that is left is one that began an exchange.

Doing it twice changes nothing. Linear in the number of turns.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a turn is to its neighbours."""

    SYSTEM = "system"
    """Never goes."""
    USER = "user"
    """Begins an exchange."""
    ASSISTANT = "assistant"
    RESULTS = "results"
    """Brings results of tools, whoever brings them: never without the call before it."""


class Turned(msgspec.Struct, frozen=True):
    """One turn: what it is, and how long."""

    role: Role
    tokens: int


def left_out(turns: Sequence[Turned], *, tokens: int, turns_max: int | None = None) -> list[int]:
    """Indexes of the turns that have to go, in order, so that those which may go leave at most `tokens` and
    `turns_max` turns. System turns count in neither: whoever asks has taken their length off.
    """
    spans = _exchanges(turns)
    over = _Over(turns, spans, tokens, turns_max)
    gone: list[int] = []
    while len(spans) > 1 and over:
        gone += over.drop(spans.pop(0))
    if spans and over:
        rounds = _rounds(turns, spans[0])
        while len(rounds) > 1 and over:
            gone += over.drop(rounds.pop(0))
    return gone


def newest_exchanges(turns: Sequence[Turned], turns_max: int) -> int:
    """Index of the first turn of the newest exchanges that have together at most so many turns; at least the newest
    one counts. All before it may be summarised.
    """
    spans = _exchanges(turns)
    count, begin = 0, len(turns)
    for position, span in enumerate(reversed(spans)):
        count += len(span)
        if position and count > turns_max:
            break
        begin = span[0]
    return begin


class _Over:
    """What is left, against what may be. True while it is too much."""

    def __init__(self, turns: Sequence[Turned], spans: list[list[int]], tokens: int, turns_max: int | None) -> None:
        self._turns = turns
        self._tokens = sum(turns[index].tokens for span in spans for index in span) - tokens
        self._count = sum(map(len, spans)) - (turns_max if turns_max is not None else len(turns))

    def __bool__(self) -> bool:
        return self._tokens > 0 or self._count > 0

    def drop(self, span: list[int]) -> list[int]:
        self._tokens -= sum(self._turns[index].tokens for index in span)
        self._count -= len(span)
        return span


def _exchanges(turns: Sequence[Turned]) -> list[list[int]]:
    found: list[list[int]] = []
    for index, turn in enumerate(turns):
        if turn.role is Role.SYSTEM:
            continue
        if not found or turn.role is Role.USER:
            found.append([])
        found[-1].append(index)
    return found


def _rounds(turns: Sequence[Turned], exchange: list[int]) -> list[list[int]]:
    """Its rounds of tools: each begins at the first assistant's turn after something else."""
    found: list[list[int]] = []
    before = Role.USER
    for index in exchange:
        role = turns[index].role
        if role is Role.ASSISTANT and before is not Role.ASSISTANT:
            found.append([])
        if found:
            found[-1].append(index)
        before = role
    return found
