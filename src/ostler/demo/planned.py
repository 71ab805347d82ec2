"""The plan of the pipeline above what happened, as two charts of one scale, with the figures of both."""

from rich.console import Group, RenderableType
from rich.text import Text

from ostler.hub.plan_pictures import pictures
from ostler.hub.plan_views import RunPlan
from ostler.planning.figures import Figures
from ostler.planning.gantt_text import chart, legend, plain_text

WIDTH = 116
REMARK = "The plan is for these agents alone; the machines served the other tasks too, whose loads are counted as well."


def planned_and_actual(plan: RunPlan) -> RenderableType:
    """Both charts, from the instant at which the first plan was made."""
    above, below = pictures(plan)
    return Group(
        Text(f"planned   {_figures(plan.planned_figures)}{_bound(plan)}", style="bold"),
        *map(Text, plain_text(chart(above, WIDTH))),
        Text(""),
        Text(f"actual    {_figures(plan.actual_figures)}", style="bold"),
        *map(Text, plain_text(chart(below, WIDTH))),
        *map(Text, plain_text([legend(below)])),
        *(Text(line, style="dim") for line in _versions(plan)),
        Text(REMARK, style="dim"),
    )


def _figures(told: Figures) -> str:
    return f"{told.makespan_ms / 1000:.1f} s, {told.loads} loads, {told.swap_ms / 1000:.1f} s of loading and unloading"


def _bound(plan: RunPlan) -> str:
    bound_ms = plan.versions[0].bound_ms
    return f"; no plan is shorter than {bound_ms / 1000:.1f} s" if bound_ms else ""


def _versions(plan: RunPlan) -> list[str]:
    """Why a new plan was made, each time."""
    return [
        f"{(version.made_ms - plan.started_ms) / 1000:6.1f} s  plan {version.version}, because of {version.reason}:"
        f" {version.makespan_ms / 1000:.1f} s more"
        for version in plan.versions[1:]
    ]
