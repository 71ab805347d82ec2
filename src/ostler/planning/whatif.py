"""Questions about a plan's surroundings, answered with numbers: a question is the instance before and after a change.

Each change is a pure function from an instance to a `Question` that says in words what is changed. `answer` plans both
sides with the same solver and puts makespan, loads, bound and price side by side; it claims no more than the solver
does, so a saving is *certain* only where the plan before is proven or the new plan is shorter than the old bound.

Names that do not exist are refused with the nearest valid one; what changes nothing is refused too, because its answer
would look like a result. Every change is linear in hosts and tasks.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError, nearest
from ostler.planning.certificate import Certificate
from ostler.planning.instance import PERMILLE, Choice, Instance, PlanHost, PlanTask, Serving, checked
from ostler.planning.plan import Plan

GB = 1000**3
CLOUD_SLOTS = 100
Solve = Callable[[Instance], tuple[Plan, Certificate]]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What if this were so: the same problem before and after one change."""

    said: str
    """The change in words, as a condition: `one more host like mac`."""
    before: Instance
    after: Instance


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a question comes to."""

    plan: Plan
    certificate: Certificate
    cost_micro_usd: int

    @property
    def makespan_ms(self) -> int:
        """When the last task ends."""
        return self.plan.makespan_ms

    @property
    def loads(self) -> int:
        """Loads of models."""
        return self.plan.loads

    @property
    def bound_ms(self) -> int:
        """No plan is shorter."""
        return self.certificate.bound_ms

    @property
    def proven(self) -> bool:
        """Whether no plan is shorter than this one."""
        return self.plan.proven or self.makespan_ms <= self.bound_ms


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of a question."""

    said: str
    before: Outlook
    after: Outlook

    @property
    def saved_ms(self) -> int:
        """By how much the makespan shrinks; negative if it grows."""
        return self.before.makespan_ms - self.after.makespan_ms

    @property
    def certain(self) -> bool:
        """Whether the change helps for sure: no plan without it is as short as the plan found with it."""
        least_ms = self.before.makespan_ms if self.before.proven else self.before.bound_ms
        return self.after.makespan_ms < least_ms

    @property
    def added_cost_micro_usd(self) -> int:
        """What the plan after the change costs more."""
        return self.after.cost_micro_usd - self.before.cost_micro_usd


def outlook(instance: Instance, solve: Solve) -> Outlook:
    """Plan an instance and say what the plan comes to."""
    plan, certificate = solve(instance)
    return Outlook(plan=plan, certificate=certificate, cost_micro_usd=cost_micro_usd(instance, plan))


def answer(question: Question, solve: Solve, before: Outlook | None = None) -> Answer:
    """Plan both sides; `before` spares planning the same instance again for several questions."""
    known = before or outlook(question.before, solve)
    return Answer(said=question.said, before=known, after=outlook(question.after, solve))


def cost_micro_usd(instance: Instance, plan: Plan) -> int:
    """The price of the choices that a plan takes."""
    choices = {task.id: task.choices for task in instance.tasks}
    return sum(choices[placement.task][placement.choice].cost_micro_usd for placement in plan.placements)


def add_host(instance: Instance, like: str, count: int = 1) -> Question:
    """More hosts with the memory and models of one that exists, with nothing loaded."""
    model = _host(instance, like)
    if count < 1:
        raise _nothing(f"{count} more hosts")
    taken = {host.name for host in instance.hosts}
    hosts: list[PlanHost] = []
    number = 2
    while len(hosts) < count:
        name = f"{like}-{number}"
        if name not in taken:
            hosts.append(replace(model, name=name, resident=()))
        number += 1
    # A choice that is bound to the copied host may use its copies.
    tasks = [
        replace(task, choices=tuple(_also_on(choice, like, hosts) for choice in task.choices))
        for task in instance.tasks
    ]
    said = f"one more host like {like}" if count == 1 else f"{count} more hosts like {like}"
    return _asked(said, instance, hosts=(*instance.hosts, *hosts), tasks=tasks)


def add_memory(instance: Instance, host: str, memory_bytes: int) -> Question:
    """So much more memory on a host."""
    found = _host(instance, host)
    if found.memory_bytes is None:
        raise _nothing("more memory for a host without a limit", host)
    if memory_bytes < 1:
        raise _nothing("no memory more", host)
    total_bytes = found.memory_bytes + memory_bytes
    more = replace(found, memory_bytes=total_bytes)
    said = f"{_gb(total_bytes)} instead of {_gb(found.memory_bytes)} of memory on {host}"
    return _asked(said, instance, hosts=_with_host(instance, more))


def allow_model(instance: Instance, model: str, tasks: Sequence[str]) -> Question:
    """These tasks may also use that model, for the duration of their first choice."""
    known = {name for host in instance.hosts for name in host.models}
    if model not in known:
        raise InvalidInputError(f"no host has model '{model}'", where="model", remedy=nearest(model, known))
    chosen = _tasks(instance, tasks)
    added = {
        task.id: replace(task, choices=(*task.choices, _also_with(task, model)))
        for task in chosen
        if all(choice.models != (model,) for choice in task.choices)
    }
    if not added:
        raise _nothing(f"all of them may use {model} already")
    return _asked(f"{model} allowed for {_listed(added)}", instance, tasks=_with_tasks(instance, added))


def set_slots(instance: Instance, slots: int, models: Sequence[str] = ()) -> Question:
    """So many slots for these models, or for all, on every host but clouds. Memory is taken to stay as it is."""
    known = {name for host in instance.hosts for name in host.models}
    for model in models:
        if model not in known:
            raise InvalidInputError(f"no host has model '{model}'", where="model", remedy=nearest(model, known))
    if slots < 1:
        raise _nothing(f"{slots} slots")
    hosts = [
        host
        if host.cloud
        else replace(
            host,
            models={
                name: replace(serving, slots=slots) if not models or name in models else serving
                for name, serving in host.models.items()
            },
        )
        for host in instance.hosts
    ]
    return _asked(f"{slots} slots for {_listed(models) if models else 'every model'}", instance, hosts=hosts)


def to_cloud(
    instance: Instance, tasks: Sequence[str], cost_micro_usd: int, *, host: str = "cloud", only: bool = True
) -> Question:
    """These tasks on a cloud, at that price each, for the duration of their first choice.

    With `only=False` the cloud is one more choice, and the plan decides. The cloud is added if there is none of that
    name; its model has the cloud's name.
    """
    chosen = _tasks(instance, tasks)
    if not chosen:
        raise _nothing("no task on a cloud")
    hosts = instance.hosts
    present = next((row for row in hosts if row.name == host), None)
    if present is None:
        hosts = (*hosts, PlanHost(name=host, cloud=True, models={host: Serving(slots=CLOUD_SLOTS)}))
    elif not present.cloud or host not in present.models:
        what = f"host '{host}' is no cloud with a model of its name"
        raise InvalidInputError(what, where="cloud", remedy="choose another name for the cloud")
    changed = {}
    for task in chosen:
        choice = Choice(
            models=(host,), duration_ms=task.choices[0].duration_ms, hosts=(host,), cost_micro_usd=cost_micro_usd
        )
        changed[task.id] = replace(task, choices=(choice,) if only else (*task.choices, choice))
    verb = "on" if only else "allowed on"
    said = f"{_listed(changed)} {verb} {host} for {cost_micro_usd / 1_000_000:.2f} USD each"
    return _asked(said, instance, hosts=hosts, tasks=_with_tasks(instance, changed))


def scale_swaps(instance: Instance, permille: int) -> Question:
    """Loads and unloads that take this share of their time: 0 = free, 5000 = five times as long."""
    if permille < 0 or permille == PERMILLE:
        raise _nothing(f"swaps at {permille} permille")
    hosts = [
        replace(
            host,
            models={
                name: replace(
                    serving,
                    load_ms=serving.load_ms * permille // PERMILLE,
                    unload_ms=serving.unload_ms * permille // PERMILLE,
                )
                for name, serving in host.models.items()
            },
        )
        for host in instance.hosts
    ]
    said = f"swaps x{permille / PERMILLE:g}" if permille else "swaps free"
    return _asked(said, instance, hosts=hosts)


def _asked(
    said: str, instance: Instance, *, hosts: Iterable[PlanHost] | None = None, tasks: Iterable[PlanTask] | None = None
) -> Question:
    after = replace(
        instance,
        hosts=instance.hosts if hosts is None else tuple(hosts),
        tasks=instance.tasks if tasks is None else tuple(tasks),
    )
    if after == instance:
        raise _nothing(said)
    return Question(said=said, before=instance, after=checked(after))


def _nothing(what: str, where: str = "what if") -> InvalidInputError:
    return InvalidInputError(f"this changes nothing: {what}", where=where, remedy="ask for a change")


def _host(instance: Instance, name: str) -> PlanHost:
    names = [host.name for host in instance.hosts]
    if name not in names:
        raise InvalidInputError(f"no host '{name}'", where="host", remedy=nearest(name, names))
    return instance.host(name)


def _tasks(instance: Instance, names: Sequence[str]) -> list[PlanTask]:
    tasks = {task.id: task for task in instance.tasks}
    for name in names:
        if name not in tasks:
            raise InvalidInputError(f"no task '{name}'", where="tasks", remedy=nearest(name, tasks))
    return [tasks[name] for name in dict.fromkeys(names)]


def _with_host(instance: Instance, changed: PlanHost) -> list[PlanHost]:
    return [changed if host.name == changed.name else host for host in instance.hosts]


def _with_tasks(instance: Instance, changed: dict[str, PlanTask]) -> list[PlanTask]:
    return [changed.get(task.id, task) for task in instance.tasks]


def _also_with(task: PlanTask, model: str) -> Choice:
    first = task.choices[0]
    return Choice(models=(model,), duration_ms=first.duration_ms, memory_bytes=first.memory_bytes)


def _also_on(choice: Choice, like: str, hosts: Sequence[PlanHost]) -> Choice:
    if like not in choice.hosts:
        return choice
    return replace(choice, hosts=(*choice.hosts, *(host.name for host in hosts)))


def _listed(names: Iterable[str]) -> str:
    *front, last = names
    return f"{', '.join(front)} and {last}" if front else last


def _gb(memory_bytes: int) -> str:
    return f"{memory_bytes / GB:g} GB"
