"""What the command line asks of the composition root: plain data, and the functions it calls with it.

Only the standard library, msgspec and domain types stand here, so that reading this module costs nothing and nothing
but the composition root decides how the options are met. A field that is `None` leaves the matter to the profile.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from ostler.domain.agents import AgentRole
from ostler.domain.decision import Verdict
from ostler.domain.fleet import Probe
from ostler.domain.observations import Observation
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.pulse_views import PulseReport
from ostler.hub.simulated import Comparison
from ostler.hub.views import EndpointList, TaskAnswer, Why

if TYPE_CHECKING:
    from ostler.app.plan_views import PlanReport
    from ostler.planning.pipeline import Pipeline


class AgentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that tasks may name. `tier` and `models`: what its model comes to; no tier = it names a model."""

    role: AgentRole
    tier: str | None = None
    models: tuple[str, ...] = ()


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and what is wrong with files that are none."""

    folders: tuple[str, ...] = ()
    agents: tuple[AgentRow, ...] = ()
    problems: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler up`."""

    profile: str | None = None
    """Path or built-in name; `None` = the first that is found."""
    data_dir: str | None = None
    host: str | None = None
    port: int | None = None
    """0 = any free one."""
    worker: bool = True
    """Whether a worker runs inside."""
    allow: tuple[TaskKind, ...] | None = None
    """Kinds of work the worker inside may run."""
    log_level: str = "info"
    respawn_above_bytes: int | None = None
    """End in good order when a wave of work is over and the memory of this process and its children is above."""


class PulseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler pulse` where no hub runs: be the engine while there is something to do."""

    batch: str | None = None
    longest_s: float | None = None
    """`None`: until nothing runs and nothing can start."""
    profile: str | None = None
    data_dir: str | None = None


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler worker`: a daemon for a hub elsewhere."""

    hub: str
    """Address of the hub."""
    token: str | None = msgspec.field(default=None)
    profile: str | None = None
    name: str | None = None
    """`None` = the name of the machine."""
    host: str | None = None
    """Name of the machine that endpoints on it are joined to; `None` = what the machine calls itself."""
    slots: Mapping[TaskKind, int] = {}
    """Attempts at once by kind; empty = as the profile says."""
    capabilities: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()
    log_level: str = "info"

    def __repr__(self) -> str:
        return f"WorkerOptions(hub={self.hub!r}, name={self.name!r}, token={'set' if self.token else None})"


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler demo`: a hub over simulated machines, with work."""

    data_dir: str | None = None
    """`None` = a temporary folder that is removed at the end."""
    port: int = 0
    engine: str | None = None
    """`llama` = a real llama.cpp beside the simulated machines."""
    seed: int = 1
    speed: float = 10.0
    """How many modelled seconds pass in one second."""
    as_json: bool = False
    """Print the report at the end as JSON, and nothing else."""


class SimulateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler simulate-host` and `ostler simulate-cloud`."""

    preset: str = "workstation"
    spec: str | None = None
    """A file instead of the preset."""
    name: str | None = None
    bind: str = "127.0.0.1"
    port: int = 0
    speed: float = 1.0


class Told(Protocol):
    """Who is told how a long run goes on."""

    def __call__(self, policy: str, done: int, of: int, /) -> None:
        """So many tasks of all have ended under this policy."""
        ...


class WhatIfOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler simulate`: a workload in virtual time. Either `specs` or `trace` says what the work is."""

    name: str
    """What the workload is called."""
    specs: tuple[TaskSpec, ...] = ()
    """Tasks that arrive together."""
    trace: str | None = None
    """Path of a trace."""
    fleet: str | None = None
    """Profile whose machines are simulated; `None` = each policy brings its own."""
    policies: tuple[str | None, ...] = (None,)
    """Profiles (files or names) or rivals; all others are compared with the first. `None` = the usual search."""
    seed: int = 0
    sigma: float = 0.0
    """Noise on durations: sigma of a log-normal factor with median 1."""
    tasks: int = 5_000
    load: float = 0.5
    ttl_ms: int | None = None
    """Time to live of every task, instead of its own; 0 = nobody gives up."""
    outages: tuple[str, ...] = ()
    """`HOST:FROM-UNTIL` or `HOST:FROM`, durations from the start."""
    plan: str | None = None
    """Strategy of a plan that the first policy is to follow, as one more result."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler replay`: what a hub did, again in virtual time."""

    history: tuple[TaskAnswer, ...]
    endpoints: EndpointList
    """The hub's endpoints with what they serve."""
    profile: str | None
    """The profile that the hub runs with, by path or built-in name, or one given instead."""
    policies: tuple[str, ...] = ()
    """Profiles or rivals to compare with."""
    outcomes: tuple[Observation, ...] = ()
    """What became of its attempts, as the hub keeps it."""
    name: str = "history"
    seed: int = 0


class DoctorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler doctor`."""

    profile: str | None = None
    data_dir: str | None = None
    hub: str | None = None
    """Address to look for a hub at."""
    token: str | None = None


STRATEGIES: Mapping[str, str] = {
    "model-first": "all work of a model before the next model",
    "dependency-first": "work as it gets ready, swapping as needed",
    "hybrid": "model by model, the longest remaining path first",
    "live": "what the hub does without a plan",
    "portfolio": "the best of many policies, then improved by search",
    "optimal": "searched, then proved by an exact solver where it can",
}
DEFAULT_STRATEGY = "portfolio"
Tell = Callable[[str], None]
"""Told what is being worked on, while it is."""


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ostler plan`."""

    profile: str | None = None
    strategy: str = DEFAULT_STRATEGY
    compare: bool = False
    hosts: str = ""
    """Other machines: `box=64GB,box2=32GB`, or a number of copies; empty = those of the profile."""
    preloaded: bool = False
    """Whether the models that hosts preload are in memory at the start."""
    resident: Mapping[str, tuple[str, ...]] | None = None
    """Host -> models in memory at the start, where that is known; wins over `preloaded`."""
    minute_price_usd: float | None = None
    """What a minute is worth; `None` = as the profile says."""
    what_if: tuple[str, ...] = ()
    seconds: float | None = None
    """Longest search for one plan; `None` = two to ten seconds, by the number of tasks."""
    seed: int = 1
    places: Mapping[str, str] = {}
    """Task -> where it is written, for messages."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the doctor looked at. `status` is `ok`, `warning` or `failed`."""

    name: str
    status: str
    message: str
    remedy: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All the doctor looked at."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing failed; warnings are allowed."""
        return all(check.status != "failed" for check in self.checks)


class App(Protocol):
    """The functions of `ostler.app`. All raise subclasses of `OstlerError` for what a person can mend."""

    def up(self, options: UpOptions) -> None:
        """Run the hub until it is told to stop."""
        ...

    def worker(self, options: WorkerOptions) -> None:
        """Run a worker until it is told to stop."""
        ...

    def be_engine(self, options: PulseOptions) -> PulseReport | None:
        """Be the engine while there is something to do; what there is to say at the end. `None`: another process serves
        this folder already.
        """
        ...

    def demo(self, options: DemoOptions) -> int:
        """Run the demo to its end; its exit code."""
        ...

    def simulate_host(self, options: SimulateOptions) -> None:
        """Serve a simulated machine until it is told to stop."""
        ...

    def simulate_cloud(self, options: SimulateOptions) -> None:
        """Serve a simulated cloud until it is told to stop."""
        ...

    def what_if(self, options: WhatIfOptions, told: Told | None = None) -> Comparison:
        """Run a workload in virtual time under each policy."""
        ...

    def replay(self, options: ReplayOptions, told: Told | None = None) -> Comparison:
        """What happened, beside what would happen under the current profile and others."""
        ...

    def doctor(self, options: DoctorOptions) -> DoctorReport:
        """Look at the installation; changes nothing."""
        ...

    def agents_doctor(self, profile: str | None) -> DoctorReport:
        """Look at the agent command lines of this machine; changes nothing."""
        ...

    def agents_list(self, profile: str | None) -> AgentList:
        """The agents that tasks may name."""
        ...

    def agent(self, name: str, profile: str | None) -> AgentRow:
        """One of them. Raises `NotFoundError`."""
        ...

    def agents_check(self, profile: str | None) -> AgentList:
        """As `agents_list`. Raises `ProfileError` with every mistake."""
        ...

    def check_endpoint(self, name: str, profile: str | None, force: bool) -> Probe:  # noqa: FBT001 -- passed by name
        """List an endpoint of the profile without a hub; from the cache unless `force`."""
        ...

    def route_offline(self, spec: TaskSpec, profile: str | None) -> tuple[Verdict, Why]:
        """Decide on the profile alone, with its endpoints as declared."""
        ...

    def plan(self, pipeline: "Pipeline", options: PlanOptions, tell: Tell) -> "PlanReport":
        """Plan a pipeline on the machines of a profile; `tell` hears what is being worked on."""
        ...


def load_app() -> App:
    """The composition root, imported when it is needed."""
    import ostler.app

    return ostler.app
