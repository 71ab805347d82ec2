"""Books of one plan in force: places of its tasks, turns of its hosts, what has ended, what was not foreseen."""

from collections.abc import Iterable, Mapping

from ostler.domain.tasks import Task
from ostler.planning import guide as plans
from ostler.planning.ground import WORKERS
from ostler.planning.guide import Guide


class Followed:
    """A guide, and how far it has come. `seqs`: arrival of each of its tasks that is not final. `known`: places to
    run that there were to choose from.

    The tasks share the places in the queue that they have by arrival, in the order of the plan: those of others keep
    theirs, before, between and after.
    """

    def __init__(self, guide: Guide, seqs: Mapping[str, int], known: Iterable[str] = ()) -> None:
        self.guide = guide
        order = [row.task for row in guide.placements if row.task in seqs]
        self.places: dict[str, int] = dict(zip(order, sorted(seqs.values()), strict=True))
        """Task -> the place it has in the queue instead of its arrival."""
        self.allowed_ms = plans.late_after_ms(guide)
        self.starts_ms = {row.task: guide.started_ms + row.start_ms for row in guide.placements}
        """Task -> when the plan has it start; no order, only what patience and back-fill are reckoned from."""
        self.host_of = {row.task: row.host for row in guide.placements}
        """Task -> where the plan has it run."""
        self.commands_ms = {row.task: row.end_ms - row.start_ms for row in guide.placements if row.host == WORKERS}
        """Commands -> how long the plan has them run."""
        self.finished: set[str] = set()
        self.hosts = {row.host for row in guide.placements}
        self.known = set(known) | self.hosts
        """Hosts and endpoints that could be used when it was adopted, whether it uses them or not."""
        self.gone: set[str] = set()
        """Hosts of the plan that went away since it was made."""
        self.reasons: list[str] = []
        """What was not foreseen and has not been asked about yet."""
        self.asked_ms: int | None = None
        self._turns = plans.turns(guide)

    def turn_now(self, host: str) -> tuple[plans.Turn, ...]:
        """The turn of a host and those after it; empty when the plan has nothing more for it."""
        rows = self._turns.get(host, ())
        rest = plans.turn_now(rows, self.finished) if rows else ()
        if len(rest) != len(rows):
            self._turns[host] = rest  # what is over is passed once
        return rest


def patient_from_ms(following: Mapping[str, Followed], task: Task, queued_ms: int) -> int:
    """From when a waiting task's patience counts: not before the plan that it belongs to would have started it."""
    followed = following.get(task.batch) if task.batch is not None else None
    return queued_ms if followed is None else max(queued_ms, followed.starts_ms.get(task.id, queued_ms))


def host_of(following: Mapping[str, Followed], task: Task) -> str | None:
    """The host on which a plan in force has a task run."""
    followed = following.get(task.batch) if task.batch is not None else None
    return None if followed is None else followed.host_of.get(task.id)


def place_of(following: Mapping[str, Followed], task: Task, usual: int) -> int:
    """Place of a task among those of its priority: the one that a plan in force gives it, else the `usual` one."""
    followed = following.get(task.batch) if task.batch is not None else None
    return usual if followed is None else followed.places.get(task.id, usual)
