"""What a task is to a planner: which models may do it, by the rules of routing. Pure.

Its own model, or those of the tier that it is routed to, then the ones that may stand in. A command, or work for tier
`direct`, wants no model.
"""

from ostler.domain.catalog import normal_model
from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.planning.problem import Wanted
from ostler.routing.aim import find_aim
from ostler.routing.facts import describe
from ostler.routing.ladder import Ladder, ladder_of


def wanted(spec: TaskSpec, policy: Policy, endpoints: frozenset[str] = frozenset()) -> Wanted:
    """What the task wants. `endpoints`: names registered beside the profile.

    Raises `InvalidInputError` for a task that cannot be run as written, or whose tier is disabled.
    """
    facts = describe(spec, policy, endpoints=endpoints)
    ladder = ladder_of(policy.catalog)
    aim = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder)
    if facts.kind is TaskKind.COMMAND or aim.direct:
        return Wanted(spec=spec)
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    if facts.model is not None:
        models = (facts.model,)
    elif aim.start is not None:
        models, providers = aim.start.models, aim.start.providers
    else:
        raise InvalidInputError(aim.blocked, where="tier", remedy="enable the tier, or name a model")
    return Wanted(
        spec=spec,
        models=tuple(dict.fromkeys((*models, *facts.fallback_models))),
        providers=() if facts.fallback_models else providers,
        prompt_tokens=facts.prompt_tokens,
        output_tokens=facts.output_tokens or policy.routing.default_output_tokens,
    )


def meant_models(name: str, policy: Policy, ladder: Ladder) -> tuple[str, ...]:
    """The models that a name stands for: a model, an alias, or a tier. An unknown name is taken as a model."""
    normal = normal_model(name)
    catalog = policy.catalog
    if normal in catalog.models or normal in catalog.model_aliases:
        return (catalog.model_aliases.get(normal, normal),)
    tier = ladder.find(normal.removeprefix("tier:"))
    return tier.models if tier is not None else (normal,)
