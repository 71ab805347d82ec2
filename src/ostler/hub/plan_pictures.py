"""The plan of a run and what happened as two pictures of one scale, a model in the same place of both legends. Pure."""

import msgspec

from ostler.hub.plan_views import RunPlan
from ostler.planning.actual import Actual, without_prefix
from ostler.planning.gantt import Gantt, gantt


def pictures(plan: RunPlan) -> tuple[Gantt, Gantt]:
    """Planned and actual. Tasks have the names of their file."""
    prefix = f"{plan.run}."
    end_ms = max(plan.planned.plan.makespan_ms, plan.actual.plan.makespan_ms)
    planned, actual = (_drawn(side, prefix, end_ms) for side in (plan.planned, plan.actual))
    models = tuple(dict.fromkeys((*planned.models, *actual.models)))
    return msgspec.structs.replace(planned, models=models), msgspec.structs.replace(actual, models=models)


def _drawn(side: Actual, prefix: str, end_ms: int) -> Gantt:
    """One side. What was under way when the plan was made begins with the picture."""
    short = without_prefix(side, prefix)
    rows = [row for row in short.plan.placements if row.end_ms > 0]
    begun = tuple(msgspec.structs.replace(row, start_ms=max(0, row.start_ms)) for row in rows)
    return gantt(short.instance, msgspec.structs.replace(short.plan, placements=begun), until_ms=end_ms)
