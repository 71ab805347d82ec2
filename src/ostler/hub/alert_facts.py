"""What the alert rules look at, read off the scheduler's books. O(open tasks + limits)."""

from collections.abc import Iterable, Iterator

from ostler.alerts.facts import AllowanceFact, Facts, LastHour, LimitFact
from ostler.budget.limits import Level, Standing, amount_text, standing
from ostler.budget.subscriptions import subscription_standing
from ostler.domain.commands import Applied, Command, PutCalls
from ostler.domain.limits import Limit, ScopeKind
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Task
from ostler.hub.life_signs import LifeSigns
from ostler.scheduling.books import Books
from ostler.telemetry.durable import events_of

SUCCEEDED, FAILED, CALLS, LOST = "succeeded", "failed", "calls", "lost"
_BAD_ENDS = frozenset({"task.retry_wait", "task.failed", "task.dead_letter", "task.reclaimed"})
_SILENT = (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING)
_PERCENT = 100


class Counted:
    """Counts what is durable, for the rules about the last hour."""

    def __init__(self) -> None:
        self.hour = LastHour()

    def observe(self, applied: Iterable[tuple[Command, Applied]]) -> None:
        """Count commands that are durable now."""
        found = list(applied)
        for event in events_of(found):
            self.event(event.name, event.at_ms, has_model=event.metadata.get("model") is not None)
            if event.name == "call.records_dropped":
                self.hour.add(LOST, event.at_ms, int(event.measurements.get("dropped", 0)))
        for command, _ in found:
            if isinstance(command, PutCalls):
                for record in command.records:
                    self.call(record.at_ms, record.failure)

    def event(self, name: str, at_ms: int, *, has_model: bool) -> None:
        """Count an event."""
        if name == "task.succeeded":
            self.hour.add(SUCCEEDED, at_ms)
        elif name in _BAD_ENDS:
            self.hour.add(FAILED, at_ms)
        elif name == "task.started" and has_model:
            self.hour.add(CALLS, at_ms)

    def call(self, at_ms: int, failure: FailureClass | None) -> None:
        """Count a live call; one whose client hung up went neither well nor badly."""
        self.hour.add(CALLS, at_ms)
        if failure is not FailureClass.CANCELLED:
            self.hour.add(SUCCEEDED if failure is None else FAILED, at_ms)


def facts_of(
    books: Books,
    signs: LifeSigns,
    counted: Counted,
    now_ms: int,
    *,
    worker_seen: bool,
    limits_known: Iterable[tuple[str, str]] = (),
) -> Facts:
    """A hub at this instant. `limits_known`: limits and whose they are that alerts are raised about."""
    hour = counted.hour.total(now_ms)
    tasks = books.tasks
    asking = tuple(tasks.in_state(TaskState.NEEDS_HUMAN).values())
    return Facts(
        now_ms=now_ms,
        queued=len(tasks.in_state(TaskState.QUEUED)),
        workers=len(books.workers),
        worker_needed=worker_seen or bool(tasks),
        needs_human=len(asking),
        needs_human_example=min((task.id for task in asking), default=""),
        unanswered=dict(_unanswered(asking, now_ms)),
        stuck={task.id: _silent_ms(task, signs, now_ms) for task in tasks.in_any(_SILENT)},
        tiers_down=dict(books.tier_down_since),
        succeeded=hour[SUCCEEDED],
        failed=hour[FAILED],
        calls=hour[CALLS],
        records_lost=hour[LOST],
        limits=tuple(_limits(books, now_ms, limits_known)),
        allowances=tuple(_allowances(books, now_ms)),
    )


def _unanswered(asking: Iterable[Task], now_ms: int) -> Iterator[tuple[str, str]]:
    for task in asking:
        question = task.failure.question if task.failure is not None else None
        if question is not None and question.default is None and (question.deadline_ms or now_ms + 1) <= now_ms:
            yield task.id, question.owner


def _silent_ms(task: Task, signs: LifeSigns, now_ms: int) -> int:
    sign = signs.of(task.id, task.generation)
    heard_ms = sign.heard_ms if sign is not None else task.updated_ms
    return max(0, now_ms - max(heard_ms, task.updated_ms))


def _limits(books: Books, now_ms: int, known: Iterable[tuple[str, str]]) -> Iterator[LimitFact]:
    named = {*books.crossed, *known}
    for limit in books.policy.budget.limits:
        for value in sorted({value for name, value in named if name == limit.name} | _always(limit)):
            found = standing(limit, value, now_ms, books.money.spent, parts=books.parts.of)
            if found is not None and found.level is not Level.OK:
                yield LimitFact(
                    limit=limit.name,
                    of=value,
                    exhausted=found.level is Level.EXHAUSTED,
                    said=_said(found),
                    used_percent=_PERCENT * (1 - found.left_share),
                )


def _always(limit: Limit) -> set[str]:
    """Whose a limit is in any case; one that each provider, session, ... has for itself is asked by what is known."""
    return {limit.of or ""} if limit.of or limit.scope is ScopeKind.ALL else set()


def _said(one: Standing) -> str:
    of, unit = f" of {one.value}" if one.value else "", one.limit.unit
    bound = one.ceiling if one.level is Level.EXHAUSTED and one.ceiling is not None else one.limit.soft
    held = f" and {amount_text(one.held, unit)} held" if one.held else ""
    held += f" here and {amount_text(one.elsewhere, unit)} in other pools" if one.elsewhere else ""
    until = f" of {amount_text(bound, unit)}" if bound is not None else ""
    return f"limit {one.limit.name}{of}: {amount_text(one.used, unit)}{held}{until} used"


def _allowances(books: Books, now_ms: int) -> Iterator[AllowanceFact]:
    for subscription in books.policy.budget.subscriptions:
        found = subscription_standing(subscription, now_ms, books.money.spent)
        for one in found.allowances:
            yield AllowanceFact(
                provider=subscription.provider,
                allowance=one.allowance.name,
                used_percent=one.used_percent,
                warn_percent=subscription.warn_percent,
                resets_ms=one.resets_ms,
            )
