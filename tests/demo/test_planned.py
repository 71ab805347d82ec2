"""The plan of the pipeline above what happened."""

from msgspec.structs import replace
from rich.console import Console

from ostler.demo.planned import planned_and_actual
from tests.web import samples


def printed(plan: object) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(planned_and_actual(plan))  # type: ignore[arg-type]
    return capture.get()


def test_planned_and_actual_stand_one_above_the_other() -> None:
    """Both with their figures, on one scale; tasks by the names of the file."""
    text = printed(samples.run_plan("agents"))
    planned, actual = text.split("actual    ")

    assert "planned   50.0 s, 1 loads" in planned
    assert "no plan is shorter than 50.0 s" in planned
    assert actual.startswith("55.0 s, 0 loads")
    assert "[a" in planned
    assert "agents.a" not in text
    assert planned.splitlines()[1] == actual.splitlines()[1], "one axis for both"


def test_every_new_plan_is_told_with_its_reason() -> None:
    """When, why, and how long it then was to the end."""
    plan = samples.run_plan("agents")
    second = replace(plan.versions[0], version=2, made_ms=plan.started_ms + 9_000, reason="late: agents.a")

    text = printed(replace(plan, versions=(*plan.versions, second)))

    assert "9.0 s  plan 2, because of late: agents.a: 50.0 s more" in text


def test_a_plan_without_a_bound_claims_none() -> None:
    """What was not computed is not told."""
    plan = samples.run_plan("agents")

    assert "no plan is shorter" not in printed(replace(plan, versions=(replace(plan.versions[0], bound_ms=0),)))
