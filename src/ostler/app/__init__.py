"""The composition root: the only place that knows the adapters, and puts them into the hub, the worker and the tools.

Every function is what one verb of the command line does. Each imports what it needs when it is called, because they
need very different things and a verb must start at once.
"""

from typing import TYPE_CHECKING

from ostler.app.options import (
    AgentList,
    AgentRow,
    DemoOptions,
    DoctorOptions,
    DoctorReport,
    PlanOptions,
    PulseOptions,
    ReplayOptions,
    SimulateOptions,
    Tell,
    Told,
    UpOptions,
    WhatIfOptions,
    WorkerOptions,
)
from ostler.domain.decision import Verdict
from ostler.domain.fleet import Probe
from ostler.domain.tasks import TaskSpec
from ostler.hub.pulse_views import PulseReport
from ostler.hub.simulated import Comparison
from ostler.hub.views import Why

if TYPE_CHECKING:
    from ostler.app.plan_views import PlanReport
    from ostler.planning.pipeline import Pipeline


def up(options: UpOptions) -> None:
    """Run the hub until it is told to stop."""
    from ostler.app.lean import without
    from ostler.app.loop import run

    with without("rich"):
        from ostler.app.serve import serve_hub

    limit = options.respawn_above_bytes
    if limit is None:
        run(serve_hub(options))
        return
    from ostler.app.pulsing import until_large

    run(serve_hub(options, lambda parts, folder: until_large(parts, folder, limit)))


def be_engine(options: PulseOptions) -> PulseReport | None:
    """Be the engine while there is something to do."""
    from ostler.app.loop import run
    from ostler.app.pulsing import serve_pulse

    return run(serve_pulse(options))


def worker(options: WorkerOptions) -> None:
    """Run a worker until it is told to stop."""
    from ostler.app.loop import run
    from ostler.app.remote_worker import serve_worker

    run(serve_worker(options))


def demo(options: DemoOptions) -> int:
    """Run the demo; returns its exit code."""
    from ostler.demo import run

    return run(options)


def simulate_host(options: SimulateOptions) -> None:
    """Serve a simulated machine until it is told to stop."""
    from ostler.app.simulated import serve_host

    serve_host(options)


def simulate_cloud(options: SimulateOptions) -> None:
    """Serve a simulated cloud until it is told to stop."""
    from ostler.app.simulated import serve_cloud

    serve_cloud(options)


def what_if(options: WhatIfOptions, told: Told | None = None) -> Comparison:
    """Run a workload in virtual time under each policy."""
    from ostler.app.virtual import compare

    return compare(options, told)


def replay(options: ReplayOptions, told: Told | None = None) -> Comparison:
    """Run what a hub did again in virtual time, under its profile and under others."""
    from ostler.app.virtual import again

    return again(options, told)


def doctor(options: DoctorOptions) -> DoctorReport:
    """Look at the installation; changes nothing."""
    from ostler.app.examination import examine
    from ostler.app.loop import run

    return run(examine(options))


def agents_doctor(profile: str | None) -> DoctorReport:
    """Look at the agent command lines of this machine; changes nothing."""
    from ostler.app.agents_examination import examine_agents
    from ostler.app.loop import run

    return run(examine_agents(profile))


def agents_list(profile: str | None) -> AgentList:
    """The agents that tasks may name."""
    from ostler.app.agent_roles import list_agents

    return list_agents(profile)


def agent(name: str, profile: str | None) -> AgentRow:
    """One agent that tasks may name."""
    from ostler.app.agent_roles import show_agent

    return show_agent(name, profile)


def agents_check(profile: str | None) -> AgentList:
    """As `agents_list`; raises with every mistake."""
    from ostler.app.agent_roles import check_agents

    return check_agents(profile)


def check_endpoint(name: str, profile: str | None, force: bool) -> Probe:  # noqa: FBT001 - the command line's contract
    """List an endpoint of the profile without a hub; from the cache unless `force`."""
    from ostler.app.loop import run
    from ostler.app.offline import check

    return run(check(name, profile, force=force))


def route_offline(spec: TaskSpec, profile: str | None) -> tuple[Verdict, Why]:
    """Decide on the profile alone: its endpoints count as up and idle, with the models they declare."""
    from ostler.app.offline import route

    return route(spec, profile)


def plan(pipeline: "Pipeline", options: PlanOptions, tell: Tell) -> "PlanReport":
    """Plan a pipeline on the machines of a profile."""
    from ostler.app.plans import plan as make

    return make(pipeline, options, tell)


__all__ = [
    "agent",
    "agents_check",
    "agents_doctor",
    "agents_list",
    "be_engine",
    "check_endpoint",
    "demo",
    "doctor",
    "plan",
    "replay",
    "route_offline",
    "simulate_cloud",
    "simulate_host",
    "up",
    "what_if",
    "worker",
]
