"""`ostler loop`: each verb asks the hub one thing and says what came back."""

import json

import pytest

from ostler.domain.errors import ConflictError
from ostler.domain.tasks import TaskKind
from ostler.hub.loop_views import LoopWish, ScheduleChange
from tests.cli.conftest import Ostler
from tests.web import loop_samples
from tests.web.recording_hub import ServedHub


def made(served: ServedHub) -> LoopWish:
    ((wish,),) = served.asked("create_loop")
    assert isinstance(wish, LoopWish)
    return wish


def test_a_loop_is_made_of_a_task_and_a_schedule(ostler: Ostler, served: ServedHub) -> None:
    """The options of a task say what each step is; those of the schedule what is to be other than the profile says."""
    flags = ("--minutes", "10", "--ticks", "3", "--wait-for-budget", "--catch-up", "--tier", "standard", "--start")
    code, out, _ = ostler("loop", "create", "night", "mend", "it", *flags)
    wish = made(served)
    assert code == 0
    assert (wish.name, wish.start, wish.work.prompt, wish.work.tier) == ("night", True, "mend it", "standard")
    assert wish.schedule == ScheduleChange(
        interval_minutes=10, ticks_per_loop=3, auto_pause_on_budget=False, catch_up=True
    )
    assert "running" in out


def test_a_loop_may_run_a_command_on_a_clock(ostler: Ostler, served: ServedHub) -> None:
    """With a cron expression; what is after `--` is the command."""
    code, _, _ = ostler("loop", "create", "tests", "--cron", "0 6 * * *", "--command", "--", "make", "test")
    wish = made(served)
    assert code == 0
    assert (wish.work.kind, wish.work.argv, wish.schedule.cron) == (TaskKind.COMMAND, ("make", "test"), "0 6 * * *")


def test_a_stimulus_may_stand_alone(ostler: Ostler, served: ServedHub) -> None:
    """Then the work has no prompt of its own; with neither there is nothing to say."""
    code, _, _ = ostler("loop", "create", "night", "--stimulus", "look around")
    assert code == 0
    assert (made(served).work.prompt, made(served).schedule.stimulus) == ("", "look around")
    code, _, err = ostler("loop", "create", "night")
    assert code == 2
    assert "no prompt is given" in err


@pytest.mark.parametrize("verb", ["start", "stop", "pause", "resume"])
def test_a_loop_is_steered(ostler: Ostler, served: ServedHub, verb: str) -> None:
    """Each verb is one request, and shows what the loop does then."""
    code, out, _ = ostler("loop", verb, "night")
    assert code == 0
    assert served.asked("steer_loop") == [("night", verb)]
    assert out.splitlines() == [
        "loop       night",
        "status     running",
        "under way  loop 3, tick 4 of 15, step 2",
        "task       loop-night-3-4-2, waits: capacity: all slots are taken",
    ]


def test_a_change_names_what_is_given(ostler: Ostler, served: ServedHub) -> None:
    """And nothing else."""
    assert ostler("loop", "change", "night", "--hours", "2", "--max-loops", "0", "--skip-missed").code == 0
    ((name, change),) = served.asked("change_loop")
    assert name == "night"
    assert change == ScheduleChange(interval_hours=2, max_loops=0, catch_up=False)


def test_loops_are_listed(ostler: Ostler, served: ServedHub) -> None:
    """One line each."""
    _, out, _ = ostler("loop", "list")
    heading, row = out.splitlines()
    assert heading.split()[:5] == ["NAME", "STATUS", "LOOP", "TICK", "NEXT"]
    assert row.split()[:4] == ["night", "running", "3", "4/15"]
    assert "$0.045" in row or "$0.05" in row or "$0.04" in row


def test_the_status_is_the_whole_of_it(ostler: Ostler, served: ServedHub) -> None:
    """Schedule, counts, cost, last error, and what the agent keeps in mind; JSON is what the hub says."""
    _, out, _ = ostler("loop", "status", "night")
    for words in (
        "30 min from the start",
        "2 done, 0 skipped, of no end",
        "33, 1 failed",
        "no such file",
        "look around",
    ):
        assert words in out
    assert out.endswith("Objectives:\n- mend the roof\n")
    _, told, _ = ostler("loop", "status", "night", "--json")
    assert json.loads(told)["loop"]["run"]["tick"] == 4


def test_the_history_lists_what_is_over(ostler: Ostler, served: ServedHub) -> None:
    """The newest first; the number is asked for."""
    _, out, _ = ostler("loop", "history", "night", "--limit", "3")
    assert served.asked("loop_history") == [("night", 3)]
    assert out.splitlines()[1].split()[0] == "2"
    assert "1 min 40 s" in out
    assert "completed" in out


def test_a_loop_is_dropped_and_a_refusal_is_told(ostler: Ostler, served: ServedHub) -> None:
    """With the hub's own remedy, and the exit code of a refusal."""
    assert ostler("loop", "drop", "night").out == "dropped night\n"
    served.fails_with(ConflictError("loop night is running", remedy="'ostler loop stop night' first"))
    code, _, err = ostler("loop", "drop", "night")
    assert code == 4
    assert "ostler loop stop night" in err
    assert loop_samples.LOOP.name == "night"
