"""Why nothing runs (or not more): the binding constraint in one sentence.

What stands first holds: a store that fails; work that runs; a person who is waited for; then the wait reasons. Of tasks
that wait for others only the roots count: a hundred tasks behind one that is paused wait for that one. Of several
reasons the one that holds the most work, those behind it included, is named.

Of all tasks it is read off what the scheduler has counted (`why_idle`); those of a batch are walked (`binding`). Both
weigh alike. Cost: O(reasons + tasks that others stand behind + tasks that need a person), and O(tasks + their needs).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ostler.domain.states import LEASED_STATES, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task, TaskKind
from ostler.hub.pulse_views import Idle
from ostler.hub.waiting import every_waiting
from ostler.scheduling.books import Books

REMEDIES = {
    WaitCode.NO_WORKER: "start a worker that allows it: 'ostler worker --hub URL', see 'ostler workers list'",
    WaitCode.ENDPOINT_DOWN: "see 'ostler endpoints list'; it goes on by itself when one answers again",
    WaitCode.BUDGET: "'ostler budget status' shows the limits; raise one, or wait for its next window",
    WaitCode.PAUSED: "'ostler tasks resume ID' or 'ostler batch NAME --resume' lets it go on",
    WaitCode.NO_ROUTE: "'ostler why ID' says what no model of the profile can do",
    WaitCode.APPROVAL: "somebody has to approve it",
}
WORDS = {
    WaitCode.READY: "about to start",
    WaitCode.CAPACITY: "all slots are taken",
    WaitCode.NO_WORKER: "no worker can take it",
    WaitCode.FALLBACK_WAIT: "its tier is not available, the next one is not tried yet",
    WaitCode.ENDPOINT_DOWN: "no endpoint answers",
    WaitCode.QUOTA_UNTIL: "the provider wants us to come back later",
    WaitCode.MODEL_SWAP: "its model has to be loaded",
    WaitCode.BUDGET: "a limit of the budget is reached",
    WaitCode.APPROVAL: "it waits for an approval",
    WaitCode.PAUSED: "it is paused",
    WaitCode.NO_ROUTE: "no model can do it",
    WaitCode.SCHEDULED: "it is not to start yet",
    WaitCode.RETRY: "it failed and is tried again",
    WaitCode.DEPS: "it needs tasks that have not succeeded",
}


class Weighed(NamedTuple):
    """What tasks wait for in the end, and how many wait for it: those that stand behind others count where these do."""

    running: int
    asking: int
    """Tasks that need a person."""
    behind: int
    """How many wait behind these."""
    asks: str
    """The one of them that holds the most."""
    weights: dict[WaitCode, int]
    """Every other reason."""
    examples: dict[WaitCode, str]
    """A task that waits for it."""


def why_idle(books: Books, failing: str = "") -> Idle:
    """What keeps all that is open from running. `failing`: what the store says when it cannot write."""
    return _told(books, weighed(books), failing, is_over=not books.tasks)


def binding(books: Books, tasks: Iterable[Task], failing: str = "") -> Idle:
    """The same of some of the tasks."""
    tasks = list(tasks)
    return _told(books, walked(books, tasks), failing, is_over=not tasks)


def _told(books: Books, found: Weighed, failing: str, *, is_over: bool) -> Idle:
    if failing:
        return Idle(code="store", sentence=f"the store cannot write: {failing}", remedy="see to the disk")
    if is_over:
        return Idle(code="none", sentence="nothing is open: all work has ended")
    if found.weights:
        return _reason(books, found)
    if found.asking:
        return _person(books, found)
    return Idle(code="busy", sentence=f"{found.running} run, and nothing else could start")


def weighed(books: Books) -> Weighed:
    """Of all open tasks, by what is counted."""
    tasks, behind = books.tasks, books.dependencies.behind
    weights: Counter[WaitCode] = Counter()
    examples: dict[WaitCode, str] = {}
    for name, count, wait in _groups(books):
        weights[wait.code] += count
        known = examples.get(wait.code)
        if known is None or tasks[name].seq < tasks[known].seq:
            examples[wait.code] = name
    held = 0
    for name, size in behind.roots():
        task = tasks.get(name)
        if task is not None and task.state is TaskState.NEEDS_HUMAN:
            held += size
        elif task is not None and task.state not in LEASED_STATES:
            weights[_wait_of(books, task).code] += size
    asking = tasks.in_state(TaskState.NEEDS_HUMAN)
    return Weighed(
        running=sum(len(tasks.in_state(state)) for state in LEASED_STATES),
        asking=len(asking),
        behind=held,
        asks=max(asking, key=lambda name: (behind.size(name), -asking[name].seq), default=""),
        weights=weights,
        examples=examples,
    )


def _groups(books: Books) -> Iterator[tuple[str, int, Wait]]:
    """What waits for something else than other tasks."""
    for name, count, wait, _ in every_waiting(books):
        if wait.code is not WaitCode.DEPS:
            yield name, count, wait
    for state in (TaskState.RETRY_WAIT, TaskState.SCHEDULED):
        there = books.tasks.in_state(state)
        if there:
            first = next(iter(there.values()))
            yield first.id, len(there), _wait_of(books, first)


def walked(books: Books, tasks: Iterable[Task]) -> Weighed:
    """Of some tasks, by looking at each."""
    tasks = list(tasks)
    roots = _roots(books, tasks)
    weights: Counter[WaitCode] = Counter()
    examples: dict[WaitCode, str] = {}
    asking: dict[str, int] = {}
    for name in sorted(roots, key=lambda one: books.tasks[one].seq):
        task = books.tasks[name]
        if task.state is TaskState.NEEDS_HUMAN:
            asking[name] = roots[name]
        elif task.state not in LEASED_STATES:
            code = _wait_of(books, task).code
            weights[code] += roots[name]
            examples.setdefault(code, name)
    return Weighed(
        running=sum(task.state in LEASED_STATES for task in tasks),
        asking=len(asking),
        behind=sum(asking.values()) - len(asking),
        asks=max(asking, key=lambda name: (asking[name], -books.tasks[name].seq), default=""),
        weights=weights,
        examples=examples,
    )


def _roots(books: Books, tasks: list[Task]) -> Counter[str]:
    """What the open tasks wait for in the end -> how many wait for it, itself included. One that needs several is
    counted at the first by name.
    """
    roots: dict[str, str] = {}
    for task in tasks:
        path, name = list[str](), task.id
        while name not in roots:
            path.append(name)
            need = min((one for one in books.dependencies.missing(name) if one in books.tasks), default=None)
            if need is None:
                roots[name] = name
            else:
                name = need
        roots.update(dict.fromkeys(path, roots[name]))
    return Counter(roots[task.id] for task in tasks)


def _person(books: Books, found: Weighed) -> Idle:
    name = found.asks
    task = books.tasks[name]
    why = task.failure.message if task.failure is not None else "it needs a person"
    behind = f", and {found.behind} wait behind" if found.behind else ""
    others = f"{found.asking} tasks need" if found.asking > 1 else f"{name} needs"
    first = f" (first {name}: {why})" if found.asking > 1 else f" ({why})"
    sentence = f"{_running(found.running)}{others} a person{first}{behind}"
    asks = task.failure is not None and task.failure.kind is FailureClass.QUESTION
    then = f"'ostler answer {name} TEXT'" if asks else f"'ostler why {name}', then 'ostler tasks retry {name}'"
    return Idle(code="needs_human", sentence=sentence, remedy=then)


def _reason(books: Books, found: Weighed) -> Idle:
    weights = found.weights
    code = max(weights, key=lambda one: (one is not WaitCode.READY, weights[one], one.value))
    task = books.tasks[found.examples[code]]
    wait = _wait_of(books, task)
    number = "1 task waits" if weights[code] == 1 else f"{weights[code]} tasks wait"
    detail = f" ({wait.detail})" if wait.detail else ""
    return Idle(
        code=code.value,
        sentence=f"{_running(found.running)}{number}: {WORDS[code]}{detail or _about(books, task, code)}",
        # A detail that names a verb says already what to do.
        remedy="" if "'ostler " in detail else REMEDIES.get(code, "").replace("ID", task.id),
        next_check_ms=wait.next_check_ms,
    )


def _running(running: int) -> str:
    return f"{running} run; " if running else ""


def _about(books: Books, task: Task, code: WaitCode) -> str:
    if code is WaitCode.CAPACITY and task.batch is not None and books.batches.is_full(task.facts):
        return f" (batch {task.batch} runs {task.facts.batch_limit} at once)"
    if code is WaitCode.NO_WORKER and task.facts.kind is TaskKind.AGENT and task.facts.repo:
        return f" (an agent with the repository {task.facts.repo})"
    return f" (such as {task.id})"


def _wait_of(books: Books, task: Task) -> Wait:
    wait = books.queue.wait_of(task.id) or task.wait
    if wait is not None:
        return wait
    if task.state is TaskState.RETRY_WAIT:
        return Wait(code=WaitCode.RETRY, since_ms=task.updated_ms, next_check_ms=task.not_before_ms)
    return Wait(code=WaitCode.SCHEDULED, since_ms=task.created_ms, next_check_ms=task.not_before_ms)
