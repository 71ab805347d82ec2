"""Which tasks a verdict speaks for.

Two tasks with the same key, asked at the same instant on the same fleet under the same policy, get verdicts of the same
kind, on the same tier, with the same places that could take them; only what hangs on their own time in the queue can
differ (when the fallback may be used). Of what a task is, a verdict depends on: where its search begins, from where
steps are counted, what it pins, locality, capabilities, which windows are large enough, and where it failed before.
Prompt length and repo move scores, never what is possible, and are left out.

The scheduler adds what a worker must offer (kind, requirements, pinned worker): that is matching, not routing.
"""

from bisect import bisect_left
from collections.abc import Hashable

from ostler.domain.catalog import Catalog
from ostler.domain.policy import Policy
from ostler.domain.tasks import Task, TaskFacts
from ostler.routing.aim import find_aim
from ostler.routing.ladder import Ladder


def route_class(facts: TaskFacts, task: Task, policy: Policy) -> tuple[Hashable, ...]:
    """The key of a task. Valid under this policy version only: a changed profile means new keys."""
    ladder = Ladder(policy.catalog)
    aim = find_aim(facts, quality_steps=task.quality_steps, errors=task.errors, policy=policy, ladder=ladder)
    if aim.direct:
        return ("direct",)
    if aim.start is None:
        return ("no_route", aim.requested, aim.blocked)
    return (
        aim.start.name,
        aim.from_direct,
        facts.model,
        facts.endpoint,
        facts.local_only,
        tuple(sorted(facts.capabilities)),
        window_bucket(facts.context_tokens, policy.catalog),
        tuple(sorted(set(task.excluded))),
    )


def window_bucket(context_tokens: int, catalog: Catalog) -> int:
    """How many of the catalogue's distinct windows are too small for the need."""
    windows = sorted({model.context_tokens for model in catalog.models.values() if model.context_tokens is not None})
    return bisect_left(windows, context_tokens)
