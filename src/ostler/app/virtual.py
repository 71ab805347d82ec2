"""`ostler simulate`: profiles and files to simulated fleets and workloads, and each policy run in virtual time."""

import os
from collections.abc import Iterable
from pathlib import Path
from random import Random

import msgspec

from ostler.app.logged import compare_logged
from ostler.app.options import PlanOptions, ReplayOptions, Told, WhatIfOptions
from ostler.app.plans import posed_problem
from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.sources import SUFFIXES, built_in_names
from ostler.config.units import parse_duration_ms
from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.simulated import Comparison, Result
from ostler.planning.instance import Instance, checked
from ostler.planning.pipeline import Pipeline
from ostler.planning.plan import Plan
from ostler.planning.planner import OWN, Maker, make_plan
from ostler.planning.ports import Dice, Effort
from ostler.planning.strategies import ORDERS
from ostler.planning.strategies import planned as strategy_plan
from ostler.simulate.virtual.figures import result_of
from ostler.simulate.virtual.fleet import Fleet, fleet_of, on_fleet
from ostler.simulate.virtual.history import Past, history_result, history_workload, with_endpoints
from ostler.simulate.virtual.jobs import Job, Lengths, Workload
from ostler.simulate.virtual.records import Outage, Progress, Setting
from ostler.simulate.virtual.requests import Scale
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.routers import ROUTERS
from ostler.simulate.virtual.scheduled import run_scheduled
from ostler.simulate.virtual.traces import trace_workload

TRACE_BYTES_MAX = 64 * 1024 * 1024
PLAN_STEPS = 2_000
"""Simulations that the search for a plan may take."""
MINUTE_MS = 60_000


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared: a profile, or a rival (then without one)."""

    name: str
    profile: LoadedProfile | None = None


def compare(options: WhatIfOptions, told: Told | None) -> Comparison:
    """Run a workload under each policy. Raises `InvalidInputError` for what cannot be read or simulated."""
    first, *others = options.policies
    entrants = [_entrant(first), *(_entrant(name, "--compare") for name in others)]
    home = _home(options, entrants)
    planned = None if options.plan is None else _planned(options, entrants[0])
    fleet = fleet_of(home.policy)
    workload = _workload(options, fleet)
    slots = home.worker.slots.command if TaskKind.COMMAND in home.worker.allow else 0
    setting = Setting(
        lengths=Lengths(options.seed, options.sigma),
        outages=tuple(_outage(text) for text in options.outages),
        command_slots=max(1, slots),
    )
    own = options.fleet is None
    results = [run_entrant(entrant, workload, fleet, setting, told, own=own) for entrant in entrants]
    rules = [*workload.rules, _machines_said(fleet)]
    if planned is not None:
        plan, rule = planned
        setting = msgspec.structs.replace(setting, plan=plan)
        follower = msgspec.structs.replace(entrants[0], name=f"{entrants[0].name}, planned")
        results.insert(1, run_entrant(follower, workload, fleet, setting, told, own=own))
        rules.append(rule)
    if options.sigma:
        rules.append(f"durations times log-normal noise, sigma {options.sigma:g}, the same under every policy")
    return Comparison(workload=workload.name, seed=options.seed, rules=tuple(rules), results=tuple(results))


def again(options: ReplayOptions, told: Told | None) -> Comparison:
    """What a hub did: as it happened, and simulated under its own profile and each of the others.

    Raises `InvalidInputError` when its machines cannot be simulated.
    """
    entrants = [_entrant(name) for name in options.policies]
    home = load_profile(options.profile, os.environ)
    views = [row.view for row in options.endpoints.endpoints]
    serves = {view.spec.name: view.models for view in views}
    policy = with_endpoints(home.policy, [view.spec for view in views], serves)
    fleet = fleet_of(policy, name=home.policy.profile)
    history = [
        Past(task=answer.task, spec=answer.spec, attempt=answer.attempts[-1] if answer.attempts else None)
        for answer in options.history
    ]
    workload = history_workload(history, options.name)
    if not workload.jobs:
        remedy = "look further back with --since"
        raise InvalidInputError("no task ended in this time", where="--since", remedy=remedy)
    setting = Setting(command_slots=home.worker.slots.command)
    current = msgspec.structs.replace(home, policy=policy)
    named = [Entrant(name="as configured now", profile=current), *entrants]
    results = [run_entrant(entrant, workload, fleet, setting, told, own=False) for entrant in named]
    return Comparison(
        workload=workload.name,
        seed=options.seed,
        rules=(*workload.rules, _machines_said(fleet), "the first column is what happened; the others are simulated"),
        results=(history_result(history, policy), *results),
        logged=compare_logged(
            options.history,
            options.outcomes,
            {one.name: one.profile.policy for one in named if one.profile is not None},
        ),
    )


def _planned(options: WhatIfOptions, entrant: Entrant) -> tuple[tuple[Instance, Plan], str]:
    """A plan for the tasks on the machines of a policy, and what it predicts."""
    profile = entrant.profile
    if options.trace is not None or profile is None:
        what = "only the scheduler follows plans, and only for tasks that are known beforehand"
        raise InvalidInputError(what, where="--plan", remedy="give a file of tasks, and a profile as --policy")
    strategy = options.plan or ""
    makers = {name: _maker(name) for name in ORDERS}
    if strategy not in {*OWN, *makers}:
        remedy = nearest(strategy, (*OWN, *makers))
        raise InvalidInputError(f"no strategy '{strategy}'", where="--plan", remedy=remedy)
    if options.fleet is not None:
        fleet = fleet_of(load_profile(options.fleet, os.environ, flag="--fleet").policy)
        profile = msgspec.structs.replace(profile, policy=on_fleet(profile.policy, fleet))
    batch = options.specs[0]
    pipeline = Pipeline(name=options.name, specs=options.specs, slots=batch.batch_slots)
    posed = posed_problem(pipeline, PlanOptions(preloaded=True), profile)
    instance = checked(posed.instance)
    plan = make_plan(instance, strategy, Steps(PLAN_STEPS), Random(options.seed), makers)  # noqa: S311 -- repeatable
    minutes = plan.makespan_ms / MINUTE_MS
    return (instance, plan), f"the plan ({strategy}) predicts {minutes:.2f} minutes with {plan.loads} loads"


def _maker(name: str) -> Maker:
    def make(instance: Instance, effort: Effort, dice: Dice) -> Plan:
        del effort, dice
        return strategy_plan(instance, name)

    return make


class Steps:
    """Effort by count: the same search on any machine."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spent(self) -> bool:
        """Whether the steps are used up."""
        self._left -= 1
        return self._left < 0


def run_entrant(
    entrant: Entrant, workload: Workload, fleet: Fleet, setting: Setting, told: Told | None, *, own: bool
) -> Result:
    """Run one of them. `own`: a profile brings its own machines; rivals run on `fleet`."""
    setting = msgspec.structs.replace(setting, progress=_progress(entrant.name, told))
    profile = entrant.profile
    if profile is None:
        return result_of(run_rival(entrant.name, workload, fleet, setting))
    there = fleet_of(profile.policy) if own else fleet
    return result_of(run_scheduled(workload, there, profile.policy, setting, name=entrant.name))


def _progress(name: str, told: Told | None) -> Progress | None:
    if told is None:
        return None

    def tell(done: int, of: int) -> None:
        told(name, done, of)

    return tell


def _entrant(name: str | None, flag: str = "--policy") -> Entrant:
    if name is not None and name in ROUTERS:
        return Entrant(name=name)
    known = {*ROUTERS, *built_in_names()}
    is_path = name is not None and (name.endswith(SUFFIXES) or "/" in name or Path(name).exists())
    if name is not None and not is_path and name not in known:
        what = f"there is no policy '{name}'"
        raise InvalidInputError(what, where=flag, remedy=f"{nearest(name, known)}; or the path of a profile")
    profile = load_profile(name, os.environ, flag=flag)
    return Entrant(name=profile.policy.profile, profile=profile)


def _home(options: WhatIfOptions, entrants: Iterable[Entrant]) -> LoadedProfile:
    """The profile of the machines: as named, else that of the first policy that has some, else the usual search."""
    if options.fleet in ROUTERS:
        what = f"'{options.fleet}' is a policy and has no machines"
        raise InvalidInputError(what, where="--fleet", remedy="name a profile")
    if options.fleet is not None:
        return load_profile(options.fleet, os.environ, flag="--fleet")
    profiles = [entrant.profile for entrant in entrants if entrant.profile is not None]
    return profiles[0] if profiles else load_profile(None, os.environ)


def _workload(options: WhatIfOptions, fleet: Fleet) -> Workload:
    if options.trace is None:
        specs = [_with_ttl(spec, options.ttl_ms) for spec in options.specs] if options.ttl_ms is not None else None
        jobs = tuple(Job(spec=spec, duration_ms=spec.expected_ms) for spec in specs or options.specs)
        return Workload(name=options.name, jobs=jobs, rules=(f"{len(jobs)} tasks that arrive together",))
    scale = Scale(tasks=options.tasks, load=options.load, seed=options.seed, ttl_ms=options.ttl_ms)
    return trace_workload(_text(options.trace), options.trace, fleet, scale)


def _text(path: str) -> str:
    try:
        raw = Path(path).read_bytes()
        if len(raw) > TRACE_BYTES_MAX:
            what = f"the trace has {len(raw)} bytes, at most {TRACE_BYTES_MAX} are read"
            raise InvalidInputError(what, where=path, remedy="cut it")
        return raw.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(f"cannot be read: {reason}", where=path, remedy="check the path") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidInputError("not UTF-8 text", where=f"{path}:{line}", remedy="is this the right file?") from None


def _outage(text: str) -> Outage:
    """`HOST:FROM-UNTIL` or `HOST:FROM`."""
    site, _, span = text.rpartition(":")
    begin, dash, end = span.partition("-")
    try:
        from_ms = parse_duration_ms(begin)
        until_ms = parse_duration_ms(end) if dash else None
    except ValueError:
        site = ""
    if not site or (until_ms is not None and until_ms <= from_ms):
        remedy = "write HOST:FROM-UNTIL with durations from the start, such as gpu-box:10m-25m"
        raise InvalidInputError(f"'{text}' is no outage", where="--outage", remedy=remedy)
    return Outage(site=site, from_ms=from_ms, until_ms=until_ms)


def _with_ttl(spec: TaskSpec, ttl_ms: int) -> TaskSpec:
    return msgspec.structs.replace(spec, ttl_ms=ttl_ms)


def _machines_said(fleet: Fleet) -> str:
    machines = ", ".join(
        f"{name} ({spec.memory_gib - spec.reserve_gib:.0f} GiB for {len(spec.models)} models)"
        for name, spec in fleet.machines.items()
    )
    clouds = ", ".join(fleet.providers)
    parts = [f"simulated machines: {machines}" if machines else "", f"simulated clouds: {clouds}" if clouds else ""]
    return "; ".join(part for part in parts if part)
