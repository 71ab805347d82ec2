"""A run of a rival: a simple router instead of the scheduler, everything else equal.

Jobs become eligible when they arrive and their needs are met; a router then places their calls. A call that is lost
with its machine is routed again, one that a provider limits is tried again when it said. Commands run in order of
arrival in as many slots as the scheduler's worker has. A job whose time to live passes before it begins is given up, as
the scheduler gives it up. Who names no model gets the first one of its tier that its prompt fits, as the profile of the
fleet says.
"""

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from ostler.domain.policy import Policy
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskFacts, TaskKind
from ostler.routing.aim import find_aim
from ostler.routing.ladder import Ladder
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.ground import Ground, check_outages
from ostler.simulate.virtual.jobs import Job, Workload, facts_of
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.routers import ROUTERS, Stall, Ticket
from ostler.simulate.virtual.sites import Machine, Order

TRIES_MAX = 10
"""After so many lost calls a job is given up, as by the scheduler."""


def run_rival(name: str, workload: Workload, fleet: Fleet, setting: Setting | None = None) -> Run:
    """Run a workload under the rival of that name. Raises `InvalidInputError` as the hub would."""
    setting = setting or Setting()
    check_outages(setting.outages, fleet)
    ground = Ground(fleet, fleet.policy, setting)
    yard = _Yard(ground, workload.jobs, setting, name)
    ground.furnish(yard)
    yard.open(setting.outages)
    while not ground.all_ended and ground.timeline.step():
        pass
    yard.close()
    return ground.run(name, rival=True)


class _Case(msgspec.Struct, kw_only=True):
    """A job on its way."""

    job: Job
    facts: TaskFacts
    missing: set[str]
    model: str | None = None
    ticket: Ticket | None = None
    endpoint: str | None = None
    tries: int = 0
    began: bool = False
    over: bool = False


class _Yard:
    """Needs, time to live and calls, around a router."""

    def __init__(self, ground: Ground, jobs: tuple[Job, ...], setting: Setting, name: str) -> None:
        self._ground = ground
        self._policy = ground.policy
        self._cases = {job.id: _case(job, self._policy, ground.fleet) for job in jobs}
        self._dependents: dict[str, list[str]] = {}
        for case in self._cases.values():
            for need in sorted(case.missing):
                self._dependents.setdefault(need, []).append(case.job.id)
        self._by_number: dict[int, _Case] = {}
        self._commands: deque[_Case] = deque()
        self._command_slots = setting.command_slots
        self._count = 0
        self._all: dict[str, Stall] = {}
        self._dispatching = False
        self._again = False
        self._router = ROUTERS[name](self)

    @property
    def stalls(self) -> Mapping[str, Stall]:
        """Endpoints that answer now."""
        return {name: stall for name, stall in self._all.items() if self._ground.site_of(name).up}

    def open(self, outages: tuple[Outage, ...]) -> None:
        """Enter what will come."""
        ground = self._ground
        ground.enter(case.job for case in self._cases.values())
        for endpoint in sorted(ground.fleet.offers):
            site = ground.site_of(endpoint)
            self._all[endpoint] = Stall(
                name=endpoint,
                machine=site if isinstance(site, Machine) else None,
                slots=_slots(ground.fleet, endpoint),
                placed={},
            )
        for outage in outages:
            self._enter(outage.from_ms, ground.sites[outage.site].fail)
            if outage.until_ms is not None:
                self._enter(outage.until_ms, ground.sites[outage.site].recover)
        for case in self._cases.values():
            self._enter(case.job.arrival_ms, _bound(self._arrived, case))

    def close(self) -> None:
        """Explain what nothing can move any more."""
        for case in self._cases.values():
            ending = self._ground.endings[case.job.id]
            if ending.ended_ms is None:
                waits_for = ", ".join(sorted(case.missing))
                ending.reason = f"needs {waits_for}" if waits_for else f"nothing serves {case.model}"

    def _enter(self, offset_ms: int, action: Callable[[], None]) -> None:
        def act() -> None:
            action()
            self._move()

        self._ground.timeline.at(self._ground.instant(offset_ms), act)

    # Jobs

    def _arrived(self, case: _Case) -> None:
        if not case.missing:
            self._eligible(case)

    def _eligible(self, case: _Case) -> None:
        ending = self._ground.endings[case.job.id]
        if case.over or ending.eligible_ms is not None or self._ground.offset_ms < case.job.arrival_ms:
            return
        ending.eligible_ms = self._ground.offset_ms
        ttl_ms = case.job.spec.ttl_ms
        ttl_ms = self._policy.scheduler.task_ttl_ms if ttl_ms is None else ttl_ms
        if case.facts.kind is TaskKind.COMMAND:
            self._commands.append(case)
            return
        if case.model is None or not self._ground.fleet.serving(case.model):
            self._end(case, "failed", f"nothing serves {case.model or 'it'}")
            return
        if ttl_ms:
            self._enter(self._ground.offset_ms + ttl_ms, _bound(self._expire, case))
        self._ask(case)

    def _ask(self, case: _Case) -> None:
        model = case.model or ""
        self._count += 1
        case.ticket = Ticket(
            number=self._count,
            model=model,
            endpoints=self._ground.fleet.serving(model),
            work_ms=self._ground.service_ms(case.job, case.facts, model),
        )
        self._by_number[self._count] = case
        self._router.add(case.ticket)

    def _expire(self, case: _Case) -> None:
        if case.began or case.over:
            return
        ticket = case.ticket
        if ticket is not None and case.endpoint is not None:
            self._ground.site_of(case.endpoint).hang_up(ticket.number)
            self._free(case)
        elif ticket is not None:
            self._router.withdraw(ticket)
        self._end(case, "expired", "waited longer than its time to live")

    def _end(self, case: _Case, state: str, reason: str = "") -> None:
        case.over = True
        self._ground.end(case.job.id, state, reason)
        ended_well = state == "succeeded" or case.job.spec.optional
        for dependent in self._dependents.get(case.job.id, ()):
            other = self._cases[dependent]
            if other.over:
                continue
            if not ended_well:
                self._end(other, "cancelled", f"needs {case.job.id}, which ended as {state}")
                continue
            other.missing.discard(case.job.id)
            if not other.missing:
                self._eligible(other)

    # Calls

    def _move(self) -> None:
        """Let the router place what it can; it is never asked within its own asking."""
        if self._dispatching:
            self._again = True
            return
        self._dispatching = True
        while True:
            self._again = False
            self._router.dispatch()
            self._run_commands()
            if not self._again:
                break
        self._dispatching = False

    def place(self, ticket: Ticket, endpoint: str) -> None:
        """Hand a call over, as the router says."""
        case, stall = self._by_number[ticket.number], self._all[endpoint]
        case.endpoint = endpoint
        case.tries += 1
        stall.placed[ticket.model] = stall.placed.get(ticket.model, 0) + 1
        ending = self._ground.endings[case.job.id]
        ending.attempts, ending.endpoint, ending.model = case.tries, endpoint, ticket.model
        order = Order(
            number=ticket.number,
            model=ticket.model,
            duration_ms=ticket.work_ms,
            prompt_tokens=case.facts.prompt_tokens,
        )
        self._ground.site_of(endpoint).call(order)

    def _run_commands(self) -> None:
        while self._commands and self._command_slots:
            case = self._commands.popleft()
            if case.over:
                continue
            self._command_slots -= 1
            case.began = True
            ending = self._ground.endings[case.job.id]
            ending.began_ms, ending.attempts = self._ground.offset_ms, 1
            duration_ms = self._ground.service_ms(case.job, case.facts, None)
            self._enter(self._ground.offset_ms + duration_ms, _bound(self._command_done, case))

    def _command_done(self, case: _Case) -> None:
        self._command_slots += 1
        self._end(case, "succeeded")

    def began(self, number: int) -> None:
        """A call has its slot."""
        case = self._by_number[number]
        case.began = True
        self._ground.endings[case.job.id].began_ms = self._ground.offset_ms

    def ended(self, number: int) -> None:
        """A call is done."""
        case = self._by_number[number]
        if case.endpoint is not None and case.model is not None:
            self._ground.charge(case.job, case.facts, case.endpoint, case.model)
        self._free(case)
        self._end(case, "succeeded")
        self._move()

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        """A call came to nothing: it is routed again, unless that cannot help."""
        case = self._by_number[number]
        self._free(case)
        case.began = False
        if kind is FailureClass.OUT_OF_MEMORY or case.tries >= TRIES_MAX:
            self._end(case, "failed", message)
        elif retry_after_ms is not None:
            case.tries -= 1
            self._enter(self._ground.offset_ms + retry_after_ms, _bound(self._ask, case))
        else:
            self._ask(case)
        self._move()

    def unloaded(self, site: str, model: str) -> None:
        """Memory is free: there may be room."""
        del site, model
        self._move()

    def _free(self, case: _Case) -> None:
        if case.endpoint is not None and case.ticket is not None:
            self._all[case.endpoint].placed[case.ticket.model] -= 1
        if case.ticket is not None:
            self._by_number.pop(case.ticket.number, None)
        case.endpoint = case.ticket = None


def _bound(action: Callable[[_Case], None], case: _Case) -> Callable[[], None]:
    return lambda: action(case)


def _slots(fleet: Fleet, endpoint: str) -> Callable[[str], int]:
    return lambda model: fleet.slots(endpoint, model)


def _case(job: Job, policy: Policy, fleet: Fleet) -> _Case:
    facts = facts_of(job, policy)
    model = None if facts.kind is TaskKind.COMMAND else named_model(facts, policy, fleet)
    direct = facts.kind is not TaskKind.COMMAND and model is None and facts.has_command
    if direct:
        facts = msgspec.structs.replace(facts, kind=TaskKind.COMMAND)
    return _Case(job=job, facts=facts, missing=set(job.spec.needs), model=model)


def named_model(facts: TaskFacts, policy: Policy, fleet: Fleet) -> str | None:
    """The model a router would be asked for: the task's own, else the first of its tier (or above) that it fits and
    that the fleet serves; `None` = none, or it is a command.
    """
    if facts.model is not None:
        return facts.model
    ladder = Ladder(policy.catalog)
    aim = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder)
    if aim.direct or aim.start is None:
        return None
    for tier in ladder.above(aim.start):
        for name in tier.models:
            known = policy.catalog.models.get(name)
            window = known.context_tokens if known is not None else None
            if fleet.serving(name) and (window is None or facts.context_tokens <= window):
                return name
    return None
