"""Pipelines: runs by name, and one run with its plan beside what happened, drawn as a Gantt chart."""

from markupsafe import Markup

from ostler.domain.errors import NotFoundError
from ostler.hub.api import HubApi
from ostler.hub.plan_pictures import pictures
from ostler.hub.plan_views import RunPlan
from ostler.planning.gantt_svg import svg
from ostler.web.pages.view import Ask, View


async def listing(api: HubApi, ask: Ask) -> View:
    """Runs, the one that changed last first."""
    text = ask.word("q").casefold()
    runs = [row for row in await api.board.runs() if text in row.name.casefold()]
    return View(
        template="pipelines.html",
        title="Pipelines",
        section="pipelines",
        data={"runs": runs, "q": ask.word("q")},
        regions=("pipelines/runs.html",),
    )


async def run(api: HubApi, ask: Ask) -> View:
    """One run: its phases, its plan, and the two drawn one above the other."""
    name = ask.names["run"]
    results = await api.results(name)
    plan = await _plan(api, name)
    now_ms = results.now_ms
    return View(
        template="pipeline.html",
        title=name,
        section="pipelines",
        data={
            "run": name,
            "results": results,
            "plan": plan,
            "chart": chart(plan) if plan is not None else None,
            "open": any(row.finished_ms is None for phase in results.phases for row in phase.tasks),
            "late": {row.task: row.late_ms for row in plan.rows} if plan is not None else {},
            "now_ms": now_ms,
        },
        regions=("pipeline/head.html", "pipeline/chart.html", "pipeline/phases.html"),
    )


async def _plan(api: HubApi, name: str) -> RunPlan | None:
    try:
        return await api.plans.show(name)
    except NotFoundError:
        return None


def chart(plan: RunPlan) -> Markup:
    """Planned and actual as one drawing; its looks are those of the page."""
    planned, actual = pictures(plan)
    return Markup(svg([("planned", planned), ("actual", actual)], styled=False))  # noqa: S704 - made of elements
