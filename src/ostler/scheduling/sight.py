"""The fleet as one round sees it, and what the round has found for whole kins of classes.

Classes of one kin (`lines`) differ only in whose limits count them. What a decision found for one of them without
asking any limit is found for all; and as places only become fewer within a round, that they wait stays true until its
end. So a kin costs one decision, however many classes of it are looked at.
"""

from collections.abc import Hashable

from msgspec.structs import replace

from ostler.domain.decision import Hold
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.states import WaitCode
from ostler.domain.tasks import TaskFacts, TaskKind
from ostler.scheduling.books import Turn
from ostler.scheduling.lines import Apart, ClassKey, Line, kin_of
from ostler.scheduling.offering import Offers
from ostler.scheduling.verdicts import Asked

_ALIKE = frozenset({WaitCode.CAPACITY, WaitCode.NO_WORKER})
"""Reasons that are about places and workers alone. Others hang on when each task was queued, or on money."""


class Sight:
    """What is looked at when the first decision needs it, and is the same in the whole round."""

    def __init__(self, turn: Turn, offers: Offers) -> None:
        self._turn = turn
        self._seen: FleetSnapshot | None = None
        self.offers = offers
        self.sums = Asked(turn.books.money.spent)
        """What limits are asked of the ledger."""
        self.decisions = 0
        """Heads that were decided for in this round."""
        self.kinds: set[TaskKind] = set()
        """Kinds of work of which at least one was."""
        self._unreached: dict[tuple[object, ...], tuple[TaskFacts, frozenset[str]]] = {}
        self._alike: dict[Hashable, tuple[Hold, tuple[str, ...]]] = {}
        """Kins that wait: why, and for what."""

    def snapshot(self) -> FleetSnapshot:
        """The fleet, for decisions."""
        if self._seen is None:
            self._seen = replace(self._turn.books.snapshot(self._turn.now_ms), spent=self.sums)
        return self._seen

    def unreached(self, facts: TaskFacts) -> frozenset[str]:
        """Endpoints tied to a machine of which nobody is free for it, looked at once for all that need the same of a
        worker and kept up to date by `taken`.
        """
        wanted = (facts.kind, facts.requires, facts.worker, facts.repo)
        known = self._unreached.get(wanted)
        if known is None:
            known = self._unreached[wanted] = facts, self._unreached_now(facts)
        return known[1]

    def _unreached_now(self, facts: TaskFacts) -> frozenset[str]:
        books = self._turn.books
        few = books.workers.few_free(facts)
        if few is None or facts.kind is TaskKind.AGENT or not books.workers.is_any_free(facts.kind):
            return books.workers.unreached(facts, books.endpoints.tied.values())
        return books.endpoints.tied_names.difference(*(books.reached_from(session_id) for session_id in few))

    def taken(self, session_id: str, kind: TaskKind) -> None:
        """A slot of a worker was given away: what it reaches may be reached by nobody any more."""
        books = self._turn.books
        if books.workers.is_free(session_id, kind):
            return
        if not books.workers.is_any_free(kind):
            self._unreached.clear()  # then it is not the place that matters
            return
        beside = [books.endpoints.tied[name] for name in books.reached_from(session_id)]
        for wanted, (facts, known) in self._unreached.items():
            if facts.kind is kind:
                lost = [spec.name for spec in beside if not books.workers.any_at(spec, facts)]
                self._unreached[wanted] = facts, known.union(lost)

    def found(self, key: ClassKey, hold: Hold, names: tuple[str, ...]) -> None:
        """A class was decided to wait: that is remembered for its kin, if it is true of all of it."""
        is_about_money = hold.limited or self.sums.were
        if isinstance(key, Apart) and hold.wait.code in _ALIKE and not (is_about_money or self._turn.books.hosts):
            self._alike[key.kin] = hold, names

    def of_kin(self, key: ClassKey) -> tuple[Hold, tuple[str, ...]] | None:
        """Why and for what all of its kin wait, if that was found."""
        return self._alike.get(kin_of(key))

    def speaks_for(self, key: ClassKey, line: Line, before: Hold | None) -> bool:
        """Whether what was just found for the first of a line changes nothing for the others: it waits on, in the same
        line, and for the same reason as `before`.
        """
        queue = self._turn.books.queue
        task_class = queue.classes.get(key)
        if task_class is None or task_class.hold is None or before is None or line.kin not in self._alike:
            return False
        now, was = task_class.hold.wait, before.wait
        is_same = now.code is was.code and (now.code is WaitCode.CAPACITY or now.detail == was.detail)
        return is_same and queue.lines.of(key) is line
