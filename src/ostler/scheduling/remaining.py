"""What is left of a batch, as a problem to plan: its open tasks, on the machines as they are now. Pure.

Machines are those that can be used, with what is in their memory, what models are known to take there and how fast they
load. A task that runs keeps its place, for as long as it still has to run by its own estimate. Needs that have ended
are no needs any more; needs outside the batch are left out.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import HeldPhase, ModelAt
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.states import LEASED_STATES
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.planning.ground import COMMAND, WORKERS, Ground, ground
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.problem import pose
from ostler.scheduling.books import Books
from ostler.scheduling.wanted import wanted

REMAINING_SHARE = 0.1
"""A running task is taken to need at least this share of its expected time, however long it has run."""
REMAINING_MS_MIN = 1_000


def remaining(books: Books, specs: Mapping[str, TaskSpec], now_ms: int) -> Instance:
    """The problem of those of `specs` that are open. Raises `InvalidInputError` for a task that nothing can run now."""
    policy = books.policy
    open_specs = {name: spec for name, spec in specs.items() if name in books.tasks}
    where = machines(books, open_specs)
    names = frozenset(books.endpoints.views)
    posed = pose(
        [
            wanted(replace(spec, needs=tuple(need for need in spec.needs if need in open_specs)), policy, names)
            for spec in open_specs.values()
        ],
        where,
        policy.catalog,
        minute_price_micro_usd=round(policy.routing.minute_price_usd * MICRO_USD_PER_USD),
    )
    if posed.problems:
        problem = posed.problems[0]
        raise InvalidInputError(problem.what, where=problem.where, remedy=problem.remedy)
    tasks = tuple(_as_it_runs(books, where, task, now_ms) for task in posed.instance.tasks)
    used = {host.name: host for host in posed.instance.hosts}
    kept = {host for task in tasks for way in task.choices for host in way.hosts}
    hosts = tuple(host for host in where.hosts if host.name in used or host.name in kept)
    return replace(posed.instance, hosts=hosts, tasks=tasks)


def machines(books: Books, specs: Mapping[str, TaskSpec]) -> Ground:
    """The hosts as they are: usable ones, with what they hold."""
    catalog = books.policy.catalog
    usable = {name: view.spec for name, view in books.endpoints.views.items() if books.endpoints.is_usable(name)}
    # An endpoint that does not say what it serves in the profile serves what it lists.
    listed = {
        name: replace(spec, models=tuple(sorted(books.endpoints.views[name].models))) for name, spec in usable.items()
    }
    limits: dict[str, int] = {}
    for spec in specs.values():
        for model, count in spec.batch_slots.items():
            limits[model] = min(count, limits.get(model, count))
    held = {
        # A load under way is planned as a load that begins now: late by what is left of it at most.
        name: [at.model for at, one in sorted(book.held.items()) if one.phase is HeldPhase.READY]
        for name, book in books.hosts.books.items()
    }
    slots = sum(state.session.offer.slots.get(TaskKind.COMMAND, 0) for state in books.workers.states.values())
    found = ground(
        replace(catalog, endpoints=listed), slots=limits, sizes={}, resident=held, command_slots=max(1, slots)
    )
    return replace(found, hosts=tuple(_measured(books, host) for host in found.hosts))


def _measured(books: Books, host: PlanHost) -> PlanHost:
    """The host with sizes and times as they were seen there."""
    book = books.hosts.books.get(host.name)
    if book is None:
        return host
    catalog = books.policy.catalog
    models: dict[str, Serving] = {}
    for name, serving in host.models.items():
        speeds = books.hosts.speeds_of(host.name, name, catalog)
        sizes = [
            books.hosts.memory_bytes(ModelAt(endpoint, name), catalog, book.capacity_bytes)
            for endpoint in book.endpoints
            if books.endpoints.views[endpoint].serves(name)
        ]
        models[name] = replace(
            serving,
            memory_bytes=max(sizes, default=serving.memory_bytes),
            load_ms=round(speeds.load_s * 1000),
            unload_ms=round(speeds.unload_s * 1000),
            pinned=book.is_pinned(name) and name in host.resident,
        )
    return replace(host, models=models)


def _as_it_runs(books: Books, where: Ground, task: PlanTask, now_ms: int) -> PlanTask:
    """A task that is under way stays where it is, and only its rest is planned."""
    row = books.tasks[task.id]
    if row.state not in LEASED_STATES:
        return task
    host = where.endpoints.get(row.endpoint or "", WORKERS if row.endpoint is None else "")
    model = (row.model or "") if row.endpoint is not None else COMMAND
    place = next((one for one in where.hosts if one.name == host), None)
    if place is None or model not in place.models:
        return task
    usual = next((way for way in task.choices if model in way.models), task.choices[0])
    rest = Choice(
        models=(model,),
        duration_ms=_rest_ms(row, usual.duration_ms, now_ms),
        hosts=(host,),
        cost_micro_usd=usual.cost_micro_usd,
    )
    return replace(task, choices=(rest,), needs=())


def _rest_ms(row: Task, expected_ms: int, now_ms: int) -> int:
    ran_ms = max(0, now_ms - row.started_ms) if row.started_ms is not None else 0
    return max(expected_ms - ran_ms, round(expected_ms * REMAINING_SHARE), REMAINING_MS_MIN)
