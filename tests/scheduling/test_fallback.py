"""The wait for the preferred tier, the one step beside it, and what cancels the wait."""

import msgspec
import pytest

from ostler.domain.fleet import ProbeStatus
from ostler.domain.states import TaskState
from ostler.domain.tasks import Complexity
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.timers import TimerKind
from tests.scheduling.rig import HandClock, Rig, cloud, local


def outage() -> Rig:
    """Standard is down, the cloud is up, a worker is idle, a standard task waits."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.chat("t")
    return rig


def test_the_fallback_comes_at_five_seconds_and_not_before() -> None:
    """Not at 4,999 ms, at 5,000 ms; and the fallback tier is really used."""
    rig = outage()

    assert rig.wait_code("t") == "fallback_wait"
    rig.pass_ms(4_999)
    assert rig.state("t") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.state("t") is TaskState.ASSIGNED
    assert rig.rows["t"].endpoint == "anthropic"
    assert rig.rows["t"].tier == "complex"
    decision = rig.assignment("t").command.decision
    assert decision is not None
    assert decision.fallback_used
    assert decision.fallback_from_tier == "standard"


def test_the_events_of_a_fallback_carry_their_fields() -> None:
    """`scheduler.fallback` once with the wait, `scheduler.route` once with everything."""
    rig = outage()
    rig.pass_ms(5_000)

    (fallback,) = rig.named("scheduler.fallback")
    assert fallback.measurements == {"wait_ms": 5_000}
    tiers = {"original_tier": "standard", "fallback_tier": "complex"}
    assert fallback.metadata == {"task_id": "t", **tiers}
    (route,) = rig.named("scheduler.route")
    assert set(route.measurements) == {"candidate_count", "scoring_duration_us"}
    assert set(route.metadata) == {
        "task_id",
        "effective_tier",
        "target_type",
        "selected_endpoint",
        "selected_model",
        "fallback_used",
        "fallback_reason",
        "classification_reason",
        "estimated_cost_tier",
    }
    assert route.metadata["fallback_used"] is True


def test_recovery_before_the_instant_uses_the_preferred_tier() -> None:
    """The endpoint's return triggers a round; the wait is over."""
    rig = outage()
    rig.pass_ms(3_000)
    rig.up(local("gpu"))

    assert rig.rows["t"].endpoint == "gpu"
    assert not rig.rows["t"].fallback_used
    rig.pass_ms(10_000)
    assert rig.named("scheduler.fallback") == []


def _assigned(rig: Rig) -> None:
    rig.up(local("gpu"))


def _cancelled(rig: Rig) -> None:
    rig.tell(sig.Cancel(task_id="t"))


def _paused(rig: Rig) -> None:
    rig.tell(sig.Pause(task_id="t"))


@pytest.mark.parametrize("ending", [_assigned, _cancelled, _paused])
def test_the_wait_is_cancelled_when_the_task_leaves_the_queue(ending: object) -> None:
    """Assignment, the end of the task and a pause leave no timer and no pending fallback."""
    rig = outage()
    assert "t" in rig.scheduler.books.queue.pending_fallbacks
    ending(rig)  # type: ignore[operator]

    assert rig.scheduler.books.queue.pending_fallbacks == {}
    rig.pass_ms(60_000)
    assert rig.named("scheduler.fallback") == []


def test_dead_letter_cancels_the_wait_without_a_round() -> None:
    """Expiry is the way a waiting task dies: no timer of its own survives."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.chat("t", ttl_ms=2_000)
    rig.pass_ms(2_000)

    assert rig.state("t") is TaskState.EXPIRED
    assert rig.scheduler.books.queue.pending_fallbacks == {}
    assert rig.scheduler.books.timers.due_ms(TimerKind.FALLBACK, "t") is None


def test_a_reclaimed_task_waits_anew() -> None:
    """After its worker is lost in the outage the five seconds start again."""
    rig = Rig()
    session = rig.worker()
    rig.up(local("gpu"))
    rig.chat("t")
    rig.start("t")
    rig.down("gpu")
    rig.tell(sig.WorkerLeft(session_id=session))
    rig.worker("w2")
    rig.up(cloud(), models=("claude",))

    assert rig.wait_code("t") == "fallback_wait"
    rig.pass_ms(4_999)
    assert rig.state("t") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.rows["t"].tier == "complex"


def test_the_wait_is_not_armed_again_and_again() -> None:
    """With no free worker the fallback is announced once, however often a round runs."""
    rig = Rig()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.chat("t")
    rig.pass_ms(30_000)
    for _ in range(5):
        rig.probe("gpu", ProbeStatus.UNAVAILABLE)

    assert len(rig.named("scheduler.fallback")) == 1
    assert rig.wait_code("t") == "no_worker"


def test_many_tasks_fall_back_in_their_order() -> None:
    """More waiting tasks than are parked at once all use the fallback tier, first in first out."""
    rig = Rig()
    rig.worker(chat=200)
    rig.up(local("gpu"))
    rig.up(cloud(slots=100), models=("claude",))
    rig.down("gpu")
    names = [rig.chat(f"t{i:03}") for i in range(100)]
    rig.pass_ms(5_000)

    assert [effect.command.task.id for effect in rig.sent] == names
    assert all(rig.rows[name].tier == "complex" for name in names)


def test_standard_falls_to_complex_only_and_no_second_time() -> None:
    """When the cloud is down as well, the task waits: a second step for the same cause is refused."""
    rig = outage()
    rig.down("anthropic")
    rig.pass_ms(60_000)

    assert rig.state("t") is TaskState.QUEUED
    assert rig.wait_code("t") == "endpoint_down"


def test_trivial_never_reaches_complex_by_an_outage() -> None:
    """A trivial task without a command runs on the cheapest model tier, and no further."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.chat("t", Complexity.TRIVIAL)
    rig.pass_ms(300_000)

    assert rig.state("t") is TaskState.QUEUED


def test_all_tiers_down_trivial_commands_run_and_the_rest_expires_with_its_reason() -> None:
    """Degraded, not dead."""
    rig = outage()
    rig.down("anthropic")
    rig.chat("c", Complexity.COMPLEX)
    rig.command("x", complexity="trivial")
    assert rig.state("x") is TaskState.ASSIGNED
    rig.finish("x")
    assert rig.state("x") is TaskState.SUCCEEDED
    rig.pass_ms(600_000)

    for name in ("t", "c"):
        assert rig.state(name) is TaskState.EXPIRED
        failure = rig.rows[name].failure
        assert failure is not None
        assert "endpoint_down" in failure.message


def test_no_endpoint_registered_means_plain_capability_matching() -> None:
    """Assigned, decision stored, marked as fallback with its reason."""
    rig = Rig()
    rig.worker("plain", capabilities=("python",))
    rig.chat("t", requires=["python"])
    rig.chat("u", requires=["rust"])

    assert rig.state("t") is TaskState.ASSIGNED
    decision = rig.assignment("t").command.decision
    assert decision is not None
    assert decision.fallback_used
    assert decision.fallback_reason
    assert decision.selected_endpoint is None
    assert rig.wait_code("u") == "no_worker"


def test_registered_but_down_is_not_plain_matching() -> None:
    """Only the absence of any endpoint is; an outage waits."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.chat("t")
    rig.pass_ms(30_000)

    assert rig.state("t") is TaskState.QUEUED


def test_after_a_restart_old_work_does_not_fall_back_before_anything_was_checked() -> None:
    """The wait counts from the registration of the endpoints, however long ago the work was queued."""
    rig = Rig()
    rig.worker()
    rig.up(cloud(), models=("claude",))
    rig.chat("t", requires=("nobody",))
    rig.pass_ms(300_000)
    old = msgspec.structs.replace(
        rig.rows["t"], facts=msgspec.structs.replace(rig.rows["t"].facts, requires=frozenset())
    )
    rig.rows["t"] = old
    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.tell(sig.EndpointAdded(spec=msgspec.structs.replace(local("gpu"), models=("qwen",))))
    rig.up(cloud(), models=("claude",))
    rig.worker("w2")
    rig.tell(sig.Restored(tasks=(old,), sessions=()))

    assert rig.wait_code("t") == "fallback_wait"
    rig.pass_ms(4_999)
    assert rig.state("t") is TaskState.QUEUED
    rig.up(local("gpu"))
    assert rig.rows["t"].endpoint == "gpu"
