"""Which tasks a verdict speaks for.

Two tasks with the same key, asked at the same instant on the same fleet under the same policy, get verdicts of the same
kind, on the same tier, with the same places that could take them; only what hangs on their own time in the queue can
differ (when the fallback may be used). Of what a task is, a verdict depends on: where its search begins, from where
steps are counted, what it pins, locality, capabilities, which windows are large enough, and where it failed before.
Prompt length and repo move scores, never what is possible, and are left out.

A hub that starts puts every waiting task into its class, so what many tasks have in common is worked out once: where
the search begins for tasks that ask the same and have not failed, the windows of a catalogue, the scopes of a budget.

The scheduler adds what a worker must offer (kind, requirements, pinned worker): that is matching, not routing.
"""

from bisect import bisect_left
from collections.abc import Collection, Hashable
from functools import lru_cache

from msgspec.structs import replace

from ostler.domain.catalog import Catalog
from ostler.domain.limits import BudgetPolicy, Limit, ScopeKind
from ostler.domain.live import LiveCall
from ostler.domain.policy import Policy
from ostler.domain.tasks import Task, TaskFacts, TaskKind
from ostler.routing.aim import Aim, find_aim, is_open, types_of
from ostler.routing.effective import effective
from ostler.routing.ladder import Ladder, Same, ladder_of


def route_class(facts: TaskFacts, task: Task, policy: Policy) -> tuple[Hashable, ...]:
    """The key of a task. Valid under this policy version only: a changed profile means new keys."""
    ladder = ladder_of(policy.catalog)
    asked, facts = facts, effective(facts, model_step=task.model_step, handed_tokens=task.handed_tokens)
    if facts.kind is TaskKind.COMMAND:
        return _DIRECT
    aim = _aim(facts, task, policy, ladder)
    if aim.direct:
        return _DIRECT
    if aim.start is None and not facts.fallback_models:
        return ("no_route", aim.requested, aim.blocked, facts.model == asked.model)
    return (
        aim.start.name if aim.start is not None else aim.blocked,
        aim.from_direct,
        # What outcomes leave out, and whether it is there to find out: without money for that it goes elsewhere.
        (aim.weighing.spared, aim.weighing.explored) if aim.weighing is not None else None,
        facts.model,
        facts.model == asked.model,
        # Beside the models that may stand in: where the search for each begins.
        tuple((model, _start(facts, model, task, policy, ladder)) for model in facts.fallback_models),
        facts.endpoint,
        facts.kind is TaskKind.AGENT,  # it calls models through the hub, which does not reach them all
        facts.local_only,
        tuple(sorted(facts.capabilities)),
        window_bucket(facts.context_tokens, policy.catalog),
        # What is left when results have to be cut; the same for tasks without any.
        window_bucket(asked.context_tokens, policy.catalog),
        tuple(sorted(set(task.excluded))),
        tuple(sorted(facts.only_models)),
        tuple(sorted(facts.only_tiers)),
        # Where not everything is allowed, only an open choice looks downward too.
        bool(facts.only_models or facts.only_tiers) and facts.tier is not None,
    )


_DIRECT = ("direct",)
AIMS_MAX = 1_000
"""So many are kept for a policy; models that tasks name may be any."""


def _aim(facts: TaskFacts, task: Task, policy: Policy, ladder: Ladder) -> Aim:
    """As `find_aim`. What the same is asked for begins at the same tier, unless it has failed, or outcomes speak."""
    failed = task.quality_steps or task.errors or facts.recent_errors
    if failed or (policy.learned and is_open(facts)):
        return find_aim(facts, quality_steps=task.quality_steps, errors=task.errors, policy=policy, ladder=ladder)
    asked = (facts.classification.complexity, types_of(facts))
    key = (asked, facts.kind, facts.has_command, facts.tier, facts.model, facts.endpoint is None)
    known = _aims(Same(policy))
    aim = known.get(key)
    if aim is None:
        if len(known) >= AIMS_MAX:
            known.clear()
        aim = known[key] = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder)
    return aim


@lru_cache(maxsize=8)
def _aims(_policy: Same[Policy]) -> dict[Hashable, Aim]:
    """What was worked out under a policy."""
    return {}


def charged_apart(budget: BudgetPolicy, facts: TaskFacts) -> tuple[Hashable, ...] | None:
    """Whose limits count a task, as far as tasks of one class may differ in it: critical or not, and its session, tick,
    batch or itself where such limits are set. `None` = nothing limits at all.
    """
    if not budget.limits and not budget.subscriptions:
        return None
    values: list[Hashable] = [facts.critical]
    for kind in _own_scopes(Same(budget)):
        if kind is ScopeKind.SESSION:
            values.append(facts.session)
        elif kind is ScopeKind.TICK:
            values.append((facts.session, facts.tick))
        else:
            values.append(facts.batch if kind is ScopeKind.BATCH else facts.id)
    return tuple(values)


@lru_cache(maxsize=8)
def _own_scopes(budget: Same[BudgetPolicy]) -> tuple[ScopeKind, ...]:
    """Scopes of limits of which each session, tick, batch or task has its own."""
    kinds = {limit.scope for limit in budget.value.limits}
    own = (ScopeKind.SESSION, ScopeKind.TICK, ScopeKind.BATCH, ScopeKind.TASK)
    return tuple(kind for kind in own if kind in kinds)


_PERSONAL = (ScopeKind.KEY, ScopeKind.TASK, ScopeKind.SESSION, ScopeKind.TICK, ScopeKind.BATCH)


def calls_apart(limits: Collection[Limit], call: LiveCall) -> tuple[Hashable, ...]:
    """The same of a live call: critical or not, and whose it is as far as limits ask."""
    kinds = {limit.scope for limit in limits}
    return (call.facts.critical, *(call.charged.of(kind) for kind in _PERSONAL if kind in kinds))


def _start(facts: TaskFacts, model: str, task: Task, policy: Policy, ladder: Ladder) -> str | None:
    other = replace(facts, model=model)
    aim = find_aim(other, quality_steps=task.quality_steps, errors=task.errors, policy=policy, ladder=ladder)
    return aim.start.name if aim.start is not None else None


def window_bucket(context_tokens: int, catalog: Catalog) -> int:
    """How many of the catalogue's distinct windows are too small for the need."""
    return bisect_left(_windows(Same(catalog)), context_tokens)


@lru_cache(maxsize=8)
def _windows(catalog: Same[Catalog]) -> list[int]:
    models = catalog.value.models.values()
    return sorted({model.context_tokens for model in models if model.context_tokens is not None})


CONTEXT_FLOOR_TOKENS = 4_096
"""Needs up to this are one class: nothing is loaded with less."""
SHAPE_WITHOUT_LENGTHS = 14
"""So much of a shape says what a call may use; the rest is how long it is."""


def call_shape(facts: TaskFacts) -> tuple[Hashable, ...]:
    """All of a live call that a decision depends on, apart from when it is asked: equal shapes are one question."""
    found = facts.classification
    return (
        facts.kind,
        facts.has_command,
        facts.tier,
        facts.model,
        facts.fallback_models,
        facts.endpoint,
        facts.local_only,
        tuple(sorted(facts.capabilities)) if facts.capabilities else (),
        tuple(sorted(facts.only_models)) if facts.only_models else (),
        tuple(sorted(facts.only_tiers)) if facts.only_tiers else (),
        facts.recent_errors,
        facts.repo,
        found.complexity,
        found.task_type,
        facts.context_tokens,
        facts.prompt_tokens,
        facts.output_tokens,
        facts.expected_ms,
        found,  # moves nothing, but the record says it
    )


def call_class(shape: tuple[Hashable, ...], context_tokens: int) -> tuple[Hashable, ...]:
    """The key of a waiting live call: as `route_class`, but of its shape alone, so that it costs next to nothing.

    Windows are told apart by octaves: what is loaded changes while calls wait. Whoever becomes the head of a class is
    decided for on its own.
    """
    return (*shape[:SHAPE_WITHOUT_LENGTHS], max(context_tokens, CONTEXT_FLOOR_TOKENS).bit_length())
