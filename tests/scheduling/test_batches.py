"""Limits of a batch: how many of its tasks run at once, in all and on one model; the minimum of all limits holds."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import LEASED_STATES, FailureClass, TaskState
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.batches import Batches, limits_key
from tests.scheduling.rig import HandClock, Rig, local
from tests.scheduling.test_models import NAMES, policy


def house(*, slots: int = 8, chat: int = 16) -> Rig:
    """Four models on one endpoint."""
    rig = Rig(policy())
    rig.worker(chat=chat)
    rig.up(local("gpu", slots=slots), models=NAMES)
    return rig


def running(rig: Rig) -> list[str]:
    return [task_id for task_id, row in rig.rows.items() if row.state in LEASED_STATES]


def test_a_batch_runs_no_more_tasks_at_once_than_it_may() -> None:
    """The others wait with that reason, and follow one by one in their order."""
    rig = house()
    for number in range(5):
        rig.chat(f"t{number}", batch="r", batch_limit=2)
    assert running(rig) == ["t0", "t1"]
    wait = rig.scheduler.wait_of("t4")
    assert wait is not None
    assert (wait.code, wait.detail) == ("capacity", "2 tasks of r run, as many as may at once")
    rig.finish("t1")
    assert running(rig) == ["t0", "t2"]
    rig.finish("t0", FailureClass.REFUSAL)
    assert running(rig) == ["t2", "t3"]


def test_commands_count_as_well() -> None:
    """A task is a task."""
    rig = house()
    rig.command("c", batch="r", batch_limit=1)
    rig.chat("t", batch="r", batch_limit=1)
    assert running(rig) == ["c"]
    rig.finish("c")
    assert running(rig) == ["t"]


def test_a_model_is_used_by_no_more_tasks_of_the_batch_than_may() -> None:
    """Pinned work waits for it; the reason names model and batch."""
    rig = house()
    for number in range(3):
        rig.chat(f"t{number}", model="m0", batch="r", batch_slots={"m0": 1})
    rig.chat("other", model="m1", batch="r", batch_slots={"m0": 1})
    assert running(rig) == ["t0", "other"]
    wait = rig.scheduler.wait_of("t1")
    assert wait is not None
    assert "1 of 1 of m0 taken by r" in wait.detail
    rig.finish("t0")
    assert running(rig) == ["t1", "other"]


def test_free_work_takes_another_model_of_its_tier() -> None:
    """A full model is no reason to wait where the tier has others."""
    rig = house()
    for number in range(3):
        rig.chat(f"t{number}", batch="r", batch_slots={"m0": 1, "m1": 1})
    assert Counter(rig.rows[name].model for name in running(rig))["m0"] <= 1
    assert len(running(rig)) == 3


def test_a_full_model_is_no_reason_for_a_fallback_model() -> None:
    """Slots are waited for, as everywhere."""
    rig = house()
    for number in range(2):
        rig.chat(f"t{number}", model="m0", fallback_models=["m1"], batch="r", batch_slots={"m0": 1})
    rig.pass_ms(9_000)
    assert running(rig) == ["t0"]


def test_batches_do_not_hold_each_other() -> None:
    """Nor work without a batch, nor a batch without limits."""
    rig = house()
    rig.chat("a0", batch="a", batch_limit=1)
    rig.chat("a1", batch="a", batch_limit=1)
    rig.chat("b0", batch="b", batch_limit=1)
    rig.chat("free")
    rig.chat("c0", batch="c")
    rig.chat("c1", batch="c")
    assert running(rig) == ["a0", "b0", "free", "c0", "c1"]


@pytest.mark.parametrize(
    ("slots", "workers", "limit", "model", "most"), [(1, 9, 9, 9, 1), (9, 2, 9, 9, 2), (9, 9, 3, 9, 3), (9, 9, 9, 1, 1)]
)
def test_the_smallest_of_all_limits_holds(slots: int, workers: int, limit: int, model: int, most: int) -> None:
    """Slots of the endpoint, slots of the worker, the batch's limit, its slots of the model."""
    rig = house(slots=slots, chat=workers)
    for number in range(9):
        rig.chat(f"t{number}", model="m0", batch="r", batch_limit=limit, batch_slots={"m0": model})
    assert len(running(rig)) == most


def test_what_runs_is_counted_after_a_restart() -> None:
    """The limit holds over what the old process had started."""
    rig = house()
    for number in range(3):
        rig.command(f"t{number}", batch="r", batch_limit=1)
    session = next(iter(rig.scheduler.books.workers.states.values())).session
    rig.start("t0")
    rig.scheduler = Scheduler(rig.policy, HandClock())
    tasks = tuple(rig.rows.values())
    rig.tell(sig.Restored(tasks=tasks, sessions=(session,)))
    assert running(rig) == ["t0"]
    rig.finish("t0")
    assert running(rig) == ["t1"]


def test_a_lost_worker_gives_its_places_back() -> None:
    """What it held is counted once and freed once."""
    rig = house()
    for number in range(2):
        rig.command(f"t{number}", batch="r", batch_limit=1)
    rig.pass_ms(60_000)
    rig.worker("w2")
    assert len(running(rig)) == 1
    assert rig.scheduler.books.batches.running == {"r": 1}


def test_a_round_decides_once_for_all_that_a_limit_holds() -> None:
    """Of a thousand waiting tasks of a full batch only the head is looked at when one ends."""
    rig = house()
    for number in range(300):
        rig.command(f"t{number:03}", batch="r", batch_limit=1)
    before = len(rig.effects)
    rig.finish("t000")
    assert running(rig) == ["t001"]
    assert len(rig.effects) - before < 20
    assert len(rig.scheduler.books.queue.classes) == 1


def test_limits_make_a_class_of_their_own() -> None:
    """Only where there are any, so that batches without limits share one decision."""
    rig = house()
    rig.chat("a", batch="r", batch_limit=1)
    rig.chat("b", batch="s")
    assert limits_key(rig.rows["a"].facts) == ("r", 1, ())
    assert limits_key(rig.rows["b"].facts) is None


@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from([None, *FailureClass])), max_size=25),
)
def test_no_limit_is_ever_passed(limit: int, slots: int, ends: list[tuple[int, FailureClass | None]]) -> None:
    """Whatever ends how: the counts are those of the rows, and within the limits."""
    rig = house(slots=3)
    for number in range(8):
        model = NAMES[number % 2] if number % 3 else None
        rig.chat(f"t{number}", model=model, batch="r", batch_limit=limit, batch_slots={"m0": slots}, ttl_ms=0)
    for which, failure in ends:
        alive = running(rig)
        if alive:
            rig.finish(alive[which % len(alive)], failure)
        rig.pass_ms(2_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
        now = [rig.rows[name] for name in running(rig)]
        assert len(now) <= limit
        assert sum(row.model == "m0" for row in now) <= slots
        books: Batches = rig.scheduler.books.batches
        assert books.running == ({"r": len(now)} if now else {})
        assert books.by_model == {("r", name): n for name, n in Counter(row.model for row in now).items() if name}
    assert all(row.state is not TaskState.EVALUATING for row in rig.rows.values())


def test_a_task_of_a_run_does_not_expire_while_it_waits_for_its_turn() -> None:
    """A pipeline on one slot may take hours; the same task without a run, or with a time of its own, expires."""
    rig = house(slots=1)
    rig.chat("busy", model="m0")
    rig.start("busy")
    rig.chat("turn", batch="r")
    rig.chat("limited", batch="r", batch_limit=1, model="m1")
    rig.chat("alone")
    rig.chat("own", batch="r", ttl_ms=60_000)
    for _ in range(200):
        rig.pass_ms(10_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
    assert [rig.state(name).value for name in ("turn", "limited", "alone", "own")] == [
        "queued",
        "queued",
        "expired",
        "expired",
    ]
    rig.finish("busy")
    assert running(rig) == ["turn"]


def test_a_task_of_a_run_expires_when_its_places_are_gone() -> None:
    """Nothing is left to wait its turn for."""
    rig = house(slots=1)
    rig.chat("busy")
    rig.start("busy")
    rig.chat("turn", batch="r")
    rig.pass_ms(1_000)
    rig.tell(sig.WorkerRenewed(session_id="s1"))
    rig.down("gpu")
    for _ in range(130):
        rig.pass_ms(10_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
    assert rig.state("turn") is TaskState.EXPIRED
