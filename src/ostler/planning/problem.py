"""From a pipeline and the machines there are to an `Instance`: the choices of each task, how long, at what price. Pure.

The choices of a task are its models in their order, the local way of a model before its cloud ways. A task takes as
long as its author expects; without a word on it, as long as its tokens take at the speeds of the model.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ostler.domain.catalog import Catalog, ModelSpec
from ostler.domain.errors import Problem, nearest
from ostler.domain.tasks import Priority, TaskKind, TaskSpec
from ostler.planning.ground import COMMAND, WORKERS, Ground
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, can_host

COMMAND_MS = 60_000
"""Of a command without an expected duration."""
WEIGHTS: Mapping[Priority, int] = {Priority.URGENT: 8, Priority.HIGH: 4, Priority.NORMAL: 2, Priority.LOW: 1}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A task and what routing found out about it."""

    spec: TaskSpec
    models: tuple[str, ...] = ()
    """Models that may do it, by their own names, the first one first; empty = it is a command."""
    providers: tuple[str, ...] = ()
    """Only endpoints of these; empty = of any."""
    prompt_tokens: int = 0
    output_tokens: int = 0


class Posed(msgspec.Struct, frozen=True, kw_only=True):
    """The problem, as far as it can be posed. `problems`: tasks that nothing here could ever run."""

    instance: Instance
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def pose(
    wanted: Sequence[Wanted], where: Ground, catalog: Catalog, *, minute_price_micro_usd: int, name: str = ""
) -> Posed:
    """The instance of these tasks on these hosts. Hosts that no task can use are left out."""
    tasks: list[PlanTask] = []
    problems: list[Problem] = []
    guessed: list[str] = []
    for item in wanted:
        choices = _choices(item, where, catalog)
        if not choices:
            problems.append(_nowhere(item, where, catalog))
        else:
            problems.extend(_misspelt(item, where, catalog))
        if item.spec.expected_ms is None:
            guessed.append(item.spec.id)
        tasks.append(_task(item.spec, choices))
    used = [host for host in where.hosts if any(can_host(way, host) for task in tasks for way in task.choices)]
    instance = Instance(hosts=tuple(used), tasks=tuple(tasks), minute_price_micro_usd=minute_price_micro_usd, name=name)
    return Posed(
        instance=instance,
        notes=(*where.notes, *_guesses(guessed), *_unpriced(tasks, where, catalog), *_agents(wanted)),
        problems=tuple(_advised_once(problems)),
    )


def _task(spec: TaskSpec, choices: tuple[Choice, ...]) -> PlanTask:
    return PlanTask(
        id=spec.id,
        choices=choices,
        needs=spec.needs,
        weight=WEIGHTS[spec.priority],
        optional=spec.optional,
        label=spec.title or spec.id,
        phase=spec.phase or "",
    )


def _guesses(tasks: Sequence[str]) -> tuple[str, ...]:
    if not tasks:
        return ()
    shown = ", ".join(tasks[:4]) + (f", ... ({len(tasks)})" if len(tasks) > 4 else "")  # noqa: PLR2004 -- a few
    return (f"no expected duration, guessed from tokens and speeds: {shown}",)


def _agents(wanted: Sequence[Wanted]) -> tuple[str, ...]:
    """Workers run few agents at once, whatever slots the models have; that is not part of the problem."""
    if any(item.spec.kind is TaskKind.AGENT for item in wanted):
        return ("slots of the workers for agents are not counted: enough workers have to be there",)
    return ()


def _choices(item: Wanted, where: Ground, catalog: Catalog) -> tuple[Choice, ...]:
    if not item.models:
        duration_ms = item.spec.expected_ms or COMMAND_MS
        return (Choice(models=(COMMAND,), duration_ms=duration_ms, hosts=(WORKERS,)),)
    choices: list[Choice] = []
    for model in dict.fromkeys(item.models):
        spec = catalog.models.get(model, ModelSpec(name=model))
        way = Choice(models=(model,), duration_ms=_duration_ms(item, spec))
        able = [host for host in _allowed(item, where) if can_host(way, host)]
        own = tuple(host.name for host in able if not host.cloud)
        clouds = tuple(host.name for host in able if host.cloud)
        everywhere = len(able) == sum(model in host.models for host in where.hosts)
        if own:
            choices.append(msgspec.structs.replace(way, hosts=() if everywhere and not clouds else own))
        if clouds:
            choices.append(msgspec.structs.replace(way, hosts=clouds, cost_micro_usd=_cost(item, spec)))
    return tuple(choices)


def _allowed(item: Wanted, where: Ground) -> list[PlanHost]:
    endpoint = item.spec.endpoint
    only = where.endpoints.get(endpoint) if endpoint is not None else None
    return [
        host
        for host in where.hosts
        if not (host.cloud and item.spec.local_only)
        and (endpoint is None or host.name == only)
        and (not item.providers or where.providers.get(host.name, frozenset()) & set(item.providers))
    ]


def _duration_ms(item: Wanted, model: ModelSpec) -> int:
    if item.spec.expected_ms is not None:
        return item.spec.expected_ms
    speeds = model.speeds
    prefill_ms = 1000 * item.prompt_tokens / speeds.prefill_tokens_per_s
    decode_ms = 1000 * item.output_tokens / speeds.decode_tokens_per_s
    return max(1, speeds.first_token_ms + round(prefill_ms + decode_ms))


def _cost(item: Wanted, model: ModelSpec) -> int:
    """Micro-dollars of the call: a dollar for a million tokens is a micro-dollar for one."""
    price = item.prompt_tokens * (model.input_usd_per_mtok or 0.0)
    return round(price + item.output_tokens * (model.output_usd_per_mtok or 0.0))


def _unpriced(tasks: Sequence[PlanTask], where: Ground, catalog: Catalog) -> tuple[str, ...]:
    clouds = {host.name for host in where.hosts if host.cloud and host.name != WORKERS}
    used = {model for task in tasks for way in task.choices if clouds & set(way.hosts) for model in way.models}
    unpriced = [name for name in sorted(used) if not _has_price(catalog.models.get(name))]
    return (f"no price is stated, counted as $0: {', '.join(unpriced)}",) if unpriced else ()


def _has_price(model: ModelSpec | None) -> bool:
    return model is not None and None not in (model.input_usd_per_mtok, model.output_usd_per_mtok)


def _misspelt(item: Wanted, where: Ground, catalog: Catalog) -> list[Problem]:
    """Other models of a task that neither a host nor the profile knows."""
    known = _having(where) | set(catalog.models)
    remedies = {model: _meant(model, known | set(catalog.model_aliases)) for model in item.models if model not in known}
    return [
        Problem(f"no host has the model '{model}'", where=f"{item.spec.id}.fallback", remedy=remedy)
        for model, remedy in remedies.items()
    ]


def _advised_once(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The same mistake at several places: each place is named, what to do is said at the first alone."""
    advised: set[tuple[str, str]] = set()
    for problem in problems:
        key = (problem.what, problem.remedy)
        yield Problem(problem.what, where=problem.where) if key in advised else problem
        advised.add(key)


def _having(where: Ground) -> set[str]:
    return {model for host in where.hosts if host.name != WORKERS for model in host.models}


def _meant(model: str, known: set[str]) -> str:
    """What to write instead of a model that nobody knows: the nearest one, else where the models come from."""
    remedy = nearest(model, known)
    return remedy if remedy.startswith("did you mean") else f"is this the right --profile? {remedy}"


def _nowhere(item: Wanted, where: Ground, catalog: Catalog) -> Problem:
    """Why no host can run a task: unknown models, or no room for them."""
    having = _having(where)
    known = having | set(catalog.model_aliases) | set(catalog.models)
    unknown = [model for model in item.models if model not in having]
    if unknown:
        what = f"no host has the model '{unknown[0]}'"
        remedy = "add an endpoint that serves it" if unknown[0] in catalog.models else _meant(unknown[0], known)
        return Problem(what, where=f"{item.spec.id}.model", remedy=remedy)
    if item.spec.local_only or item.spec.endpoint is not None:
        what = f"no host that it may use has {' or '.join(item.models)}"
        return Problem(what, where=item.spec.id, remedy="see its `local_only` and `endpoint`")
    what = f"no host has enough memory for {' or '.join(item.models)}"
    return Problem(what, where=item.spec.id, remedy="add a host or memory, or allow another model with `fallback:`")
