"""Tasks that name an agent take on its role: what they leave open is filled in, once, when they are handed in.

What is filled in stands in the stored task, so that a later change of the file changes no task that was accepted. The
name of a tier stays a name: which model it is decides the dispatch.
"""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ostler.domain.agents import AgentRole, AgentShelf
from ostler.domain.errors import InvalidInputError, Problem, nearest
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.routing.ladder import Ladder


def no_agents() -> AgentShelf:
    """A hub that was told no folders."""
    return AgentShelf()


class RoleDesk:
    """The agents of a hub. `read` looks at the files anew; it may block."""

    def __init__(self) -> None:
        self.read: Callable[[], AgentShelf] = no_agents

    async def taken_on(self, specs: Sequence[TaskSpec], policy: Policy) -> Sequence[TaskSpec]:
        """The tasks as they are with the roles they name. Raises `InvalidInputError`."""
        if all(spec.agent is None for spec in specs):
            return specs
        shelf = await asyncio.to_thread(self.read)
        return [spec if spec.agent is None else _named(spec, spec.agent, shelf, policy) for spec in specs]


def _named(spec: TaskSpec, name: str, shelf: AgentShelf, policy: Policy) -> TaskSpec:
    where = f"task {spec.id}, agent"
    if spec.kind is TaskKind.COMMAND:
        what = "a command takes on no role"
        raise InvalidInputError(what, where=where, remedy="leave agent out, or make it a task of kind agent or chat")
    role = shelf.roles.get(name)
    if role is None and name in shelf.problems:
        first = shelf.problems[name][0]
        raise InvalidInputError(f"the file of agent '{name}' is refused: {first}", where=where, remedy="correct it")
    if role is None:
        remedy = nearest(name, shelf.roles) if shelf.roles else "the hub has no agents: set agents.folders"
        raise InvalidInputError(f"there is no agent '{name}'", where=where, remedy=remedy)
    problem = check_model(role, policy) if _takes_model(spec) else None
    if problem is not None:
        raise InvalidInputError(f"{problem.where}: {problem.what}", where=where, remedy=problem.remedy)
    return with_role(spec, role, policy)


def with_role(spec: TaskSpec, role: AgentRole, policy: Policy) -> TaskSpec:
    """A task with the role it names. Pure.

    The prompt of the role comes first, what the task's own `system` says after it.
    """
    model, tier, fallback = spec.model, spec.tier, spec.fallback_models
    if role.model is not None and _takes_model(spec):
        tier, model = (role.model, None) if is_tier(role.model, policy) else (None, role.model)
        fallback = fallback or role.fallback_models
    return replace(
        spec,
        system="\n\n".join(part for part in (role.prompt, spec.system) if part),
        tier=tier,
        model=model,
        fallback_models=fallback,
        role=spec.role or role.role,
        tools=spec.tools or role.tools,
        runner=spec.runner or role.runner if spec.kind is TaskKind.AGENT else spec.runner,
        task_type=spec.task_type or role.task_type,
        context_tokens=spec.context_tokens or role.context_tokens,
        max_output_tokens=spec.max_output_tokens or role.max_output_tokens,
        timeout_s=spec.timeout_s if spec.timeout_s is not None else role.timeout_s,
        local_only=spec.local_only or role.local_only,
    )


def _takes_model(spec: TaskSpec) -> bool:
    """Whether the task leaves open which model does it."""
    return spec.model is None and spec.tier is None


def check_model(role: AgentRole, policy: Policy) -> Problem | None:
    """What is wrong with the model that a file names, by a profile; `None`: nothing."""
    if role.model is None or is_tier(role.model, policy):
        return None
    known = {*policy.catalog.models, *policy.catalog.model_aliases}
    if role.model in known:
        return None
    ladder = Ladder(policy.catalog)
    names = {tier.name for tier in ladder.models} | set(policy.catalog.tier_aliases) | known
    what = f"neither a tier nor a model of the profile is called '{role.model}'"
    return Problem(what, where=f"{role.model_place} model", remedy=nearest(role.model, names))


def is_tier(name: str, policy: Policy) -> bool:
    """Whether a name is that of a tier or an alias of one."""
    return Ladder(policy.catalog).find(name) is not None
