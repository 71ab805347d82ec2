"""Commands of a plan in force: none runs ahead of its turn where another one, which goes before it, needs its slot."""

from msgspec.structs import replace

from ostler.domain.states import TaskState
from ostler.planning.ground import COMMAND, WORKERS
from ostler.planning.guide import Guide
from ostler.planning.plan import Placement
from ostler.scheduling.signals import PlanDropped
from tests.scheduling.hosts_made import policy
from tests.scheduling.rig import START_MS, Rig
from tests.scheduling.test_following import adopt, guide

SECOND_MS = 1_000


def planned(**spans: tuple[int, int]) -> Guide:
    """A plan for commands of batch `run`: from when to when, in seconds."""
    rows = [
        Placement(task=name, host=WORKERS, start_ms=start * SECOND_MS, end_ms=end * SECOND_MS)
        for name, (start, end) in spans.items()
    ]
    rows.sort(key=lambda row: row.start_ms)
    models = dict.fromkeys(spans, (COMMAND,))
    return replace(guide(("big", ("nobody",))), episodes=(), placements=tuple(rows), models=models)


def rig_for(plan: Guide, slots: int, **needs: list[str]) -> Rig:
    """All commands of a plan, which becomes known before a worker comes."""
    rig = Rig(policy())
    for row in plan.placements:
        rig.command(row.task, batch="run", needs=needs.get(row.task, []))
    adopt(rig, plan)
    rig.worker("w", command=slots)
    return rig


def begun(rig: Rig) -> set[str]:
    """Those that have a slot, or had one."""
    return {name for name, row in rig.rows.items() if row.state not in (TaskState.QUEUED, TaskState.SCHEDULED)}


def test_a_long_one_does_not_take_the_slot_of_one_that_goes_before_it() -> None:
    """The slot is free now, and will be needed before the long one would have ended."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 1, first=["gate"])
    assert begun(rig) == {"gate"}
    rig.finish("gate")
    assert begun(rig) == {"gate", "first"}
    rig.finish("first")

    assert begun(rig) == {"gate", "first", "long"}


def test_with_a_slot_for_each_nobody_waits() -> None:
    """The plan's instants are not obeyed where it costs nobody anything."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 2, first=["gate"])
    assert begun(rig) == {"gate"}
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 3, first=["gate"])

    assert begun(rig) == {"gate", "long"}


def test_one_that_ends_before_it_is_filled_in() -> None:
    """It leaves its slot in time."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), short=(60, 70)), 2, first=["gate"])

    assert begun(rig) == {"gate", "short"}


def test_it_waits_no_longer_than_its_plan_says() -> None:
    """What goes before it may be late; that is told, and its own start is its own."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 2, first=["gate"])
    wait = rig.scheduler.wait_of("long")
    assert wait is not None
    assert "its plan has it start later on a worker" in wait.detail
    rig.pass_ms(START_MS + 60 * SECOND_MS - rig.now_ms - 1)
    assert begun(rig) == {"gate"}
    rig.pass_ms(1)

    assert begun(rig) == {"gate", "long"}


def test_a_dropped_plan_keeps_nobody_back() -> None:
    """They go on by the rule."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 2, first=["gate"])
    rig.tell(PlanDropped(batch="run", reason="asked"))

    assert begun(rig) == {"gate", "long"}


def test_commands_outside_of_the_plan_are_not_kept_back() -> None:
    """They are not in its way by its own choice, and it cannot order them."""
    rig = rig_for(planned(gate=(0, 20), first=(20, 50), long=(60, 200)), 2, first=["gate"])
    rig.command("stranger")

    assert begun(rig) == {"gate", "stranger"}
