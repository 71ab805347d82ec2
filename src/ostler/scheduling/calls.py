"""The live calls that wait or run: in memory only, for as long as somebody waits for them.

Invariants: a call is in `known` from its offer until it ended, was denied or withdrawn, and then is forgotten; it is in
`waiting` exactly while it is in the queue, there under a name that no task can have. It holds a slot exactly while it
has a `dispatch`.
"""

from collections.abc import Hashable

import msgspec

from ostler.domain.limits import Limit
from ostler.domain.live import Dispatch, LiveCall
from ostler.routing.classes import call_shape

LIVE_FIRST = -(1 << 62)
"""Among work of one priority somebody who waits for an answer comes before what was put into the queue."""
CALLS_PER_MS_BITS = 20


Question = tuple[tuple[Hashable, ...], tuple[str, ...], tuple[Limit, ...]]
"""(shape of the facts, places where it has failed, limits of its own)."""


class Live(msgspec.Struct, kw_only=True):
    """One live call."""

    call: LiveCall
    name: str
    """What it is called in the queue and in the books of hosts."""
    place: int
    """Its place among those of its priority."""
    question: Question
    """What it asks, without when and who: equal ones have equal answers."""
    dispatch: Dispatch | None = None
    """Where it runs."""
    held: str = ""
    """Its attempt in the ledger while that holds money."""


class Calls:
    """All live calls."""

    def __init__(self) -> None:
        self.known: dict[str, Live] = {}
        self.waiting: dict[str, Live] = {}
        """By their names in the queue."""
        self.due: list[str] = []
        """Ids of those whose deadline has come in this turn."""
        self.since_turn = 0
        """Calls that were let run since tasks last had their turn before them (see `turns`)."""
        self._newest_ms = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self.known)

    @property
    def running(self) -> int:
        """How many hold a slot."""
        return len(self.known) - len(self.waiting)

    def add(self, call: LiveCall) -> Live:
        """Take a call in: those of one millisecond by the order in which they are offered."""
        self._count = self._count + 1 if call.offered_ms == self._newest_ms else 0
        self._newest_ms = call.offered_ms
        place = LIVE_FIRST + (call.offered_ms << CALLS_PER_MS_BITS) + self._count
        question = (call_shape(call.facts), call.excluded, call.limits)
        live = self.known[call.id] = Live(call=call, name=f"\0call {call.id}", place=place, question=question)
        return live
