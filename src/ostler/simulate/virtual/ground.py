"""The ground that a run stands on: timeline, sites, outages, and the books of each job's fate.

A run of the scheduler and a run of a rival differ only in who decides; what calls take, cost and count is here.
"""

from collections.abc import Iterable, Mapping, Sequence

from ostler.domain.catalog import ModelSpec
from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.money import tokens_cost_micro_usd
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.jobs import Job, output_tokens_of, spec_of
from ostler.simulate.virtual.records import Ending, Outage, Run, Setting
from ostler.simulate.virtual.sites import Customer, Machine, Provider, Site, SiteFigures, Stay
from ostler.simulate.virtual.timeline import Timeline

PROGRESS_EVERY = 100


class Ground:
    """Everything of a run but the deciding."""

    def __init__(self, fleet: Fleet, policy: Policy, setting: Setting) -> None:
        self.fleet = fleet
        self.policy = policy
        self.timeline = Timeline()
        self.endings: dict[str, Ending] = {}
        self.sites: dict[str, Site] = {}
        self._lengths = setting.lengths
        self._progress = setting.progress
        self._ended = 0

    def furnish(self, customer: Customer) -> None:
        """Put up the machines and providers."""
        for host, machine in self.fleet.machines.items():
            self.sites[host] = Machine(machine, self.timeline, customer)
        for endpoint, provider in self.fleet.providers.items():
            self.sites[endpoint] = Provider(provider, self.timeline, customer)

    def site_of(self, endpoint: str) -> Site:
        """Where the calls of an endpoint go."""
        site = self.sites.get(endpoint)
        return site if site is not None else self.sites[self.fleet.endpoint(endpoint).host]

    def machines(self) -> Mapping[str, Machine]:
        """The machines by host."""
        return {name: site for name, site in self.sites.items() if isinstance(site, Machine)}

    def enter(self, jobs: Iterable[Job]) -> None:
        """Open the books of jobs."""
        for job in jobs:
            self.endings[job.id] = Ending(job=job.id, arrived_ms=job.arrival_ms)

    @property
    def offset_ms(self) -> int:
        """The instant, counted from the start of the workload."""
        return self.timeline.time_ms - self.timeline.start_ms

    def instant(self, offset_ms: int) -> int:
        """The virtual instant of an offset."""
        return self.timeline.start_ms + offset_ms

    def service_ms(self, job: Job, facts: TaskFacts, model: str | None) -> int:
        """How long the work takes there once it runs."""
        spec = None if model is None else spec_of(model, self.policy)
        return self._lengths.service_ms(job, facts, spec, self.policy)

    def charge(self, job: Job, facts: TaskFacts, endpoint: str, model: str) -> None:
        """Book the price of an attempt; local calls cost nothing."""
        ending = self.endings[job.id]
        if self.fleet.endpoint(endpoint).local:
            return
        cost = _price(spec_of(model, self.policy), facts.prompt_tokens, output_tokens_of(job, facts, self.policy))
        known = ending.cost_micro_usd
        ending.cost_micro_usd = None if cost is None or known is None else known + cost

    def end(self, job_id: str, state: str, reason: str = "") -> None:
        """A job is over."""
        ending = self.endings[job_id]
        ending.state, ending.ended_ms, ending.reason = state, self.offset_ms, reason
        self._ended += 1
        if self._progress is not None and self._ended % PROGRESS_EVERY == 0:
            self._progress(self._ended, len(self.endings))

    @property
    def all_ended(self) -> bool:
        """Whether every job is over."""
        return self._ended == len(self.endings)

    def run(self, name: str, *, rival: bool) -> Run:
        """The run as it stands."""
        figures: dict[str, SiteFigures] = {site: self.sites[site].figures for site in sorted(self.sites)}
        stays = {host: tuple(map(self._from_start, machine.stays)) for host, machine in self.machines().items()}
        return Run(
            policy=name,
            fleet=self.fleet.name,
            rival=rival,
            endings=self.endings,
            sites=figures,
            stays=stays,
            ended_ms=self.offset_ms,
        )

    def _from_start(self, stay: Stay) -> Stay:
        start_ms = self.timeline.start_ms
        return Stay(
            model=stay.model,
            load_start_ms=stay.load_start_ms - start_ms,
            ready_ms=stay.ready_ms - start_ms,
            unload_start_ms=None if stay.unload_start_ms is None else stay.unload_start_ms - start_ms,
            unload_end_ms=None if stay.unload_end_ms is None else stay.unload_end_ms - start_ms,
        )


def check_outages(outages: Sequence[Outage], fleet: Fleet) -> None:
    """Refuse outages of what is not there."""
    known = {*fleet.machines, *fleet.providers}
    for outage in outages:
        if outage.site not in known:
            remedy = nearest(outage.site, known)
            raise InvalidInputError(f"the fleet has no host '{outage.site}'", where="--outage", remedy=remedy)


def _price(model: ModelSpec, input_tokens: int, output_tokens: int) -> int | None:
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None
    into = tokens_cost_micro_usd(input_tokens, model.input_usd_per_mtok)
    return into + tokens_cost_micro_usd(output_tokens, model.output_usd_per_mtok)
