"""The task's own models in turn: a model that proved not capable gives way to the next, within one budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.catalog import Catalog, CostClass, ModelSpec, TierSpec
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.states import FailureClass as F
from ostler.domain.states import TaskState
from ostler.scheduling import signals as sig
from ostler.scheduling.failures import RULES, Move
from tests.scheduling.rig import Rig, local
from tests.scheduling.test_failures import step, task

NAMES = ("m0", "m1", "m2", "m3")
BLAMED = sorted(kind for kind, rule in RULES.items() if rule.blames_model)


def policy() -> Policy:
    """Four models of one local tier."""
    tiers = (
        TierSpec(name="direct", rank=0, cost=CostClass.FREE),
        TierSpec(name="local", rank=1, models=NAMES),
    )
    catalog = Catalog(tiers=tiers, models={name: ModelSpec(name=name) for name in NAMES})
    return Policy(catalog=catalog, routing=RoutingPolicy())


def house(*models: str) -> Rig:
    """One endpoint that serves these models, one worker."""
    rig = Rig(policy())
    rig.worker()
    rig.up(local("gpu", slots=4), models=models or NAMES)
    return rig


@pytest.mark.parametrize("kind", BLAMED)
def test_the_next_attempt_after_the_models_fault_uses_the_next_model_at_once(kind: F) -> None:
    """No delay, and the failed model is on the record of the new decision."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1", "m2"])
    rig.finish("t", kind, "wrong answer")
    row = rig.rows["t"]
    assert (row.state, row.model, row.model_step, row.fallback_used) == (TaskState.ASSIGNED, "m1", 1, True)
    decision = rig.assignment("t").command.decision
    assert decision is not None
    assert decision.fallback_reason == f"attempt 1 on m0 failed ({kind.value})"
    assert decision.fallback_from_model == "m0"
    assert row.excluded == (), "another model may run where this one failed"


@pytest.mark.parametrize("kind", [F.COMMAND, F.SERVER, F.NETWORK, F.TIMEOUT, F.RATE_LIMIT, F.WORKER_LOST])
def test_what_is_not_the_models_fault_keeps_the_model(kind: F) -> None:
    """An outage or a broken command says nothing about the model."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1"])
    rig.finish("t", kind)
    assert (rig.rows["t"].model_step, rig.rows["t"].model) == (0, "m0")


def test_when_all_are_used_up_the_error_names_every_attempt_and_the_last_message() -> None:
    """Three attempts for the task, not three for each model."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1", "m2", "m3"])
    for message in ("no tests", "bad syntax", "still red"):
        rig.finish("t", F.VERIFICATION, message)
    row = rig.rows["t"]
    assert (row.state, row.attempts_used) == (TaskState.DEAD_LETTER, 3)
    assert row.failure is not None
    assert row.failure.message == (
        "3 of 3 attempts failed (attempt 1 on m0 failed (verification); attempt 2 on m1 failed (verification);"
        " attempt 3 on m2 failed (verification)); the last one: still red"
    )


def test_the_last_model_is_tried_until_the_attempts_are_used_up() -> None:
    """With fewer models than attempts, after the usual delay."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1"], max_attempts=4)
    used = [rig.rows["t"].model]
    for _ in range(3):
        rig.finish("t", F.VERIFICATION)
        rig.pass_ms(8_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
        used.append(rig.rows["t"].model)
    assert used == ["m0", "m1", "m1", "m1"]
    rig.finish("t", F.VERIFICATION)
    assert rig.state("t") is TaskState.DEAD_LETTER


def test_a_refused_load_costs_no_attempt_and_moves_on() -> None:
    """As elsewhere: what the host refuses is not the work's failure."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1"])
    rig.finish("t", F.OUT_OF_MEMORY)
    assert (rig.rows["t"].model, rig.rows["t"].attempts_used, rig.rows["t"].attempts_lost) == ("m1", 0, 1)


def test_a_stand_in_that_fails_gives_way_to_the_one_after_it() -> None:
    """The pinned model was out of reach, so the second one ran; the third is next, not the second again."""
    rig = house("m1", "m2")
    rig.chat("t", model="m0", fallback_models=["m1", "m2"])
    rig.pass_ms(5_000)
    assert rig.rows["t"].model == "m1"
    assert rig.named("scheduler.fallback") == []
    (event,) = rig.named("scheduler.model_fallback")
    assert (event.metadata["original_model"], event.metadata["fallback_model"]) == ("m0", "m1")
    rig.finish("t", F.VERIFICATION)
    assert rig.rows["t"].model == "m2"


def test_a_model_that_comes_back_in_time_is_used() -> None:
    """The wait before a stand-in is for this."""
    rig = house("m1")
    rig.chat("t", model="m0", fallback_models=["m1"])
    assert rig.wait_code("t") == "fallback_wait"
    rig.up(local("gpu", slots=4), models=NAMES)
    assert (rig.rows["t"].model, rig.rows["t"].fallback_used) == ("m0", False)


def test_a_retry_by_hand_begins_with_the_first_model() -> None:
    """A fresh budget for every model."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=["m1"], max_attempts=2)
    rig.finish("t", F.VERIFICATION)
    rig.finish("t", F.VERIFICATION)
    rig.tell(sig.Retry(task=rig.rows["t"]))
    row = rig.rows["t"]
    assert (row.model, row.model_step, row.tried) == ("m0", 0, ())


def test_other_models_come_before_the_next_tier() -> None:
    """What the user named is tried before what the ladder has."""
    with_models = step(task(), F.CAPABILITY, can_rise=True)
    assert with_models.move is Move.UP
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=4), models=("qwen", "other"))
    rig.chat("t", fallback_models=["other"])
    rig.finish("t", F.CAPABILITY)
    assert (rig.rows["t"].model, rig.rows["t"].quality_steps) == ("other", 0)


@given(st.lists(st.sampled_from(sorted(RULES)), max_size=12), st.integers(0, 3), st.integers(1, 5))
def test_models_are_tried_in_order_and_attempts_stay_within_the_limit(
    failures: list[F], others: int, max_attempts: int
) -> None:
    """Whatever fails how often: the step never goes back nor beyond the last, and the budget is one."""
    rig = house()
    rig.chat("t", model="m0", fallback_models=list(NAMES[1 : 1 + others]), max_attempts=max_attempts, ttl_ms=0)
    before = 0
    for kind in failures:
        if rig.state("t") is not TaskState.ASSIGNED:
            rig.pass_ms(400_000)
            rig.worker()
        if rig.state("t") is not TaskState.ASSIGNED:
            break
        rig.finish("t", kind)
        row = rig.rows["t"]
        assert before <= row.model_step <= others
        assert row.attempts_used <= max_attempts
        assert row.model in NAMES[before : others + 1]
        before = row.model_step
