"""What to do after an attempt failed: one table, before the first byte of an answer has left.

rate limit, quota, overload    elsewhere; where there is nothing else, wait for it, or say when to come back
server, network, cut, ...      elsewhere; where there is nothing else, once more at the same place
model missing, no memory       elsewhere only
timeout, stalled               elsewhere only: it has cost enough time there
auth, refusal, policy          the caller is told; never routed around
context, capability            the caller is told, if it was the place first chosen; a stand-in that cannot take
                               the request is skipped
"""

from enum import StrEnum

from ostler.domain.states import FailureClass

_F = FailureClass


class Move(StrEnum):
    """The next step of a call."""

    TELL = "tell"
    """The caller gets the failure."""
    ELSEWHERE = "elsewhere"
    """Another place, or nothing."""
    ELSEWHERE_OR_AGAIN = "elsewhere_or_again"
    """Another place, else once more the same one."""
    ELSEWHERE_OR_WAIT = "elsewhere_or_wait"
    """Another place, else in line until the same one takes calls again."""


_MOVES = {
    _F.RATE_LIMIT: Move.ELSEWHERE_OR_WAIT,
    _F.QUOTA: Move.ELSEWHERE_OR_WAIT,
    _F.OVERLOADED: Move.ELSEWHERE_OR_WAIT,
    _F.SERVER: Move.ELSEWHERE_OR_AGAIN,
    _F.NETWORK: Move.ELSEWHERE_OR_AGAIN,
    _F.CUT: Move.ELSEWHERE_OR_AGAIN,
    _F.MALFORMED: Move.ELSEWHERE_OR_AGAIN,
    _F.TIMEOUT: Move.ELSEWHERE,
    _F.STALLED: Move.ELSEWHERE,
    _F.MODEL_MISSING: Move.ELSEWHERE,
    _F.NO_ENDPOINT: Move.ELSEWHERE,
    _F.OUT_OF_MEMORY: Move.ELSEWHERE,
}
_CANNOT_TAKE = frozenset({_F.CONTEXT_TOO_LONG, _F.CAPABILITY})
_WHOLE_ENDPOINT = frozenset({_F.RATE_LIMIT, _F.QUOTA, _F.OVERLOADED, _F.NETWORK})


def next_move(kind: FailureClass, *, stand_in: bool) -> Move:
    """What a failure asks for. `stand_in`: the attempt was not the call's first choice."""
    if kind in _CANNOT_TAKE and stand_in:
        return Move.ELSEWHERE
    return _MOVES.get(kind, Move.TELL)


def excluded_by(kind: FailureClass, endpoint: str, model: str) -> str:
    """What the next attempt leaves out: the endpoint when all of it is concerned, else the model on it."""
    return endpoint if kind in _WHOLE_ENDPOINT else f"{endpoint}/{model}"
