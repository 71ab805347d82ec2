"""A run in the form of a plan, so that what judges plans judges runs too: the checker, the bounds, the chart.

The instance holds what was run: each task with the model that it ran on and its true length, the machines with their
memory, the clouds without. The plan holds what happened: stays become episodes, endings placements. Tasks that did not
succeed are optional and have no placement. Of a task that was tried more than once the last attempt counts, so a run
with outages is a plan of what came of it, not of all that was tried.
"""

from ostler.planning.ground import COMMAND, WORKERS, workers
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan
from ostler.simulate.spec import SimulatedHostSpec
from ostler.simulate.virtual.fleet import CLOUD_CALLS, Fleet
from ostler.simulate.virtual.jobs import Job, Workload
from ostler.simulate.virtual.records import Ending, Run


def as_plan(run: Run, workload: Workload, fleet: Fleet, *, command_slots: int = 2) -> tuple[Instance, Plan]:
    """What was run, and how it went. Instants count from the start of the workload."""
    hosts = [_machine(spec) for spec in fleet.machines.values()]
    hosts += [_cloud(name, fleet) for name in fleet.providers]
    hosts.append(workers(command_slots))
    instance = Instance(
        hosts=tuple(hosts),
        tasks=tuple(_task(job, run.endings[job.id]) for job in workload.jobs),
        name=workload.name,
    )
    episodes = [
        Episode(
            host=host,
            model=stay.model,
            load_start_ms=stay.load_start_ms,
            ready_ms=stay.ready_ms,
            unload_start_ms=stay.unload_start_ms,
            unload_end_ms=stay.unload_end_ms,
        )
        for host, stays in run.stays.items()
        for stay in stays
    ]
    placements = [
        Placement(
            task=ending.job,
            host=_host(ending, fleet),
            start_ms=ending.began_ms,
            end_ms=ending.ended_ms,
        )
        for ending in run.endings.values()
        if _succeeded(ending) and ending.began_ms is not None and ending.ended_ms is not None
    ]
    plan = Plan(
        strategy=run.policy,
        episodes=tuple(sorted(episodes, key=lambda row: (row.load_start_ms, row.host, row.model))),
        placements=tuple(sorted(placements, key=lambda row: (row.start_ms, row.task))),
        detail="simulated",
    )
    return instance, plan


def _succeeded(ending: Ending) -> bool:
    return ending.state == "succeeded"


def _host(ending: Ending, fleet: Fleet) -> str:
    if ending.endpoint is None:
        return WORKERS
    spec = fleet.endpoint(ending.endpoint)
    return spec.host if spec.local else spec.name


def _task(job: Job, ending: Ending) -> PlanTask:
    length_ms = 1
    if ending.began_ms is not None and ending.ended_ms is not None:
        length_ms = ending.ended_ms - ending.began_ms
    choice = Choice(models=(ending.model or COMMAND,), duration_ms=length_ms)
    return PlanTask(
        id=job.id,
        choices=(choice,),
        needs=job.spec.needs,
        release_ms=job.arrival_ms,
        optional=not _succeeded(ending),
        label=job.spec.title or job.id,
    )


def _machine(spec: SimulatedHostSpec) -> PlanHost:
    return PlanHost(
        name=spec.name,
        memory_bytes=spec.capacity_bytes,
        models={
            model.key: Serving(
                memory_bytes=model.weights_bytes,
                load_ms=int(model.load_s * 1000),
                unload_ms=int(model.unload_s * 1000),
                slots=model.slots,
            )
            for model in spec.models
        },
        max_resident=spec.max_loaded if spec.max_loaded < len(spec.models) else None,
    )


def _cloud(name: str, fleet: Fleet) -> PlanHost:
    slots = max(CLOUD_CALLS, fleet.endpoint(name).slots)
    return PlanHost(name=name, models={model: Serving(slots=slots) for model in fleet.offers[name]}, cloud=True)
