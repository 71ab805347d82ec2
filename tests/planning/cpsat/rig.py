"""Small instances for the exact solver, and the claims that hold of every answer."""

from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan

PLAIN = Goal()


def task(name: str, model: str, duration_ms: int, *needs: str, optional: bool = False, memory: int = 0) -> PlanTask:
    choice = Choice(models=tuple(model.split("+")), duration_ms=duration_ms, memory_bytes=memory)
    return PlanTask(id=name, choices=(choice,), needs=needs, optional=optional)


def box(*models: str, name: str = "box", memory: int = 10, resident: tuple[str, ...] = (), **all_of: int) -> PlanHost:
    """A host where two models of 6 do not fit together. `all_of` changes what each model takes."""
    serving = Serving(**{"memory_bytes": 6, "load_ms": 20, "unload_ms": 10, **all_of})  # type: ignore[arg-type]
    return PlanHost(name=name, memory_bytes=memory, models=dict.fromkeys(models, serving), resident=resident)


def problem(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (box("a", "b"),), minute_price: int = 60_000) -> Instance:
    return Instance(hosts=hosts, tasks=tasks, minute_price_micro_usd=minute_price)


def solved(instance: Instance, seconds: float = 20.0, hint: Plan | None = None, goal: Goal = PLAIN) -> Solved:
    """The answer, after checking what must hold of any: the plan can be carried out, and no bound is above it."""
    answer = solve(instance, seconds=seconds, hint=hint, goal=goal)
    if answer.plan is not None:
        assert check_plan(instance, answer.plan) == ()
        assert answer.bound_ms <= answer.plan.makespan_ms
        assert answer.plan.proven == (
            answer.status is Status.PROVEN and not goal.priced and goal.budget_micro_usd is None
        )
    return answer


def best(instance: Instance, goal: Goal = PLAIN) -> tuple[int, int]:
    """Makespan and loads of the proven optimum."""
    answer = solved(instance, goal=goal)
    assert answer.status is Status.PROVEN, answer.reason
    assert answer.plan is not None
    return answer.plan.makespan_ms, answer.plan.loads
