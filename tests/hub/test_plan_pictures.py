"""Planned and actual as two pictures."""

from msgspec.structs import replace

from ostler.hub.plan_pictures import pictures
from ostler.planning.plan import Placement
from tests.web import samples


def test_both_have_one_scale_and_one_order_of_models() -> None:
    """So that one can be read against the other; tasks have the names of their file."""
    planned, actual = pictures(samples.run_plan("r-1"))

    assert planned.makespan_ms == actual.makespan_ms == 55_000
    assert planned.models == actual.models
    labels = {bar.label for side in (planned, actual) for lane in side.hosts[0].lanes for bar in lane.bars}
    assert labels == {"a", "qwen"}


def test_what_was_under_way_begins_with_the_picture() -> None:
    """A run may be planned when some of it runs, and has ended, before."""
    plan = samples.run_plan("r-1")
    (row,) = plan.actual.plan.placements
    task = replace(plan.actual.instance.tasks[0], id="r-1.b")
    rows = (replace(row, start_ms=-9_000), Placement(task="r-1.b", host=row.host, start_ms=-9_000, end_ms=-1))
    record = replace(
        plan.actual,
        instance=replace(plan.actual.instance, tasks=(*plan.actual.instance.tasks, task)),
        plan=replace(plan.actual.plan, placements=rows),
    )
    _, actual = pictures(replace(plan, actual=record))

    bars = [bar for lane in actual.hosts[0].lanes if not lane.memory for bar in lane.bars]
    assert [(bar.label, bar.start_ms) for bar in bars] == [("a", 0)]
