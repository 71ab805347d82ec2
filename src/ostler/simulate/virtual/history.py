"""What really happened as a workload, so that it can be run again under other rules; and what it came to, as figures.

Each task arrives when it arrived, with its needs and wishes. Its true length is that of its last attempt without the
load: on the model that it ran on; on another one it follows from the tokens that were counted. What never ran has the
usual length. Tasks that people cancelled or that still run are left out, and counted; so are needs on tasks outside.

What the figures of history cannot know stays unknown: loads and swaps, when nobody counted them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.catalog import EndpointSpec
from ostler.domain.money import tokens_cost_micro_usd
from ostler.domain.policy import Policy
from ostler.domain.states import FINAL_STATES, FailureClass, TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec
from ostler.hub.simulated import Miss, Result, Saved
from ostler.simulate.virtual.figures import MISSES_SHOWN, spread
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.jobs import Job, Workload
from ostler.simulate.virtual.records import Setting
from ostler.simulate.virtual.rivals import run_rival

MINUTE_MS = 60_000


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the hub remembers it, and its last attempt."""

    task: Task
    spec: TaskSpec
    attempt: Attempt | None = None


def history_workload(history: Sequence[Past], name: str) -> Workload:
    """What happened, in order of arrival, the first at 0."""
    kept = sorted((past for past in history if _counts(past)), key=lambda past: (past.task.created_ms, past.task.seq))
    known = {past.task.id for past in kept}
    start_ms = kept[0].task.created_ms if kept else 0
    jobs = tuple(_job(past, known, start_ms) for past in kept)
    rules = [f"{len(jobs)} tasks of the hub, each at its own time and with the length it had"]
    if left_out := len(history) - len(kept):
        rules.append(f"{left_out} tasks left out: cancelled by hand, or not ended yet")
    return Workload(name=name, jobs=jobs, rules=tuple(rules))


def _counts(past: Past) -> bool:
    task = past.task
    by_hand = task.state is TaskState.CANCELLED and (
        task.failure is None or task.failure.kind is not FailureClass.DEPENDENCY
    )
    return task.state in FINAL_STATES and not by_hand


def _job(past: Past, known: set[str], start_ms: int) -> Job:
    usage = past.attempt.usage if past.attempt is not None else None
    return Job(
        spec=msgspec.structs.replace(
            past.spec,
            needs=tuple(need for need in past.spec.needs if need in known),
            endpoint=None,
            not_before_ms=None,
        ),
        arrival_ms=past.task.created_ms - start_ms,
        prompt_tokens=usage.input_tokens if usage is not None and usage.input_tokens else None,
        output_tokens=usage.output_tokens if usage is not None and usage.output_tokens else None,
        duration_ms=work_ms(past),
        duration_on=past.task.model,
    )


def work_ms(past: Past) -> int | None:
    """How long the last attempt worked, the load of its model not counted; `None` = it never ran."""
    attempt = past.attempt
    if attempt is None or attempt.started_ms is None or attempt.finished_ms is None:
        return None
    load_ms = attempt.usage.load_ms if attempt.usage is not None else None
    return max(1, attempt.finished_ms - attempt.started_ms - (load_ms or 0))


def waited_ms(past: Past) -> int | None:
    """From eligible until the model worked on it, or until it was given up; `None` = it was never eligible."""
    task = past.task
    if task.eligible_ms is None or task.finished_ms is None:
        return None
    worked_ms = work_ms(past) if task.state is TaskState.SUCCEEDED else None
    return max(0, task.finished_ms - (worked_ms or 0) - task.eligible_ms)


def history_result(history: Sequence[Past], policy: Policy, name: str = "as it happened") -> Result:
    """The figures of what happened. Prices are those of the policy's profile."""
    kept = [past for past in history if _counts(past)]
    good = [past for past in kept if past.task.state is TaskState.SUCCEEDED]
    bad = [past for past in kept if past.task.state is not TaskState.SUCCEEDED]
    costs = [_cost(past, policy) for past in kept]
    first_ms = min((past.task.created_ms for past in kept), default=0)
    return Result(
        policy=name,
        kind="history",
        fleet="the hub's own machines",
        tasks=len(kept),
        succeeded=len(good),
        makespan_ms=max((past.task.finished_ms or first_ms for past in kept), default=first_ms) - first_ms,
        wait=spread(wait for past in kept if (wait := waited_ms(past)) is not None),
        turnaround=spread((past.task.finished_ms or 0) - past.task.created_ms for past in good),
        loads=None,
        swaps=None,
        swap_ms=None,
        cost_micro_usd=sum(cost or 0 for cost in costs),
        unpriced=sum(cost is None for cost in costs),
        missed=dict(sorted(Counter(past.task.state.value for past in bad).items())),
        misses=tuple(_miss(past) for past in bad[:MISSES_SHOWN]),
        by_model=dict(sorted(Counter(past.task.model or "" for past in good).items())),
    )


def _miss(past: Past) -> Miss:
    failure = past.task.failure
    reason = failure.message if failure is not None else ""
    return Miss(task=past.task.id, state=past.task.state.value, reason=reason)


def _cost(past: Past, policy: Policy) -> int | None:
    attempt = past.attempt
    if attempt is None or attempt.endpoint is None or attempt.model is None:
        return 0
    endpoint = policy.catalog.endpoints.get(attempt.endpoint)
    if endpoint is not None and endpoint.local:
        return 0
    model = policy.catalog.models.get(attempt.model)
    if model is None or model.input_usd_per_mtok is None or model.output_usd_per_mtok is None or attempt.usage is None:
        return None
    into = tokens_cost_micro_usd(attempt.usage.input_tokens, model.input_usd_per_mtok)
    return into + tokens_cost_micro_usd(attempt.usage.output_tokens, model.output_usd_per_mtok)


def with_endpoints(policy: Policy, specs: Sequence[EndpointSpec], serves: Mapping[str, frozenset[str]]) -> Policy:
    """A policy with the endpoints that a hub has, each with the models that it was found to serve."""
    catalog = policy.catalog
    found = {spec.name: msgspec.structs.replace(spec, models=tuple(sorted(serves[spec.name]))) for spec in specs}
    return msgspec.structs.replace(policy, catalog=msgspec.structs.replace(catalog, endpoints=found))


def minutes_saved(history: Sequence[Past], fleet: Fleet, setting: Setting | None = None) -> Saved:
    """What the scheduler saved against first-in-first-out: the same tasks through the simulated rival `fifo`.

    Compared is waiting, summed over the tasks that succeeded both ways; work itself takes as long under any order. The
    machines of `fleet` start empty in the simulation, as they may not have in reality: over a stretch with few loads
    that is to the disadvantage of first-in-first-out by at most one load for each machine.
    """
    good = [past for past in history if past.task.state is TaskState.SUCCEEDED and waited_ms(past) is not None]
    workload = history_workload(good, "the last tasks")
    run = run_rival("fifo", workload, fleet, setting)
    pairs = [
        (waited_ms(past) or 0, ending.wait_ms or 0)
        for past in good
        if (ending := run.endings[past.task.id]).state == "succeeded"
    ]
    happened_ms, fifo_ms = sum(ours for ours, _ in pairs), sum(theirs for _, theirs in pairs)
    swaps = sum(site.swaps for site in run.sites.values())
    minutes = (fifo_ms - happened_ms) / MINUTE_MS
    return Saved(
        tasks=len(pairs),
        minutes=minutes,
        happened_wait_ms=happened_ms,
        fifo_wait_ms=fifo_ms,
        fifo_swaps=swaps,
        said=_said(len(pairs), minutes, happened_ms, fifo_ms, swaps),
    )


def _said(tasks: int, minutes: float, happened_ms: int, fifo_ms: int, swaps: int) -> str:
    if not tasks:
        return "no task ended in this time, so there is nothing to compare"
    waits = (
        f"{tasks} tasks waited {happened_ms / MINUTE_MS:.1f} minutes in all; first-in-first-out, simulated, would have"
        f" made them wait {fifo_ms / MINUTE_MS:.1f} minutes, with {swaps} swaps"
    )
    verdict = f"{abs(minutes):.1f} minutes {'saved' if minutes >= 0 else 'lost against it'}"
    return f"{waits}: {verdict}"
