"""What is left when everything is over, as data: taken from outside, and from the database by plain queries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ostler.app.ledgers import ledger_of
from ostler.config.settings import HubSettings
from ostler.domain.ledger import LedgerEntry, LedgerQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.store.rows import decode_task
from tests.crash.upstream import Call, Together

_PAGE = 5_000
_EVENTS = "SELECT task_id, name, count(*) FROM event WHERE task_id IS NOT NULL GROUP BY task_id, name"


class Database(NamedTuple):
    """What the database says."""

    tasks: Mapping[str, Task]
    events: Counter[tuple[str, str]]
    """(task, name of the event) -> how many."""
    ledger: Mapping[str, Sequence[LedgerEntry]]
    """Attempt as the ledger names it -> its entries in order."""


class Evidence(NamedTuple):
    """All of it. `log`: (word, task, generation) as the commands wrote it; `frozen`: by program, from when to when."""

    acknowledged: frozenset[str]
    sent: frozenset[str]
    log: Sequence[tuple[str, str, int]]
    calls: Sequence[Call]
    together: Sequence[Together]
    frozen: Mapping[str, Sequence[tuple[float, float]]]
    database: Database


def read_log(text: str) -> list[tuple[str, str, int]]:
    r"""The lines of the commands.

    >>> read_log("start t4.2 100\nend t4.2 100\n")
    [('start', 't4', 2), ('end', 't4', 2)]
    """
    found: list[tuple[str, str, int]] = []
    for line in text.splitlines():
        word, attempt, _ = line.split()
        task, _, generation = attempt.rpartition(".")
        found.append((word, task, int(generation)))
    return found


def read_database(settings: HubSettings) -> Database:
    """Beside or after its hub."""
    reader = ledger_of(settings)
    nothing: list[tuple[object, ...]] = []
    bodies = reader.read(lambda run, _: list(run("SELECT body FROM task", ())), nothing)
    counted = reader.read(lambda run, _: list(run(_EVENTS, ())), nothing)
    tasks = [decode_task(str(body)) for (body,) in bodies]
    ledger: dict[str, list[LedgerEntry]] = {}
    after = 0
    while page := reader.entries(LedgerQuery(after_seq=after, limit=_PAGE)):
        for entry in page:
            ledger.setdefault(entry.attempt, []).append(entry)
        after = page[-1].seq
    events = Counter({(str(task), str(name)): int(str(count)) for task, name, count in counted})
    return Database({task.id: task for task in tasks}, events, ledger)


def open_tasks(counts: Mapping[str, int], final: frozenset[TaskState]) -> int:
    """How many have not ended, as `status` counts."""
    return sum(count for state, count in counts.items() if TaskState(state) not in final)
