"""Results on their way: how long they are is known when the last need is met, and moves the route."""

import pytest

from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import ResultsRule
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from tests.scheduling.rig import HandClock, Rig, cloud, local

LONG = "x" * 4 * 40_000
"""More than the local model's window of 32,768 tokens."""


def house() -> Rig:
    """A local model, a cloud with a larger window, a worker."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=8))
    rig.up(cloud(), models=("claude",))
    return rig


def test_results_count_for_the_window_of_those_that_take_them() -> None:
    """A short prompt with a long result goes where both fit; the row says how much it was handed."""
    rig = house()
    rig.chat("a")
    rig.chat("b", needs=["a"])
    rig.chat("free", needs=["a"], results=ResultsRule.NONE)
    rig.finish("a", output=LONG)
    assert rig.rows["a"].output_tokens == 40_000
    assert (rig.rows["b"].handed_tokens, rig.rows["b"].model) == (40_000, "claude")
    assert (rig.rows["free"].handed_tokens, rig.rows["free"].model) == (0, "qwen")


def test_results_of_several_needs_add_up() -> None:
    """Whatever the order in which they end; only of those that the prompt names."""
    rig = house()
    for name in ("a", "b", "c"):
        rig.chat(name)
    rig.chat("t", prompt="use {{ results.a }} and {{ results.c }}", needs=["a", "b", "c"])
    for name, characters in (("c", 40), ("b", 4_000), ("a", 400)):
        rig.finish(name, output="x" * characters)
    assert rig.rows["t"].handed_tokens == 110


def test_what_an_optional_task_left_behind_is_not_handed() -> None:
    """It failed: those that need it run without it."""
    rig = house()
    rig.chat("a", optional=True)
    rig.chat("t", needs=["a"])
    rig.finish("a", FailureClass.REFUSAL, output="half a ")
    assert (rig.state("t"), rig.rows["t"].handed_tokens) == (TaskState.ASSIGNED, 0)


def test_a_need_that_ended_before_counts_too() -> None:
    """Told by the shell with the new task, since the actor forgets what ended."""
    rig = house()
    rig.chat("t", needs=["gone"])
    row = rig.rows["t"]
    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.rows["t"] = row
    assert row.state is TaskState.CANCELLED, "nobody told of the need that ended"

    other = house()
    other.chat("first")
    other.finish("first", output=LONG)
    other.chat("t2", needs=["first"], not_before_ms=other.now_ms + 5)
    assert other.state("t2") is TaskState.CANCELLED
    told = sig.Retry(task=other.rows["t2"], settled={"first": True}, lengths={"first": 40_000})
    other.tell(told)
    other.pass_ms(5)
    assert (other.rows["t2"].handed_tokens, other.rows["t2"].model) == (40_000, "claude")


def test_a_restart_loses_nothing_that_came_in() -> None:
    """One need ended before the restart, the other after it: both are counted."""
    rig = house()
    rig.chat("a")
    rig.chat("b")
    rig.chat("t", needs=["a", "b"])
    rig.finish("a", output="x" * 400)
    rig.start("b")
    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.up(local("gpu", slots=8))
    tasks = (rig.rows["b"], rig.rows["t"])
    rig.tell(sig.Restored(tasks=tasks, sessions=(), settled={"a": True}, lengths={"a": 100}))
    rig.worker("w2")
    rig.finish("b", output="x" * 80)
    assert rig.rows["t"].handed_tokens == 120


def test_a_task_that_is_sent_back_is_handed_the_new_results() -> None:
    """A retry counts anew."""
    rig = house()
    rig.chat("a")
    rig.chat("t", needs=["a"])
    rig.finish("a", output="x" * 400)
    rig.finish("t", FailureClass.REFUSAL)
    rig.tell(sig.Retry(task=rig.rows["t"], settled={"a": True}, lengths={"a": 7}))
    assert rig.rows["t"].handed_tokens == 7


@pytest.mark.parametrize("ends", ["cancel", "expire"])
def test_nothing_is_kept_for_a_task_that_ended(ends: str) -> None:
    """The books forget what came in for it."""
    rig = house()
    rig.chat("a")
    rig.chat("b")
    rig.chat("t", needs=["a", "b"])
    rig.finish("a", output="x" * 400)
    assert rig.scheduler.books.handed == {"t": 100}
    if ends == "cancel":
        rig.tell(sig.Cancel(task_id="t"))
    else:
        rig.finish("b", FailureClass.REFUSAL)
    assert rig.state("t") is TaskState.CANCELLED
    assert rig.scheduler.books.handed == {}


def test_commands_are_handed_files_which_take_no_window() -> None:
    """Nothing is added up for them."""
    rig = house()
    rig.chat("a")
    rig.command("t", needs=["a"])
    rig.finish("a", output=LONG)
    assert (rig.state("t"), rig.rows["t"].handed_tokens) == (TaskState.ASSIGNED, 0)
