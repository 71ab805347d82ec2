"""What the end of an attempt says about its model is kept; what was not its doing is not."""

import pytest

from ostler.domain.commands import PutObservations
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.observations import Observation, Origin
from ostler.domain.states import FailureClass, Outcome, TaskState
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling.effects import Apply
from ostler.scheduling.noting import OWN_FAILURES
from ostler.scheduling.signals import Probed
from tests.scheduling.rig import Rig, cloud, local
from tests.scheduling.test_purse import rig as priced_rig


def kept(rig: Rig) -> list[Observation]:
    return [
        one
        for effect in rig.effects
        if isinstance(effect, Apply) and isinstance(effect.command, PutObservations)
        for one in effect.command.observations
    ]


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.worker()
    rig.up(local("box"))
    return rig


def test_a_success_is_kept_with_what_it_took(rig: Rig) -> None:
    """Type, model, tier, place, the first try, and how long it ran."""
    rig.chat("t1", task_type="docs")
    rig.start("t1")
    rig.pass_ms(700)
    rig.finish("t1")
    (one,) = kept(rig)
    assert (one.id, one.task_id, one.task_type, one.model, one.tier) == ("t1:1", "t1", "docs", "qwen", "standard")
    assert (one.success, one.attempt, one.retries, one.duration_ms) == (True, 1, 0, 700)
    assert (one.proof, one.origin, one.quality) == (Outcome.REPORTED, Origin.AUTO, "first try")


def test_a_failed_check_is_kept_and_the_next_try_is_the_second(rig: Rig) -> None:
    """The check's word is proof; the try after it is told apart from a first one."""
    rig.chat("t1")
    rig.finish("t1", FailureClass.VERIFICATION)
    rig.pass_ms(3_000)
    assert rig.state("t1") is TaskState.ASSIGNED
    rig.finish("t1")
    first, second = kept(rig)
    assert (first.success, first.proof, first.attempt, first.note) == (False, Outcome.VERIFIED, 1, "verification")
    assert (second.success, second.attempt, second.retries, second.quality) == (True, 2, 1, "after a fix")
    assert first.id != second.id


def test_a_failure_after_which_nothing_is_tried_needs_a_person(rig: Rig) -> None:
    """Said of the last try alone: what another one may mend needs nobody yet."""
    rig.chat("t1", max_attempts=2)
    rig.finish("t1", FailureClass.VERIFICATION)
    rig.pass_ms(3_000)
    rig.finish("t1", FailureClass.VERIFICATION)
    assert rig.state("t1") is TaskState.DEAD_LETTER
    rig.chat("t2")
    rig.finish("t2", FailureClass.REFUSAL)
    assert rig.state("t2") is TaskState.FAILED
    assert [one.quality for one in kept(rig)] == ["", "needs a person", "needs a person"]


def test_what_it_cost_is_kept_where_it_is_known() -> None:
    """A paid place by its count and price, a place of one's own nothing, without a count nobody knows."""
    rig = priced_rig()
    count = Usage(input_tokens=1_000, output_tokens=200)
    rig.chat("paid", Complexity.COMPLEX)
    rig.finish("paid", usage=count)
    rig.chat("own")
    rig.finish("own", usage=count)
    rig.chat("uncounted")
    rig.finish("uncounted")
    assert {one.task_id: one.cost_micro_usd for one in kept(rig)} == {"paid": 6_000, "own": 0, "uncounted": None}


@pytest.mark.parametrize("kind", sorted(set(FailureClass) - OWN_FAILURES))
def test_what_others_did_says_nothing_about_a_model(rig: Rig, kind: FailureClass) -> None:
    """An outage, a limit, a lost worker, a person: nothing is kept."""
    rig.chat("t1")
    rig.finish("t1", kind)
    assert kept(rig) == []


@pytest.mark.parametrize("kind", sorted(OWN_FAILURES))
def test_a_models_own_failures_count(rig: Rig, kind: FailureClass) -> None:
    """Once for each attempt."""
    rig.chat("t1")
    rig.finish("t1", kind)
    (one,) = kept(rig)
    assert (one.success, one.note) == (False, kind.value)


def test_a_command_without_a_model_says_nothing(rig: Rig) -> None:
    """Nothing to learn of whoever was not asked."""
    rig.command("t1")
    rig.finish("t1")
    assert rig.state("t1") is TaskState.SUCCEEDED
    assert kept(rig) == []


def test_a_late_report_of_an_old_attempt_is_not_kept_again(rig: Rig) -> None:
    """What was taken back does not count, whatever its worker says later."""
    rig.chat("t1")
    rig.finish("t1")
    rig.report_finished("t1", 1, "s1")
    assert len(kept(rig)) == 1


def test_a_try_after_a_step_up_is_no_first_try(rig: Rig) -> None:
    """The budget of attempts is fresh there; for learning it is the second try of its task."""
    rig.up(cloud(), models=("claude",))
    rig.chat("t1")
    rig.finish("t1", FailureClass.CAPABILITY)
    rig.pass_ms(10)
    rig.finish("t1")
    first, second = kept(rig)
    assert (first.attempt, second.attempt, second.tier, second.quality) == (1, 2, "complex", "after a fix")


def test_the_version_of_the_model_is_kept_where_its_endpoint_tells_it(rig: Rig) -> None:
    """A listing that names versions: each outcome says which one it was."""
    probe = Probe(
        endpoint="box",
        status=ProbeStatus.AVAILABLE,
        at_ms=rig.now_ms,
        models=("qwen",),
        versions={"qwen:latest": "845d"},
    )
    rig.chat("before")
    rig.finish("before")
    rig.tell(Probed(probe=probe))
    rig.chat("after")
    rig.finish("after")
    assert [one.version for one in kept(rig)] == ["", "845d"]
