"""`ostler plan`: a pipeline and a profile to a plan with its certificate, its rivals and its what-ifs.

Here routing (which models may do a task) meets planning (where and when); the search itself is pure and is handed its
time and its chance.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from ostler.app.options import STRATEGIES, PlanOptions, Tell
from ostler.app.plan_notes import over_slots
from ostler.app.plan_search import RULES, Search
from ostler.app.plan_views import Claim, PlanError, PlanReport, Row
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.sizes import BYTES_PER_PARAMETER, FoundModel, size_billions
from ostler.config.units import parse_bytes
from ostler.domain.errors import InvalidInputError, Problem, nearest
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskSpec
from ostler.planning.certificate import Certificate
from ostler.planning.figures import figures
from ostler.planning.frontier import best_at, frontier
from ostler.planning.ground import WORKERS, Ground, Machine, ground, with_copies, with_machines
from ostler.planning.instance import Instance, checked
from ostler.planning.phases import broken_needs, left_out
from ostler.planning.pipeline import Pipeline, claimed_order, derived_phases
from ostler.planning.plan import Plan
from ostler.planning.problem import Posed, Wanted, pose
from ostler.planning.strategies import planned
from ostler.planning.whatif_words import question
from ostler.routing.ladder import Ladder
from ostler.scheduling.wanted import meant_models, wanted

COPIES_MAX = 64
SECONDS_MIN, SECONDS_MAX, TASKS_A_SECOND = 2.0, 10.0, 20
FRONTIER_PLANS = 24
"""Calls of the planner for money against time."""


def plan(pipeline: Pipeline, options: PlanOptions, tell: Tell) -> PlanReport:
    """Plan a pipeline. Raises `PlanError` with every task that cannot be planned, `InvalidInputError` for options."""
    if options.strategy not in STRATEGIES:
        remedy = nearest(options.strategy, STRATEGIES)
        raise InvalidInputError(f"no strategy '{options.strategy}'", where="--strategy", remedy=remedy)
    profile = load_profile(options.profile, os.environ)
    posed = posed_problem(pipeline, options, profile)
    instance = checked(posed.instance)
    search = Search(instance, seconds=options.seconds or _usual_seconds(instance), seed=options.seed, tell=tell)
    chosen = search.plan(options.strategy)
    claim = _claim(pipeline, instance)
    names = _names(pipeline, profile.policy)
    first = {task.id: "+".join(task.choices[0].models) for task in instance.tasks}
    compared = _comparison(search, claim) if options.compare else ()
    return PlanReport(
        name=pipeline.name,
        instance=instance,
        plan=chosen,
        figures=figures(instance, chosen),
        certificate=search.certificate,
        names=names,
        phases=derived_phases({task.id: task.needs for task in instance.tasks}, first),
        claim=claim,
        comparison=compared,
        what_if=_what_ifs(search, options, names),
        frontier=_frontier(search, options),
        notes=(*posed.notes, *over_slots(chosen, profile.policy.catalog)),
    )


def _usual_seconds(instance: Instance) -> float:
    """Long enough for what the search can still find, short enough to wait for."""
    return min(SECONDS_MAX, SECONDS_MIN + len(instance.tasks) / TASKS_A_SECOND)


def posed_problem(pipeline: Pipeline, options: PlanOptions, profile: LoadedProfile) -> Posed:
    """The problem of a request, checked task by task. Raises `PlanError` with every task that has no place."""
    policy = profile.policy
    tasks, problems = _wanted(pipeline.specs, policy)
    where = _ground(pipeline, options, profile)
    price = options.minute_price_usd if options.minute_price_usd is not None else policy.routing.minute_price_usd
    price_micro_usd = round(price * MICRO_USD_PER_USD)
    posed = pose(tasks, where, policy.catalog, minute_price_micro_usd=price_micro_usd, name=pipeline.name)
    problems += posed.problems
    if problems:
        raise PlanError(_placed(problem, options.places) for problem in problems)
    return posed


def _placed(problem: Problem, places: Mapping[str, str]) -> Problem:
    """The same with the line of its task in front. Ids may hold dots."""
    task = max((name for name in places if f"{problem.where}.".startswith(f"{name}.")), key=len, default="")
    place = places.get(task)
    return problem if place is None else Problem(problem.what, where=f"{place} {problem.where}", remedy=problem.remedy)


def _wanted(specs: Sequence[TaskSpec], policy: Policy) -> tuple[list[Wanted], list[Problem]]:
    found: list[Wanted] = []
    problems: list[Problem] = []
    for spec in specs:
        try:
            found.append(wanted(spec, policy))
        except InvalidInputError as error:
            where = f"{spec.id}.{error.where}" if error.where else spec.id
            problems.append(Problem(error.what, where=where, remedy=error.remedy))
    return found, problems


def _names(pipeline: Pipeline, policy: Policy) -> dict[str, str]:
    """What the pipeline calls its models: the first name it uses for each."""
    ladder = Ladder(policy.catalog)
    names: dict[str, str] = {}
    for spec in pipeline.specs:
        for name in (spec.model, *spec.fallback_models):
            meant = meant_models(name, policy, ladder) if name is not None else ()
            if len(meant) == 1 and name is not None:
                names.setdefault(meant[0], name)
    return names


def _ground(pipeline: Pipeline, options: PlanOptions, profile: LoadedProfile) -> Ground:
    policy = profile.policy
    ladder = Ladder(policy.catalog)
    most = pipeline.limit
    slots = dict.fromkeys(policy.catalog.models, most) if most is not None else {}
    for name, count in pipeline.slots.items():
        slots |= {model: count if most is None else min(count, most) for model in meant_models(name, policy, ladder)}
    unsized = [name for name, spec in policy.catalog.models.items() if spec.memory_bytes is None]
    guesses = {name: size_billions(FoundModel(name=name)) for name in unsized}
    base = ground(
        policy.catalog,
        slots=slots,
        sizes={name: round(size * BYTES_PER_PARAMETER * 1e9) for name, size in guesses.items() if size is not None},
        resident=options.resident if options.resident is not None else None if options.preloaded else {},
        command_slots=min(profile.worker.slots.command, most or profile.worker.slots.command),
    )
    found = _with_hosts(base, options.hosts) if options.hosts else base
    return msgspec.structs.replace(found, notes=(*found.notes, *_on_limits(pipeline, found)))


def _on_limits(pipeline: Pipeline, where: Ground) -> tuple[str, ...]:
    """What a plan holds for each host by itself and a run for all together."""
    several = len([host for host in where.hosts if host.name != WORKERS]) > 1
    notes = []
    if pipeline.slots and several:
        notes.append("slots of the file: held for each host here, by a run for all hosts together")
    if pipeline.limit is not None:
        notes.append(f"limit {pipeline.limit}: held for each model of each host here, by a run for all together")
    return tuple(notes)


def _with_hosts(base: Ground, text: str) -> Ground:
    """Other machines: a number of copies, or names with their memory."""
    if text.isdecimal():
        if not 1 <= int(text) <= COPIES_MAX:
            raise InvalidInputError(f"{text} copies of the hosts", where="--hosts", remedy=f"use 1 to {COPIES_MAX}")
        return with_copies(base, int(text))
    machines: dict[str, Machine] = {}
    for part in text.split(","):
        name, _, memory = (word.strip() for word in part.partition("="))
        try:
            size = parse_bytes(memory)
        except ValueError:
            size = 0
        if not name or not size:
            remedy = "write NAME=MEMORY, as in box=64GB,box2=32GB, or a number of copies"
            raise InvalidInputError(f"cannot read '{part.strip()}'", where="--hosts", remedy=remedy)
        if name in machines:
            raise InvalidInputError(f"two hosts are called '{name}'", where="--hosts", remedy="rename one")
        machines[name] = Machine(name=name, memory_bytes=size)
    try:
        return with_machines(base, tuple(machines.values()))
    except ValueError as error:
        raise InvalidInputError(
            str(error), where="--hosts", remedy="declare one with its endpoint and models"
        ) from None


def _row(name: str, instance: Instance, found: Plan, bound: Certificate | None = None) -> Row:
    told = figures(instance, found)
    return Row(
        name=name,
        makespan_ms=told.makespan_ms,
        loads=told.loads,
        swap_ms=told.swap_ms,
        idle_ms=told.idle_ms,
        cost_micro_usd=told.cost_micro_usd,
        bound_ms=bound.bound_ms if bound is not None else None,
        detail=found.detail,
    )


def _comparison(search: Search, claim: Claim | None) -> tuple[Row, ...]:
    """All strategies, and the declared order as it is and mended. Bounds last: the exact solver may raise them."""
    plans = {name: search.plan(name) for name in STRATEGIES} | search.rivals()
    rows = [_row(name, search.instance, found, search.certificate) for name, found in plans.items()]
    if claim is None:
        return tuple(rows)
    if claim.broken:
        detail = f"breaks {len(claim.broken)} of the needs, see declared phases"
        rows.append(Row(name="as declared", detail=detail, broken=claim.broken))
    if claim.mended is not None:
        name = "as declared, mended" if claim.broken else "as declared"
        rows.append(msgspec.structs.replace(claim.mended, name=name, bound_ms=search.certificate.bound_ms))
    return tuple(rows)


def _what_ifs(search: Search, options: PlanOptions, names: Mapping[str, str]) -> tuple[Row, ...]:
    """The plan as it is, and one for each question."""
    if not options.what_if:
        return ()
    questions = [question(_by_own_names(text, names), search.instance) for text in options.what_if]
    rows = [_row("as it is", search.instance, *search.solved(options.strategy))]
    for asked in questions:
        said = asked.said
        for model in sorted(names, key=len, reverse=True):
            said = said.replace(model, names[model])
        search.tell(f"what if: {said}")
        rows.append(_row(said, asked.after, *search.another(asked.after).solved(options.strategy)))
    return tuple(rows)


def _by_own_names(text: str, names: Mapping[str, str]) -> str:
    """A question with the models' own names where it uses those of the pipeline."""
    kind, sign, change = text.partition("=")
    models, colon, rest = change.rpartition(":")
    if kind.strip() not in ("allow", "slots") or not colon:
        return text
    own = {name: model for model, name in names.items()}
    meant = ",".join(own.get(word.strip(), word.strip()) for word in models.split(","))
    return f"{kind}{sign}{meant}{colon}{rest}"


def _frontier(search: Search, options: PlanOptions) -> tuple[Row, ...]:
    """Money against time, where time can be bought."""
    if not search.buys():
        return ()
    search.tell("money against time")

    def planner(instance: Instance) -> Plan:
        other = search.another(instance)
        return other.plan(options.strategy) if options.strategy in RULES else other.quick()

    points = frontier(search.instance, planner, plans=FRONTIER_PLANS)
    best = best_at(points, search.instance.minute_price_micro_usd)
    rows = []
    for point in points:
        row = _row(point.plan.strategy, search.instance, point.plan)
        detail = "best at this price of a minute" if point is best else ""
        rows.append(msgspec.structs.replace(row, detail=detail))
    return tuple(rows)


def _claim(pipeline: Pipeline, instance: Instance) -> Claim | None:
    """The declared phases against the needs; where they hold all tasks, the plan that follows them too."""
    if not pipeline.phases:
        return None
    order = claimed_order(pipeline.phases)
    missing = left_out(order, instance)
    mended = None
    if not missing:
        followed = planned(instance, "hybrid", order, repair=True)
        mended = _row("declared phases", instance, followed)
    return Claim(
        phases=tuple(phase.name for phase in pipeline.phases),
        broken=tuple(str(pair) for pair in broken_needs(order, instance)),
        left_out=missing,
        mended=mended,
    )
