"""Tasks: the list with search and filter, and the page of one task with its attempts and decisions."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ostler.domain.decision import Decision, Estimate
from ostler.domain.errors import OstlerError
from ostler.domain.event import Event
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Attempt, Task, Usage
from ostler.hub.api import HubApi
from ostler.hub.board_views import Charge, Find
from ostler.hub.views import TaskAnswer
from ostler.routing.explain import Section, explain
from ostler.web.pages.view import Ask, View

PAGE = 50
EVENTS_SHOWN = 100
GROUPS: Mapping[str, tuple[TaskState, ...]] = {
    "open": tuple(sorted(set(TaskState) - FINAL_STATES)),
    "running": tuple(sorted(LEASED_STATES)),
    "queued": (TaskState.QUEUED, TaskState.SCHEDULED, TaskState.RETRY_WAIT),
    "needs": (TaskState.NEEDS_HUMAN,),
    "succeeded": (TaskState.SUCCEEDED,),
    "bad": (TaskState.DEAD_LETTER, TaskState.EXPIRED, TaskState.FAILED),
    "cancelled": (TaskState.CANCELLED,),
}
"""What the filter offers, and the states it stands for."""


class Actual(NamedTuple):
    """One line of what was expected beside what it took; `None` = not known."""

    name: str
    expected: int | None
    actual: int | None
    kind: str
    """`ms` or `usd`."""


class RouteCard(NamedTuple):
    """A decision to be shown."""

    decision: Decision
    sections: tuple[Section, ...]
    scoring_us: int | None


class Try(NamedTuple):
    """One attempt with the decision that sent it there and what it came to."""

    attempt: Attempt
    card: RouteCard | None
    charge: Charge | None
    actuals: tuple[Actual, ...]


async def listing(api: HubApi, ask: Ask) -> View:
    """Tasks, newest first, by words and states."""
    text, group, batch = ask.word("q"), ask.word("state"), ask.word("batch")
    states = GROUPS.get(group) or tuple(state for state in TaskState if state.value == group)
    find = Find(text=text, states=states, batch=batch or None, limit=PAGE, before_seq=ask.number("before"))
    found = await api.board.find(find)
    return View(
        template="tasks.html",
        title="Tasks",
        section="tasks",
        data={
            "found": found,
            "q": text,
            "group": group if states else "",
            "batch": batch,
            "before": find.before_seq,
            "ranks": ranks_of(api),
        },
        regions=("tasks/rows.html",),
    )


def ranks_of(api: HubApi) -> dict[str, int]:
    """Tier -> its step on the ladder."""
    return {tier.name: tier.rank for tier in api.board.tiers()}


async def one(api: HubApi, ask: Ask) -> View:
    """Everything about one task."""
    answer = await api.task(ask.names["id"])
    why = await api.why(answer.task.id)
    charges = await api.board.charges(answer.task.id, [attempt.generation for attempt in answer.attempts])
    held = why.decision if answer.task.state is TaskState.QUEUED and why.wait is not None else None
    return View(
        template="task.html",
        title=answer.task.title or answer.task.id,
        section="tasks",
        data={
            "answer": answer,
            "task": answer.task,
            "why": why,
            "tries": tuple(tries(answer, charges)),
            "pending": _card(held, None) if held is not None and not _is_known(held, answer) else None,
            "events": answer.events[-EVENTS_SHOWN:],
            "events_left_out": max(0, len(answer.events) - EVENTS_SHOWN),
            "ranks": ranks_of(api),
            "may": allowed_verbs(answer.task),
        },
        regions=("task/head.html", "task/tries.html", "task/output.html", "task/facts.html", "task/events.html"),
    )


def _is_known(decision: Decision, answer: TaskAnswer) -> bool:
    return any(decision == known for known in answer.decisions)


def allowed_verbs(task: Task) -> tuple[str, ...]:
    """What may be done with a task in its state, the likeliest first."""
    if task.state is TaskState.NEEDS_HUMAN:
        return ("retry", "cancel")
    if task.state in FINAL_STATES:
        return () if task.state is TaskState.SUCCEEDED else ("retry",)
    if task.state in LEASED_STATES:
        return ("cancel",)
    return ("resume", "cancel") if task.paused else ("pause", "cancel")


def tries(answer: TaskAnswer, charges: Mapping[int, Charge]) -> Iterable[Try]:
    """The attempts, the newest first."""
    decisions = {decision.generation: decision for decision in answer.decisions}
    times = scoring_times(answer.events)
    for attempt in reversed(answer.attempts):
        number = attempt.generation
        decision = decisions.get(number)
        charge = charges.get(number)
        card = _card(decision, times.get(number)) if decision is not None else None
        actuals = compared(decision.estimate, attempt, charge, decision) if decision is not None else ()
        yield Try(attempt, card, charge, actuals)


def _card(decision: Decision, scoring_us: int | None) -> RouteCard:
    return RouteCard(decision, explain(decision), scoring_us)


def scoring_times(events: Iterable[Event]) -> dict[int, int]:
    """Attempt -> microseconds that its decision took: each is told just before or after the attempt is assigned."""
    routed: list[int] = []
    assigned: list[int] = []
    for event in events:
        if event.name == "scheduler.route" and "scoring_duration_us" in event.measurements:
            routed.append(int(event.measurements["scoring_duration_us"]))
        elif event.name == "task.assigned":
            assigned.append(int(event.metadata.get("generation") or len(assigned) + 1))
    return dict(zip(assigned, routed, strict=False))


def compared(
    estimate: Estimate | None, attempt: Attempt, charge: Charge | None, decision: Decision
) -> tuple[Actual, ...]:
    """What the decision expected beside what it took."""
    if estimate is None:
        return ()
    usage = attempt.usage or Usage()
    started_ms, ended_ms = attempt.started_ms, attempt.finished_ms
    whole = ended_ms - decision.decided_ms if ended_ms is not None else None
    waited = started_ms - decision.decided_ms if started_ms is not None else None
    cost = charge.micro_usd if charge is not None and not charge.open else None
    rows = (
        Actual("until it starts", estimate.queue_ms, waited, "ms"),
        Actual("loading the model", estimate.load_ms, usage.load_ms, "ms"),
        Actual("reading the prompt", estimate.prefill_ms, usage.prefill_ms, "ms"),
        Actual("writing the answer", estimate.decode_ms, usage.decode_ms, "ms"),
        Actual("in all", estimate.finish_ms, whole, "ms"),
        Actual("cost", estimate.cost_micro_usd, cost, "usd"),
    )
    return tuple(row for row in rows if row.expected or row.actual)


async def output(api: HubApi, ask: Ask) -> View:
    """The whole output of a task on a page of its own."""
    answer = await api.task(ask.names["id"])
    if answer.output is None:
        raise NothingYetError(f"{answer.task.id} has no output yet", remedy="it comes with the end of an attempt")
    return View(template="output.html", title=f"Output of {answer.task.id}", section="tasks", data={"answer": answer})


class NothingYetError(OstlerError):
    """There is nothing to show yet."""

    http_status = 404
    code = "nothing_yet"
