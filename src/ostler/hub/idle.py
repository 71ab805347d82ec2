"""Why nothing runs (or not more): the binding constraint in one sentence.

What stands first holds: a store that fails; work that runs; a person who is waited for; then the wait reasons. Of tasks
that wait for others only the roots count: a hundred tasks behind one that is paused wait for that one. Of several
reasons the one that holds the most work, those behind it included, is named. O(open tasks + their needs).
"""

from collections import Counter
from collections.abc import Iterable

from ostler.domain.states import LEASED_STATES, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task, TaskKind
from ostler.hub.pulse_views import Idle
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


def binding(books: Books, tasks: Iterable[Task], failing: str = "") -> Idle:
    """What keeps these tasks from running. `failing`: what the store says when it cannot write."""
    tasks = list(tasks)
    if failing:
        return Idle(code="store", sentence=f"the store cannot write: {failing}", remedy="see to the disk")
    if not tasks:
        return Idle(code="none", sentence="nothing is open: all work has ended")
    roots = _roots(books, tasks)
    running = sum(task.state in LEASED_STATES for task in tasks)
    waiting = {name: weight for name, weight in roots.items() if books.tasks[name].state not in LEASED_STATES}
    if not waiting:
        return Idle(code="busy", sentence=f"{running} run, and nothing else could start")
    held = _held_by_people(books, waiting)
    rest = {name: weight for name, weight in waiting.items() if name not in held}
    if held and not rest:
        return _person(books, held, running)
    return _reason(books, rest, running)


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


def _held_by_people(books: Books, waiting: Counter[str] | dict[str, int]) -> dict[str, int]:
    return {name: weight for name, weight in waiting.items() if books.tasks[name].state is TaskState.NEEDS_HUMAN}


def _person(books: Books, held: dict[str, int], running: int) -> Idle:
    name = max(held, key=lambda one: (held[one], -books.tasks[one].seq))
    task = books.tasks[name]
    why = task.failure.message if task.failure is not None else "it needs a person"
    behind = f", and {sum(held.values()) - len(held)} wait behind" if sum(held.values()) > len(held) else ""
    others = f"{len(held)} tasks need" if len(held) > 1 else f"{name} needs"
    first = f" (first {name}: {why})" if len(held) > 1 else f" ({why})"
    sentence = f"{_running(running)}{others} a person{first}{behind}"
    asks = task.failure is not None and task.failure.kind is FailureClass.QUESTION
    then = f"'ostler answer {name} TEXT'" if asks else f"'ostler why {name}', then 'ostler tasks retry {name}'"
    return Idle(code="needs_human", sentence=sentence, remedy=then)


def _reason(books: Books, waiting: dict[str, int], running: int) -> Idle:
    weights: Counter[WaitCode] = Counter()
    example: dict[WaitCode, tuple[str, Wait]] = {}
    for name in sorted(waiting, key=lambda one: books.tasks[one].seq):
        wait = _wait_of(books, books.tasks[name])
        weights[wait.code] += waiting[name]
        example.setdefault(wait.code, (name, wait))
    code = max(weights, key=lambda one: (one is not WaitCode.READY, weights[one], one.value))
    name, wait = example[code]
    number = "1 task waits" if weights[code] == 1 else f"{weights[code]} tasks wait"
    detail = f" ({wait.detail})" if wait.detail else ""
    return Idle(
        code=code.value,
        sentence=f"{_running(running)}{number}: {WORDS[code]}{detail or _about(books, books.tasks[name], code)}",
        # A detail that names a verb says already what to do.
        remedy="" if "'ostler " in detail else REMEDIES.get(code, "").replace("ID", name),
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
